#include "image/importer.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/rng.h"
#include "image/memory_file.h"
#include "image/qcow2_builder.h"
#include "repository/fetch.h"
#include "repository/memory_store.h"

namespace forerun::image {
namespace {

using repository::chunk_path;
using repository::kChunkSize;
using repository::MemoryStore;

// `pattern`: one letter per chunk, '.' for zeroes; equal letters are equal chunks. The last one has
// 1024 bytes.
Buffer disk_of(std::string_view pattern) {
  Buffer disk;
  for (const char letter : pattern) {
    Rng rng(static_cast<uint64_t>(letter));
    for (size_t i = 0; i < kChunkSize; ++i) {
      disk.push_back(letter == '.' ? std::byte{0} : static_cast<std::byte>('a' + rng.below(8)));
    }
  }
  disk.resize(disk.size() - kChunkSize + 1024);
  return disk;
}

ImportOptions options_for(std::string name, size_t batch_chunks = 3) {
  ImportOptions options;
  options.image_name = std::move(name);
  options.created = "2026-11-21T02:40:00Z";
  options.batch_chunks = batch_chunks;
  return options;
}

Result<ImportResult> import_bytes(const Buffer& disk, MemoryStore& store,
                                  const ImportOptions& options) {
  MemoryFile file(disk);
  FR_TRY(const auto reader, open_disk(file, "disk.raw", DiskFormat::kRaw));
  return import_disk(*reader, store, options);
}

Result<Buffer> read_back(MemoryStore& store, std::string_view name) {
  FR_TRY(const auto tag, repository::fetch_tag(store, name));
  FR_TRY(const auto index, repository::fetch_index(store, tag.index));
  Buffer disk;
  for (const auto& ref : index.chunks) {
    if (ref.is_zero()) {
      disk.resize(disk.size() + ref.size);
      continue;
    }
    FR_TRY(const auto chunk, repository::fetch_chunk(store, ref));
    disk.insert(disk.end(), chunk->content.begin(), chunk->content.end());
  }
  return disk;
}

void on_two_threads(size_t count, const std::function<void(size_t)>& body) {
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i = next++; i < count; i = next++) body(i);
  };
  std::thread other(work);
  work();
  other.join();
}

TEST(Importer, GivesTheDiskBack) {
  MemoryStore store;
  const Buffer disk = disk_of("ab..ca.d");
  const auto result = import_bytes(disk, store, options_for("one"));
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(*read_back(store, "one"), disk);
  EXPECT_EQ(result->tag.size_bytes, disk.size());
}

TEST(Importer, CountsWhatItDid) {
  MemoryStore store;
  const auto result = import_bytes(disk_of("ab..ca.d"), store, options_for("one"));
  ASSERT_TRUE(result);
  const ImportProgress& totals = result->totals;
  EXPECT_EQ(totals.bytes_done, totals.bytes_total);
  EXPECT_EQ(totals.new_chunks, 4u);
  EXPECT_EQ(totals.reused_chunks, 1u);
  EXPECT_EQ(totals.zero_chunks, 3u);
  EXPECT_EQ(totals.stored_bytes, result->tag.stored_bytes);
}

TEST(Importer, GivesTheSameIndexOnThreads) {
  MemoryStore one, two;
  const Buffer disk = disk_of("abc..abcdefg.h");
  auto options = options_for("one", 5);
  const auto alone = import_bytes(disk, one, options);
  options.parallel_for = on_two_threads;
  const auto together = import_bytes(disk, two, options);
  ASSERT_TRUE(alone && together);
  EXPECT_EQ(alone->tag, together->tag);
  EXPECT_EQ(alone->totals, together->totals);
  EXPECT_EQ(one.objects(), two.objects());
}

TEST(Importer, StoresNothingTwice) {
  MemoryStore store;
  ASSERT_TRUE(import_bytes(disk_of("abcd"), store, options_for("one")));
  const auto again = import_bytes(disk_of("abxd"), store, options_for("two"));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->totals.new_chunks, 1u);
  EXPECT_EQ(again->totals.reused_chunks, 3u);
  EXPECT_EQ(*read_back(store, "two"), disk_of("abxd"));
}

TEST(Importer, PublishesInTheOrderThatSurvivesACrash) {
  MemoryStore store;
  const auto result = import_bytes(disk_of("ab"), store, options_for("one"));
  ASSERT_TRUE(result);
  const auto history = store.history();
  ASSERT_EQ(history.size(), 7u);
  const std::vector<std::string> end(history.begin() + 2, history.end());
  EXPECT_EQ(end, (std::vector<std::string>{"flush", repository::index_path(result->tag.index),
                                           "flush", "images/one.json", "flush"}));
}

