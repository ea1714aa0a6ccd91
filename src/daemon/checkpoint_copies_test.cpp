// Checkpoints that go to another host, and what a migration to there finds of them.
#include "daemon/checkpoint_copies.h"

#include <gmock/gmock.h>
#include <sys/socket.h>

#include <filesystem>
#include <thread>

#include "core/random_bytes.h"
#include "daemon/checkpoint_pages.h"
#include "daemon/known_overlay.h"

namespace forerun::daemon {
namespace {

using migrate::kPageBytes;
using repository::kChunkSize;

// Two hosts with a store each, and a connection.
class CheckpointCopiesTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-copies-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    here_ = CheckpointStore::open(folder_ + "/here").value();
    there_ = CheckpointStore::open(folder_ + "/there").value();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // A checkpoint with these contents of memory, and the first of them on its disk.
  disk::CheckpointIndex make(uint64_t number, const std::vector<Buffer>& contents) {
    const auto held = here_->hold();
    disk::CheckpointIndex index;
    index.vm = "web";
    index.number = number;
    index.created_unix_seconds = static_cast<int64_t>(number);
    disk::CheckpointIndex::Memory memory{"pc.ram", 0, {}};
    for (const Buffer& content : contents) {
      memory.used_bytes += content.size();
      memory.chunks.push_back(here_->put(content, index.stored_bytes).value());
    }
    index.disk_bytes = 64 * kChunkSize;
    index.parts.push_back({3, memory.chunks.front()});
    index.memory.push_back(std::move(memory));
    EXPECT_TRUE(here_->save(index));
    return index;
  }
  Result<CopyFigures> copy(uint64_t number) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    net::PeerConnection from(nullptr, std::make_unique<os::SocketStream>(os::Fd(ends[0])));
    net::PeerConnection to(nullptr, std::make_unique<os::SocketStream>(os::Fd(ends[1])));
    const std::jthread taker([&] {
      const auto asked = receive(to, {PeerMessageKind::kKeep}, 10s);
      Status taken = asked ? receive_checkpoint(to, *there_, "a", *asked)
                           : Status(std::unexpected(asked.error()));
      if (!taken) (void)send(to, failure_message(taken.error()));
      (void)to.receive_message(10s);
    });
    CopyControl control;
    control.should_stop = [this] { return stops_; };
    control.wait = [](Nanos) { return true; };
    control.report = [](uint64_t, uint64_t) {};
    auto sent = send_checkpoint(from, *here_, "web", number, control, clock_);
    from.cut({ErrorCode::kUnavailable, "done"});
    return sent;
  }
  std::string chunk_file(const repository::ChunkRef& chunk) const {
    return folder_ + "/there/store/" + repository::chunk_path(chunk.id);
  }

  std::string folder_;
  std::unique_ptr<CheckpointStore> here_, there_;
  ManualClock clock_;
  bool stops_ = false;
  const CheckpointShelf shelf_{"web", "a"};
};

TEST_F(CheckpointCopiesTest, WhatTheOtherHostHasDoesNotGoThereAgain) {
  const Buffer a = random_bytes(kChunkSize, 1), b = random_bytes(kChunkSize, 2);
  const auto first = make(1, {a, Buffer(kChunkSize), b});
  const auto sent = copy(1);
  ASSERT_TRUE(sent) << sent.error().message;
  EXPECT_EQ(sent->chunks_sent, 2u);
  EXPECT_EQ(there_->load(shelf_, 1).value(), first);
  EXPECT_EQ(there_->get(first.memory[0].chunks[2]).value(), b);
  EXPECT_TRUE(there_->list("web").value().empty());  // no VM of that host's

  const auto second = make(2, {a, random_bytes(kChunkSize, 3), a});
  EXPECT_EQ(copy(2)->chunks_sent, 1u);
  EXPECT_EQ(there_->list(shelf_).value(), std::vector<uint64_t>{2});
  // The older one's own chunk went with it.
  EXPECT_FALSE(there_->get(first.memory[0].chunks[2]));
  EXPECT_EQ(there_->newest("web").value()->index, second);
  EXPECT_FALSE(there_->newest("db").value());
}

