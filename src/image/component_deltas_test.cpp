// Deltas from the index up: built, read back, kept, missed, exported.
#include "image/component_deltas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/component_fixture.h"
#include "image/component_tag.h"
#include "image/repository_kinds.h"
#include "repository/delta.h"
#include "repository/export.h"
#include "repository/gc.h"
#include "repository/verify.h"

namespace forerun::image {
namespace {

using repository::ChunkRef;
using repository::kChunkSize;
using testing::ElementsAre;
using testing::HasSubstr;

// Returns `old` as a compiler would have changed it: addresses all over, and functions moved.
std::string rebuilt(std::string old) {
  for (size_t at = 100; at + 4 < old.size(); at += 64) old[at] = static_cast<char>(old[at] + 3);
  return old.substr(0, 3000) + std::string(100, 'y') + old.substr(3000);
}

struct ComponentDeltasTest : testing::Test {
  ComponentDeltasTest() { old = build("old", program, nullptr); }

  BuiltComponent build(const std::string& name, const std::string& content,
                       const ComponentIndex* from) {
    MemoryFile scratch;
    BuildOptions options = build_options(name);
    if (from) options.chunks.delta_from = BasisFinder::create(store, *from, {}).value();
    auto builder = ComponentBuilder::create(store, scratch, options).value();
    add_file(*builder, "usr/bin/program", content).value();
    add_file(*builder, "usr/share/doc/program", "the same in each").value();
    return builder->publish().value();
  }
  void untag(const std::string& name) {
    ASSERT_TRUE(*store.remove(component_tag_path(name), Nanos::max()));
  }
  uint64_t collect() {
    store.advance(25h);
    return collect_garbage(store, repository_kinds(), {.grace = 24h}).value().removed_objects;
  }

