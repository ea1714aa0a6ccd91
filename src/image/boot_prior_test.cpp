#include "image/boot_prior.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/rng.h"
#include "image/importer.h"
#include "image/memory_file.h"
#include "repository/fetch.h"
#include "repository/memory_store.h"

namespace forerun::image {
namespace {

using repository::kChunkSize;

// The file system that ext4_fixtures.py makes: /sbin/init is a script for /bin/run (200,000 bytes);
// /bin/other (1,000,000 bytes) is not of the boot.
Buffer bootable() {
  std::ifstream in(std::string(FORERUN_EXT4_FIXTURES) + "/bootable", std::ios::binary);
  EXPECT_TRUE(in.good());
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  const ByteView view = as_bytes(bytes);
  return {view.begin(), view.end()};
}

// `disk` as the one partition of an MBR, 1 MiB from the start.
Buffer partitioned(const Buffer& disk) {
  Buffer whole(kMiB);
  const auto put = [&](size_t at, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) whole[at + i] = static_cast<std::byte>(value >> (8 * i));
  };
  put(446 + 4, 0x83, 1);
  put(446 + 8, kMiB / 512, 4);
  put(446 + 12, disk.size() / 512, 4);
  put(510, 0xaa55, 2);
  whole.insert(whole.end(), disk.begin(), disk.end());
  return whole;
}

Result<ImportResult> import(const Buffer& disk, repository::MemoryStore& store) {
  MemoryFile file(disk);
  FR_TRY(const auto reader, open_disk(file, "disk.raw", DiskFormat::kRaw));
  ImportOptions options;
  options.image_name = "one";
  options.created = "2026-11-21T02:40:00Z";
  return import_disk(*reader, store, options);
}

// Returns the blocks in which `content` stands.
std::vector<uint64_t> blocks_with(const Buffer& disk, ByteView content) {
  const auto at = std::search(disk.begin(), disk.end(), content.begin(), content.end());
  EXPECT_NE(at, disk.end());
  return {static_cast<uint64_t>(at - disk.begin()) / kChunkSize};
}

TEST(BootPrior, IsPutBesideTheIndexAndFoundAgain) {
  repository::MemoryStore store;
  const auto result = import(bootable(), store);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->prior_missing, "");
  const auto prior = fetch_prior(store, prior_path(result->tag.index));
  ASSERT_TRUE(prior) << prior.error().message;
  EXPECT_EQ((*prior)->entries.size(), result->prior_block_count);
  EXPECT_GT(result->prior_block_count, 0u);
}

TEST(BootPrior, NamesTheBlocksOfInitWhereverTheyStand) {
  for (const Buffer& disk : {bootable(), partitioned(bootable())}) {
    repository::MemoryStore store;
    const auto result = import(disk, store);
    ASSERT_TRUE(result) << result.error().message;
    const auto prior = fetch_prior(store, prior_path(result->tag.index));
    ASSERT_TRUE(prior) << prior.error().message;
    for (const uint64_t block : blocks_with(disk, as_bytes("#!/bin/run it\n")))
      EXPECT_TRUE((*prior)->find(block)) << block;
    EXPECT_LT((*prior)->entries.size() * kChunkSize, 1'000'000u);  // without /bin/other
  }
}

TEST(BootPrior, DiskThatTellsNothingIsImportedAllTheSame) {
  repository::MemoryStore store;
  const auto result = import(Buffer(100 * 512, std::byte{7}), store);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->prior_block_count, 0u);
  EXPECT_THAT(result->prior_missing, testing::HasSubstr("no ext4"));
  EXPECT_EQ(fetch_prior(store, prior_path(result->tag.index)).error().code, ErrorCode::kNotFound);
}

TEST(BootPrior, SpoiledFileSystemsNeverLeadOutOfTheDisk) {
  const Buffer whole = bootable();
  Rng rng(11);
  for (int round = 0; round < 100; ++round) {
    MemoryFile file(whole);
    for (int i = 0; i < 20; ++i)
      file.bytes[rng.below(whole.size() / 16)] = static_cast<std::byte>(rng.below(256));
    const auto disk = open_disk(file, "disk.raw", DiskFormat::kRaw);
    repository::ImageIndex index;
    index.size_bytes = whole.size();
    index.chunks.assign(repository::chunk_count(whole.size()),
                        {*repository::name_chunk(as_bytes("x")), kChunkSize, 1});
    const auto prior = foresee_boot(**disk, index);
    if (!prior) continue;
    for (const auto& entry : prior->sequence->entries) EXPECT_LT(entry.block, index.chunks.size());
  }
}

TEST(BootPrior, DamagedOneIsRefused) {
  repository::MemoryStore store;
  const auto result = import(bootable(), store);
  ASSERT_TRUE(result);
  Buffer spoiled = *store.fetch(prior_path(result->tag.index), kMiB);
  spoiled[30] ^= std::byte{1};
  store.spoil(prior_path(result->tag.index), spoiled);
  EXPECT_EQ(fetch_prior(store, prior_path(result->tag.index)).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace forerun::image