// However far an import came before the power went, what a tag names is there; and the next import
// completes.
TEST(Importer, LeavesNoTagThatNamesMissingThings) {
  const Buffer disk = disk_of("abcdef");
  for (size_t puts = 0; puts <= 8; ++puts) {
    MemoryStore store;
    store.fail_puts_after(puts);
    const auto result = import_bytes(disk, store, options_for("one"));
    EXPECT_EQ(result.has_value(), puts == 8) << puts;
    store.crash();
    if (const auto left = store.list_images(); !left->empty())
      EXPECT_EQ(*read_back(store, "one"), disk);
    ASSERT_TRUE(import_bytes(disk, store, options_for("one")));
    EXPECT_EQ(*read_back(store, "one"), disk);
  }
}

TEST(Importer, GoesOnWhereItStopped) {
  MemoryStore store;
  const Buffer disk = disk_of("abcdef");
  store.fail_puts_after(4);
  ASSERT_FALSE(import_bytes(disk, store, options_for("one")));
  store.fail_puts_after(SIZE_MAX);
  const auto result = import_bytes(disk, store, options_for("one"));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->totals.reused_chunks, 4u);
  EXPECT_EQ(result->totals.new_chunks, 2u);
}

TEST(Importer, ReplacesStoredChunksThatAreBroken) {
  MemoryStore store;
  const Buffer disk = disk_of("abcd");
  ASSERT_TRUE(import_bytes(disk, store, options_for("one")));
  const auto tag = repository::fetch_tag(store, "one");
  const auto index = repository::fetch_index(store, tag->index);
  const auto path = [&](size_t i) { return chunk_path(index->chunks[i].id); };
  store.spoil(path(0), {});                                      // a power cut's empty file
  store.spoil(path(1), store.objects()[path(2)]);                // swapped
  store.spoil(path(2), Buffer(repository::kStoredSizeMax + 1));  // grown
  const auto again = import_bytes(disk, store, options_for("one"));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->totals.repaired_chunks, 3u);
  EXPECT_EQ(again->totals.reused_chunks, 1u);
  EXPECT_EQ(*read_back(store, "one"), disk);
}

TEST(Importer, ReportsProgressThatOnlyGrows) {
  MemoryStore store;
  std::vector<uint64_t> done;
  auto options = options_for("one", 2);
  options.on_progress = [&](const ImportProgress& progress) -> Status {
    done.push_back(progress.bytes_done);
    return {};
  };
  ASSERT_TRUE(import_bytes(disk_of("abcde"), store, options));
  EXPECT_EQ(done, (std::vector<uint64_t>{2 * kChunkSize, 4 * kChunkSize, 4 * kChunkSize + 1024}));
}

TEST(Importer, StopsWhenProgressSaysSo) {
  MemoryStore store;
  auto options = options_for("one", 2);
  options.on_progress = [](const ImportProgress&) -> Status {
    return fail(ErrorCode::kUnavailable, "stopped");
  };
  EXPECT_EQ(import_bytes(disk_of("abcde"), store, options).error().message, "stopped");
  EXPECT_TRUE(store.list_images()->empty());
}

TEST(Importer, RefusesNamesAndTimesThatCouldNotBeReadBack) {
  MemoryStore store;
  EXPECT_EQ(import_bytes(disk_of("a"), store, options_for("../x")).error().code,
            ErrorCode::kInvalid);
  auto options = options_for("one");
  options.created = "today";
  EXPECT_EQ(import_bytes(disk_of("a"), store, options).error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(store.objects().empty());
}

TEST(Importer, ImportsQcow2AsTheDiskItHolds) {
  Qcow2Builder builder({3, 17, false});
  builder.add(Qcow2Builder::Kind::kPlain, disk_of("ab"));
  builder.add(Qcow2Builder::Kind::kUnallocated);
  builder.add(Qcow2Builder::Kind::kCompressed, disk_of("ca"));
  MemoryFile file(builder.file());
  const auto reader = open_disk(file, "a.qcow2", std::nullopt);
  ASSERT_TRUE(reader);
  MemoryStore store;
  const auto result = import_disk(**reader, store, options_for("one"));
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(*read_back(store, "one"), builder.disk());
  EXPECT_EQ(result->totals.zero_chunks, 2u);
}

TEST(Importer, LeavesNoTagOfADiskThatCannotBeRead) {
  Qcow2Builder builder({});
  builder.add(Qcow2Builder::Kind::kCompressed, disk_of("a"));
  Buffer bytes = builder.file();
  bytes.back() ^= std::byte{0xff};
  bytes[bytes.size() - 100] ^= std::byte{0xff};
  MemoryFile file(bytes);
  const auto reader = open_disk(file, "a.qcow2", std::nullopt);
  ASSERT_TRUE(reader);
  MemoryStore store;
  EXPECT_FALSE(import_disk(**reader, store, options_for("one")));
  EXPECT_TRUE(store.objects().empty());
}

}  // namespace
}  // namespace forerun::image
