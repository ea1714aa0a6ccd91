#include "image/component_prior.h"

#include <gmock/gmock.h>

#include "image/boot_prior.h"
#include "repository/memory_store.h"

namespace forerun::image {
namespace {

using predict::SequenceEntry;

std::shared_ptr<const predict::BlockSequence> sequence(std::vector<SequenceEntry> entries) {
  return predict::make_block_sequence(1, std::move(entries));
}

TEST(ComponentPrior, BlocksHaveTheShareOfTheCompositionsThatForesawThem) {
  const auto one = sequence({{7, 0.8f, 10, 1}, {9, 0.6f, 11, 2}});
  const auto two = sequence({{7, 0.4f, 20, 3}, {3, 1, 5, 1}});
  const auto both = united(*one, *two);
  EXPECT_EQ(both->boots, 2);
  ASSERT_EQ(both->entries.size(), 3u);
  const SequenceEntry& seven = both->entries[*both->find(7)];
  EXPECT_NEAR(seven.support, 0.6f, 1e-5);
  EXPECT_NEAR(seven.rank, 15, 1e-4);
  EXPECT_NEAR(both->entries[*both->find(9)].support, 0.3f, 1e-5);
  EXPECT_NEAR(both->entries[*both->find(3)].support, 0.5f, 1e-5);
  EXPECT_NEAR(both->entries[*both->find(3)].rank, 5, 1e-4);
}

TEST(ComponentPrior, LargeFilesAndRunsOfSmallOnesAreToldApart) {
  constexpr uint64_t kChunk = repository::kChunkSize;
  FileTree tree;
  const auto add = [&](uint64_t size, std::vector<FileExtent> extents) {
    TreeInode inode;
    inode.size = size;
    inode.extents = std::move(extents);
    tree.inodes.push_back(inode);
  };
  add(5000, {{0, 0, 5000}});  // small, in chunk 0
  add(3 * kChunk, {{0, 2 * kChunk, 2 * kChunk}, {2 * kChunk, 4 * kChunk, kChunk}});
  add(100, {{0, 4096 * 2, 100}});          // small, in chunk 0 too
  add(100, {{0, kChunk, 100}});            // small, in chunk 1
  add(kChunk, {{0, 5 * kChunk, kChunk}});  // the next large one
  const std::vector<predict::FileRun> runs{{0, true}, {2, false}, {5, false}};
  EXPECT_EQ(with_files(*sequence({{7, 1, 1, 1}}), tree)->file_runs, runs);
}

TEST(ComponentPrior, OldCompositionsFadeAndWhatNoneForeseesGoes) {
  auto known = sequence({{1, 0.9f, 1, 1}});
  const auto other = sequence({{2, 0.9f, 1, 1}});
  for (int i = 0; i < 100; ++i) known = united(*known, *other);
  EXPECT_FALSE(known->find(1));
  EXPECT_NEAR(known->entries[*known->find(2)].support, 0.9f, 1e-2);
}

TEST(ComponentPrior, IsKeptBesideTheComponentAndReplacedWhereDamaged) {
  repository::MemoryStore store;
  const Digest digest = sha256(as_bytes("component"));
  ASSERT_TRUE(learn_component_prior(digest, *sequence({{1, 1, 1, 1}}), store));
  ASSERT_TRUE(learn_component_prior(digest, *sequence({{2, 1, 1, 1}}), store));
  EXPECT_EQ((*fetch_prior(store, component_prior_path(digest)))->entries.size(), 2u);
  // Where its files begin is known from any composition.
  const auto with_runs =
      predict::make_block_sequence(1, {{2, 1, 1, 1}}, {}, {{0, true}, {2, false}});
  ASSERT_TRUE(learn_component_prior(digest, *with_runs, store));
  ASSERT_TRUE(learn_component_prior(digest, *sequence({{2, 1, 1, 1}}), store));
  EXPECT_EQ((*fetch_prior(store, component_prior_path(digest)))->file_runs, with_runs->file_runs);
  store.spoil(component_prior_path(digest), Buffer(3));
  ASSERT_TRUE(learn_component_prior(digest, *sequence({{2, 1, 1, 1}}), store));
  EXPECT_EQ((*fetch_prior(store, component_prior_path(digest)))->entries.size(), 1u);
}

}  // namespace
}  // namespace forerun::image