TEST_F(CheckpointCopiesTest, OneThatIsCutOffIsNoCopyAndLosesNothing) {
  const auto first = make(1, {random_bytes(kChunkSize, 1)});
  ASSERT_TRUE(copy(1));
  make(2, {random_bytes(kChunkSize, 2)});
  stops_ = true;
  EXPECT_FALSE(copy(2));
  EXPECT_EQ(there_->list(shelf_).value(), std::vector<uint64_t>{1});
  EXPECT_TRUE(there_->get(first.memory[0].chunks[0]));
  there_ = CheckpointStore::open(folder_ + "/there").value();
  stops_ = false;
  EXPECT_EQ(copy(2)->chunks_sent, 1u);
  EXPECT_EQ(there_->list(shelf_).value(), std::vector<uint64_t>{2});
}

TEST_F(CheckpointCopiesTest, AnIndexOfAnotherVmIsRefused) {
  PeerMessage asked;
  asked.kind = PeerMessageKind::kKeep;
  asked.vm = "db";
  asked.checkpoint = 1;
  const Buffer bytes = disk::serialize(make(1, {random_bytes(kChunkSize, 1)}));
  asked.checkpoint_bytes = bytes.size();
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  net::PeerConnection from(nullptr, std::make_unique<os::SocketStream>(os::Fd(ends[0])));
  net::PeerConnection to(nullptr, std::make_unique<os::SocketStream>(os::Fd(ends[1])));
  ASSERT_TRUE(from.write(net::PeerChannel::kForward, bytes));
  const Status taken = receive_checkpoint(to, *there_, "a", asked);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kCorrupt);
  EXPECT_TRUE(there_->copies().value().empty());
}

TEST_F(CheckpointCopiesTest, ItsPagesAreReadAndChecked) {
  const Buffer a = random_bytes(kChunkSize, 1), b = random_bytes(3 * kPageBytes, 2);
  const auto index = make(1, {a, Buffer(kChunkSize), b});
  ASSERT_TRUE(copy(1));
  const auto pages = CheckpointPages::open(*there_, "web").value();
  ASSERT_EQ(pages->hashes().size(), 16u + 3);
  EXPECT_EQ(pages->words(), "checkpoint 1 of host a");
  Buffer page(kPageBytes);
  for (const auto& [number, content] : {std::pair{15, &a}, {18, &b}}) {
    ASSERT_TRUE(pages->read(static_cast<uint64_t>(number), page));
    const ByteView expected = ByteView(*content).last(kPageBytes);
    EXPECT_TRUE(std::ranges::equal(page, expected)) << number;
    EXPECT_EQ(pages->hashes()[static_cast<size_t>(number)], migrate::hash_of_page(expected));
  }
  EXPECT_FALSE(pages->read(19, page));

  // A chunk that is gone, and one that is another, are told from the pages that were said.
  const auto again = CheckpointPages::open(*there_, "web").value();
  std::filesystem::remove(chunk_file(index.memory[0].chunks[2]));
  EXPECT_FALSE(again->read(18, page));
  std::filesystem::resize_file(chunk_file(index.memory[0].chunks[0]), 100);
  EXPECT_FALSE(again->read(3, page));
  EXPECT_EQ(CheckpointPages::open(*there_, "db").value(), nullptr);
}

TEST_F(CheckpointCopiesTest, HashesThatAreDamagedAreMadeAnew) {
  make(1, {random_bytes(kChunkSize, 1)});
  ASSERT_TRUE(copy(1));
  const auto before = CheckpointPages::open(*there_, "web").value()->hashes();
  const std::string path = folder_ + "/there/copies/a/web/1.pages";
  ASSERT_TRUE(std::filesystem::exists(path));
  Buffer bytes = os::read_file(path, 1 << 20).value();
  bytes[20] ^= std::byte{1};
  ASSERT_TRUE(os::write_file_atomic(path, bytes));
  EXPECT_EQ(CheckpointPages::open(*there_, "web").value()->hashes(), before);
  EXPECT_NE(os::read_file(path, 1 << 20).value(), bytes);
}