  const std::string program = random_text(150'000, 1);
  const std::string program_2 = rebuilt(program);
  repository::MemoryStore store;
  BuiltComponent old;
};

TEST_F(ComponentDeltasTest, AreReadBackAsWhatTheyTell) {
  const BuiltComponent built = build("new", program_2, &old.index);
  EXPECT_GE(built.totals.chunks.delta_chunks, 2u);
  EXPECT_LT(built.totals.chunks.stored_bytes, old.totals.chunks.stored_bytes / 5);
  const auto index = fetch_component_index(store, built.tag.index);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(*index, built.index);
  EXPECT_EQ(read_file(store, *index, "/usr/bin/program"), program_2);
  EXPECT_EQ(read_file(store, *index, "/usr/share/doc/program"), "the same in each");
}

TEST_F(ComponentDeltasTest, AreNotMadeUnlessAskedFor) {
  const BuiltComponent built = build("new", program_2, nullptr);
  EXPECT_EQ(built.totals.chunks.delta_chunks, 0u);
  EXPECT_TRUE(built.index.data.bases.empty());
}

TEST_F(ComponentDeltasTest, OfAThirdVersionAreToldByTheFirst) {
  const BuiltComponent second = build("second", program_2, &old.index);
  const BuiltComponent third = build("third", rebuilt(program_2), &second.index);
  EXPECT_GE(third.totals.chunks.delta_chunks, 2u);
  for (const ChunkRef& basis : third.index.data.bases)
    EXPECT_TRUE(std::ranges::any_of(old.index.data.chunks,
                                    [&](const ChunkRef& chunk) { return chunk.id == basis.id; }));
  EXPECT_EQ(read_file(store, third.index, "/usr/bin/program"), rebuilt(program_2));
}

TEST_F(ComponentDeltasTest, AreNothingForAnImportThatDidNotAskForThem) {
  build("new", program_2, &old.index);
  const BuiltComponent whole = build("whole", program_2, nullptr);
  EXPECT_EQ(std::ranges::count_if(whole.index.data.chunks, &ChunkRef::is_delta), 0);
  untag("old");
  untag("new");
  EXPECT_GT(collect(), 0u);
  EXPECT_EQ(read_file(store, whole.index, "/usr/bin/program"), program_2);
}

TEST_F(ComponentDeltasTest, KeepTheirBasesFromCollection) {
  const BuiltComponent built = build("new", program_2, &old.index);
  untag("old");
  EXPECT_GT(collect(), 0u);  // the old index, and what of its data nothing is told by
  EXPECT_FALSE(store.contains(component_path(old.tag.index)));
  EXPECT_EQ(read_file(store, built.index, "/usr/bin/program"), program_2);
  EXPECT_TRUE(verify(store, repository_kinds(), {})->problems.empty());
}

TEST_F(ComponentDeltasTest, GoWithWhatNamedThem) {
  build("new", program_2, &old.index);
  untag("old");
  untag("new");
  collect();
  EXPECT_TRUE(store.objects().empty());
}

TEST_F(ComponentDeltasTest, MissABasisByNameAndByTheTagsThatNeedIt) {
  const BuiltComponent built = build("new", program_2, &old.index);
  const ChunkRef basis = built.index.data.bases[0];
  ASSERT_TRUE(*store.remove(repository::chunk_path(basis.id), Nanos::max()));
  const auto report = verify(store, repository_kinds(), {});
  ASSERT_TRUE(report);
  bool is_named = false, is_delta_named = false;
  for (const repository::Problem& problem : report->problems) {
    if (problem.path == repository::chunk_path(basis.id)) {
      is_named = true;
      EXPECT_THAT(problem.needed_by, testing::UnorderedElementsAre("component-tags/old.json",
                                                                   "component-tags/new.json"));
    }
    if (!problem.path.starts_with("deltas/")) continue;
    is_delta_named = true;
    EXPECT_THAT(problem.error.message, HasSubstr(basis.id.hex()));
    EXPECT_THAT(problem.needed_by, ElementsAre("component-tags/new.json"));
  }
  EXPECT_TRUE(is_named);
  EXPECT_TRUE(is_delta_named);
}

TEST_F(ComponentDeltasTest, AreMissedWithoutReadingThem) {
  const BuiltComponent built = build("new", program_2, &old.index);
  const auto& chunks = built.index.data.chunks;
  const auto delta = std::ranges::find_if(chunks, &ChunkRef::is_delta);
  ASSERT_NE(delta, chunks.end());
  repository::VerifyOptions quick;
  quick.reads_chunks = false;
  EXPECT_TRUE(verify(store, repository_kinds(), quick)->problems.empty());
  ASSERT_TRUE(*store.remove(repository::delta_path(delta->id), Nanos::max()));
  const auto report = verify(store, repository_kinds(), quick);
  ASSERT_EQ(report->problems.size(), 1u);
  EXPECT_EQ(report->problems[0].path, repository::delta_path(delta->id));
  EXPECT_THAT(report->problems[0].needed_by, ElementsAre("component-tags/new.json"));
  // Whole will do.
  build("whole", program_2, nullptr);
  EXPECT_TRUE(verify(store, repository_kinds(), quick)->problems.empty());
  EXPECT_TRUE(verify(store, repository_kinds(), {})->problems.empty());
}

TEST_F(ComponentDeltasTest, AreExportedWithTheirBases) {
  const BuiltComponent built = build("new", program_2, &old.index);
  repository::MemoryStore target;
  const auto done =
      export_tree(store, target, repository_kinds(), {.roots = {component_tag_path("new")}});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(read_file(target, built.index, "/usr/bin/program"), program_2);
  EXPECT_TRUE(verify(target, repository_kinds(), {})->problems.empty());
  EXPECT_FALSE(target.contains(component_tag_path("old")));
  const auto again =
      export_tree(store, target, repository_kinds(), {.roots = {component_tag_path("new")}});
  EXPECT_EQ(again->objects_reused, again->objects_total - 1);  // the tag is put again
  MemoryFile car;
  EXPECT_TRUE(export_car(store, car, repository_kinds(), {.roots = {component_tag_path("new")}}));
}

TEST_F(ComponentDeltasTest, AreExportedWholeWhereAnotherNeedsThemSo) {
  const BuiltComponent built = build("new", program_2, &old.index);
  build("whole", program_2, nullptr);
  repository::MemoryStore target;
  ASSERT_TRUE(export_tree(store, target, repository_kinds(),
                          {.roots = {component_tag_path("new"), component_tag_path("whole")}}));
  EXPECT_EQ(read_file(target, built.index, "/usr/bin/program"), program_2);
  EXPECT_TRUE(verify(target, repository_kinds(), {})->problems.empty());
}

TEST(ComponentDeltas, RefusesWhatNoWriterWrites) {
  repository::ImageIndex right{.size_bytes = 3 * uint64_t{kChunkSize}};
  for (const char* name : {"a", "b", "c"})
    right.chunks.push_back({sha256(as_bytes(std::string_view(name))), kChunkSize, 99});
  repository::ImageIndex plain = right;
  right.chunks[0].is_delta = right.chunks[2].is_delta = true;
  right.bases = {{ChunkId{{1}}, kChunkSize, 1000}, {ChunkId{{2}}, kChunkSize, 1000}};
  ByteWriter out;
  write_deltas(right, out);
  const Buffer written = out.take();
  const auto read = [&](const Buffer& section) {
    repository::ImageIndex index = plain;
    return read_deltas(section, index);
  };
  repository::ImageIndex back = plain;
  EXPECT_EQ(read_deltas(written, back), written.size());
  EXPECT_EQ(back, right);

  const auto changed = [&](size_t at, int value) {
    Buffer section = written;
    section[at] = static_cast<std::byte>(value);
    return section;
  };
  for (size_t size = 0; size < written.size(); ++size)
    EXPECT_FALSE(read(Buffer(written.begin(), written.begin() + static_cast<ptrdiff_t>(size))));
  EXPECT_FALSE(read(changed(0, 0)));   // no delta
  EXPECT_FALSE(read(changed(0, 4)));   // more than chunks
  EXPECT_FALSE(read(changed(4, 2)));   // twice the same
  EXPECT_FALSE(read(changed(8, 3)));   // none of the chunks
  EXPECT_FALSE(read(changed(12, 0)));  // no basis
  EXPECT_FALSE(read(changed(12, 9)));  // more than four a delta
  EXPECT_FALSE(read(changed(16, 0)));  // a basis without a name
  EXPECT_FALSE(read(changed(16, 2)));  // twice the same
  EXPECT_FALSE(read(changed(50, 2)));  // of 128 KiB
  EXPECT_FALSE(read(changed(54, 9)));  // stored in more than it has
}

TEST(BasisFinder, FindsWhereContentWentAndNothingElse) {
  repository::MemoryStore store;
  MemoryFile scratch;
  auto builder = ComponentBuilder::create(store, scratch, build_options("old")).value();
  const std::string file = random_text(5 * kChunkSize, 3);
  add_file(*builder, "a", file).value();
  const BuiltComponent old = builder->publish().value();
  // Few samples find what many do, if there is enough of it.
  for (const size_t samples_max : {BasisFinder::kSamplesMax, size_t{2000}}) {
    const auto finder = BasisFinder::create(store, old.index, {}, samples_max).value();
    const std::string moved = random_text(1000, 4) + file.substr(3 * kChunkSize, 40'000) +
                              file.substr(kChunkSize, 20'000);
    const auto found = finder->find(as_bytes(moved));
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0], old.index.data.chunks[3]);
    EXPECT_EQ(found[1], old.index.data.chunks[1]);
    EXPECT_TRUE(finder->find(as_bytes(random_text(kChunkSize, 5))).empty());
    EXPECT_TRUE(finder->find(as_bytes(std::string_view("short"))).empty());
  }
}

}  // namespace
}  // namespace forerun::image
