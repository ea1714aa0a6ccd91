#include "daemon/checkpoint_store.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/random_bytes.h"
#include "daemon/checkpoint_disk.h"
#include "daemon/checkpoint_memory.h"
#include "disk/overlay_testing.h"
#include "migrate/stream_fixture.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

using migrate::kPageBytes;
using migrate::PageRecord;
using repository::kChunkSize;

class CheckpointStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-checkpoints-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    store_ = CheckpointStore::open(folder_).value();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  size_t stored_chunks() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ + "/store"))
      count +=
          entry.is_regular_file() && entry.path().string().find("/chunks/") != std::string::npos;
    return count;
  }
  // A checkpoint of these disk parts.
  disk::CheckpointIndex save(const std::string& vm, uint64_t number,
                             const std::vector<Buffer>& parts) {
    disk::CheckpointIndex index;
    index.vm = vm;
    index.number = number;
    index.disk_bytes = parts.size() * kChunkSize;
    for (size_t i = 0; i < parts.size(); ++i)
      index.parts.push_back({i, store_->put(parts[i], index.stored_bytes).value()});
    store_->save(index).value();
    return index;
  }

  std::string folder_;
  std::unique_ptr<CheckpointStore> store_;
};

TEST_F(CheckpointStoreTest, WhatIsThereIsStoredOnce) {
  const auto held = store_->hold();
  const Buffer a = random_bytes(kChunkSize, 1), b = random_bytes(kChunkSize, 2);
  const auto first = save("web", 1, {a, b, Buffer(kChunkSize)});
  const auto second = save("web", 2, {a, random_bytes(kChunkSize, 3), a});

  EXPECT_GE(first.stored_bytes, 2 * kChunkSize);
  EXPECT_LT(second.stored_bytes, first.stored_bytes);
  EXPECT_TRUE(first.parts[2].chunk.is_zero());
  EXPECT_EQ(store_->list("web").value(), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(store_->load("web", 1).value(), first);
  EXPECT_EQ(store_->get(first.parts[1].chunk).value(), b);
  EXPECT_EQ(store_->get(first.parts[2].chunk).value(), Buffer(kChunkSize));
  EXPECT_EQ(store_->load("web", 3).error().code, ErrorCode::kNotFound);
}

TEST_F(CheckpointStoreTest, ARemovedOneTakesAlongWhatNoOtherHolds) {
  const auto held = store_->hold();
  const Buffer a = random_bytes(kChunkSize, 1), b = random_bytes(kChunkSize, 2);
  const auto first = save("web", 1, {a, b});
  save("db", 1, {a});
  ASSERT_TRUE(store_->remove("web", {1}));

  EXPECT_EQ(stored_chunks(), 1u);
  EXPECT_EQ(store_->get(first.parts[0].chunk).value(), a);
  EXPECT_EQ(store_->get(first.parts[1].chunk).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_->remove("web", {1}).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(store_->remove("db", {1}));
  EXPECT_EQ(stored_chunks(), 0u);
}

TEST_F(CheckpointStoreTest, AnUnreadableOneKeepsAllChunks) {
  const auto held = store_->hold();
  save("web", 1, {random_bytes(kChunkSize, 1)});
  save("web", 2, {random_bytes(kChunkSize, 2)});
  ASSERT_TRUE(os::write_file_atomic(folder_ + "/vms/web/1.checkpoint", as_bytes("nonsense")));

  EXPECT_EQ(store_->load("web", 1).error().code, ErrorCode::kCorrupt);
  EXPECT_FALSE(store_->remove("web", {2}));
  EXPECT_EQ(stored_chunks(), 2u);
}

TEST_F(CheckpointStoreTest, TheNewestWordOfEachPageComesBackAsAStream) {
  const auto held = store_->hold();
  const std::vector<migrate::RamBlock> blocks = {{"pc.ram", 40 * kPageBytes}, {"rom", kPageBytes}};
  const Buffer old = random_bytes(kPageBytes, 1), young = random_bytes(kPageBytes, 2);
  const Buffer device = random_bytes(1000, 3);
  const std::vector<PageRecord> first = {
      {0, 0, old}, {0, 17 * kPageBytes, old}, {0, 39 * kPageBytes, {}, std::byte{7}}, {1, 0, old}};
  const std::vector<PageRecord> again = {{0, 0, young}, {0, 17 * kPageBytes, {}}};
  migrate::StreamBuilder builder(blocks);
  builder.head().start().pages(first).pages(again).memory_end();
  Buffer stream = builder.out.take();
  stream.push_back(std::byte{4});  // a device's section: opaque from here on
  stream.insert(stream.end(), device.begin(), device.end());

  const auto file = os::PosixFile::open(folder_ + "/spool", os::PosixFile::Mode::kCreate).value();
  MemorySpool spool(*file);
  migrate::StreamReader reader({}, spool);
  ASSERT_TRUE(reader.feed(stream));
  disk::CheckpointIndex index;
  ASSERT_TRUE(spool.store(reader.section(), *store_, index));
  Buffer written;
  ASSERT_TRUE(write_stream(index, *store_, [&](ByteView bytes) -> Status {
    written.insert(written.end(), bytes.begin(), bytes.end());
    return {};
  }));

  // Read again, it says of each page what was said last.
  const auto back = os::PosixFile::open(folder_ + "/back", os::PosixFile::Mode::kCreate).value();
  MemorySpool spooled_back(*back);
  migrate::StreamReader reader_back({}, spooled_back);
  ASSERT_TRUE(reader_back.feed(written));
  EXPECT_EQ(reader_back.blocks(), blocks);
  Buffer expected(41 * kPageBytes);
  std::ranges::copy(young, expected.begin());
  std::ranges::fill(MutableByteView(expected).subspan(39 * kPageBytes, kPageBytes), std::byte{7});
  std::ranges::copy(old, expected.begin() + 40 * kPageBytes);
  Buffer found(expected.size());
  ASSERT_TRUE(back->read(0, found));
  EXPECT_EQ(found, expected);
  disk::CheckpointIndex index_back;
  ASSERT_TRUE(spooled_back.store(reader_back.section(), *store_, index_back));
  EXPECT_EQ(index_back.memory, index.memory);
  EXPECT_EQ(index_back.tail, index.tail);
  EXPECT_EQ(index_back.head, index.head);
  EXPECT_EQ(index_back.stored_bytes, 0u);
}

TEST_F(CheckpointStoreTest, ADiskComesBackAsItWas) {
  const auto held = store_->hold();
  constexpr uint64_t kSize = 5 * kChunkSize + 1000;
  disk::CrashableFolder folder(1);
  const auto overlay = disk::open(folder, disk::options_of(kSize));
  ASSERT_TRUE(overlay->write(4096, random_bytes(8192, 1), disk::no_base));
  ASSERT_TRUE(overlay->write(kChunkSize - 4096, random_bytes(8192, 2), disk::no_base));
  ASSERT_TRUE(overlay->write(5 * kChunkSize, random_bytes(1000, 3), disk::no_base));
  ASSERT_TRUE(overlay->write_zeroes({2 * kChunkSize, kChunkSize}, true, disk::no_base));
  disk::CheckpointIndex index;
  DiskParts parts;
  ASSERT_TRUE(store_parts(*overlay, kSize, {0, 1, 2, 3, 4, 5}, *store_, parts, index.stored_bytes,
                          iosched::IoClass::kBackground));
  EXPECT_EQ(parts.size(), 3u);  // 0, 1 and 5
  index.disk_bytes = kSize;
  index.runs = overlay->runs();
  for (const auto& [number, chunk] : parts) index.parts.push_back({number, chunk});

  disk::CrashableFolder other(2);
  const auto back = disk::open(other, disk::options_of(kSize));
  ASSERT_TRUE(restore_parts(index, *store_, *back));
  EXPECT_EQ(back->runs(), overlay->runs());
  EXPECT_EQ(disk::read_through(*back, {0, kSize}), disk::read_through(*overlay, {0, kSize}));
  index.parts.pop_back();
  disk::CrashableFolder third(3);
  EXPECT_EQ(restore_parts(index, *store_, *disk::open(third, disk::options_of(kSize))).error().code,
            ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace forerun::daemon