// A frozen overlay with blocks in its part 3, and some elsewhere.
class Frozen final : public DigestSource {
 public:
  explicit Frozen(Buffer part) : part_(std::move(part)) {}
  Result<disk::OverlayContents> contents() override {
    disk::OverlayContents held;
    held.pull_id = 7;
    held.size_bytes = 64 * kChunkSize;
    held.runs = {{3 * 16, 16, disk::BlockState::kData}, {5 * 16, 1, disk::BlockState::kData}};
    return held;
  }
  Result<uint64_t> read(ByteRange range, MutableByteView out, iosched::IoClass) override {
    ++reads;
    if (range.offset / kChunkSize == 3)
      std::copy_n(part_.begin() + static_cast<ptrdiff_t>(range.offset % kChunkSize), range.length,
                  out.begin());
    return disk::piece_checksum(7, range.offset, out);
  }
  Result<std::vector<Digest>> digests(ByteRange range) override {
    FR_TRY(const auto held, contents());
    const uint64_t before = reads;
    auto digests = part_digests(*this, held, range);
    reads = before;
    return digests;
  }
  void stop() override {}
  uint64_t reads = 0;

 private:
  const Buffer part_;
};

TEST_F(CheckpointCopiesTest, PartsOfTheDiskThatAreTheSameDoNotTravel) {
  const Buffer part = random_bytes(kChunkSize, 1);
  const auto index = make(1, {part});
  Buffer changed = part;
  changed[9] ^= std::byte{1};
  for (const bool is_same : {true, false}) {
    const auto frozen = std::make_shared<Frozen>(is_same ? part : changed);
    KnownOverlay overlay(frozen, *here_, index);
    ASSERT_TRUE(overlay.contents());
    Buffer out(2 * kPageBytes);
    const ByteRange range{3 * kChunkSize + kPageBytes, out.size()};
    // One that a guest waits for goes at once.
    ASSERT_TRUE(overlay.read(range, out, iosched::IoClass::kCritical));
    EXPECT_EQ(frozen->reads, 1u);
    const auto checksum = overlay.read(range, out, iosched::IoClass::kBackground);
    ASSERT_TRUE(checksum);
    EXPECT_EQ(frozen->reads, is_same ? 1u : 2u);
    EXPECT_TRUE(std::ranges::equal(
        out, ByteView(is_same ? part : changed).subspan(kPageBytes, out.size())));
    EXPECT_EQ(*checksum, disk::piece_checksum(7, range.offset, out));
    EXPECT_EQ(overlay.known_bytes(), is_same ? out.size() : 0);
    // Where the checkpoint has nothing.
    ASSERT_TRUE(overlay.read({5 * kChunkSize, 4096}, MutableByteView(out).first(4096),
                             iosched::IoClass::kBackground));
    EXPECT_EQ(frozen->reads, is_same ? 2u : 3u);
  }
}

TEST_F(CheckpointCopiesTest, APartThatCannotBeReadHereIsReadThere) {
  const Buffer part = random_bytes(kChunkSize, 1);
  const auto index = make(1, {part});
  std::filesystem::remove(folder_ + "/here/store/" +
                          repository::chunk_path(index.parts[0].chunk.id));
  const auto frozen = std::make_shared<Frozen>(part);
  KnownOverlay overlay(frozen, *here_, index);
  ASSERT_TRUE(overlay.contents());
  Buffer out(4096);
  ASSERT_TRUE(overlay.read({3 * kChunkSize, 4096}, out, iosched::IoClass::kBackground));
  EXPECT_EQ(frozen->reads, 1u);
  EXPECT_TRUE(std::ranges::equal(out, ByteView(part).first(4096)));
}

TEST_F(CheckpointCopiesTest, DigestsAreOfWholeParts) {
  Frozen frozen(random_bytes(kChunkSize, 1));
  const auto contents = frozen.contents().value();
  EXPECT_EQ(part_digests(frozen, contents, {0, 8 * kChunkSize})->size(), 8u);
  EXPECT_FALSE(part_digests(frozen, contents, {4096, kChunkSize}));
  EXPECT_FALSE(part_digests(frozen, contents, {0, 4096}));
  EXPECT_FALSE(part_digests(frozen, contents, {63 * kChunkSize, 2 * kChunkSize}));
}

}  // namespace
}  // namespace forerun::daemon
