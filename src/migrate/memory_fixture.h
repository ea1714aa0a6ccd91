// For tests: a guest whose memory goes through a sender and a receiver to what stands for a QEMU.
#pragma once

#include <gtest/gtest.h>

#include "core/rng.h"
#include "migrate/memory_receiver.h"
#include "migrate/memory_sender.h"
#include "migrate/stream_fixture.h"

namespace forerun::migrate {

inline constexpr uint64_t kPages = 400;
inline const std::vector<RamBlock> kBlocks{{"pc.ram", kPages* kPageBytes},
                                           {"pc.bios", 8 * kPageBytes}};

// What reached the target.
struct Target final : StreamVisitor {
  Status on_command(Command command, ByteView) override {
    commands.push_back(command);
    is_postcopy = is_postcopy || command == Command::kPackaged;
    return {};
  }
  Status on_page(const PageRecord& page) override {
    // As QEMU: "postcopy_place_page: File exists".
    if (is_postcopy && memory.contains(PageKey::of(page.block, page.offset).value))
      return fail(ErrorCode::kExists, "a page that is there");
    Buffer data(page.data.begin(), page.data.end());
    if (data.empty()) data.assign(kPageBytes, page.fill);
    memory[PageKey::of(page.block, page.offset).value] = std::move(data);
    ++pages;
    return {};
  }
  Status on_discard(uint32_t block, const ByteRange& range) override {
    for (uint64_t at = range.offset; at < range.end(); at += kPageBytes)
      memory.erase(PageKey::of(block, at).value);
    return {};
  }
  Status on_bytes(Piece piece, ByteView bytes) override {
    if (piece == Piece::kOpaque) opaque.insert(opaque.end(), bytes.begin(), bytes.end());
    is_ended = is_ended || piece == Piece::kEnd;
    return {};
  }
  std::map<uint64_t, Buffer> memory;
  std::vector<Command> commands;
  Buffer opaque;
  uint64_t pages = 0;
  bool is_ended = false, is_postcopy = false;
};

// A guest that is migrated: writes its stream.
class Guest {
 public:
  explicit Guest(uint64_t seed) : rng_(seed), stream_(kBlocks) {
    for (uint64_t page = 0; page < kPages; ++page)
      if (page % 5 != 0) fill(page);
  }
  void fill(uint64_t page) {
    Buffer& data = memory_[page];
    data.resize(kPageBytes);
    for (auto& byte : data) byte = static_cast<std::byte>(rng_.next());
  }
  void touch(uint64_t page) {
    Buffer& data = memory_[page];
    data.resize(kPageBytes);
    data[rng_.below(kPageBytes)] ^= std::byte{0x55};
  }
  Guest& begin() {
    stream_.head().command(Command::kOpenReturnPath).start();
    return *this;
  }
  Guest& send(const std::vector<uint64_t>& pages) {
    for (const uint64_t page : pages) {
      PageRecord record{.block = 0, .offset = page * kPageBytes};
      if (!memory_[page].empty()) record.data = memory_[page];
      stream_.pages({&record, 1});
    }
    return *this;
  }
  Guest& switch_over(const std::vector<uint64_t>& stale) {
    std::vector<ByteRange> ranges;
    for (const uint64_t page : stale) ranges.push_back({page * kPageBytes, kPageBytes});
    if (!ranges.empty()) stream_.discard("pc.ram", ranges);
    stream_.packaged(Buffer(700'000, std::byte{0x42}));
    return *this;
  }
  Guest& end() {
    stream_.memory_end().end();
    return *this;
  }
  // Returns what was written since the last call.
  Buffer take() { return stream_.out.take(); }
  Buffer page(uint64_t number) {
    const Buffer& data = memory_[number];
    return data.empty() ? Buffer(kPageBytes) : data;
  }

 private:
  Rng rng_;
  StreamBuilder stream_;
  std::map<uint64_t, Buffer> memory_;
};

inline std::vector<uint64_t> range(uint64_t from, uint64_t to, uint64_t step = 1) {
  std::vector<uint64_t> all;
  for (uint64_t page = from; page < to; page += step) all.push_back(page);
  return all;
}

inline MemoryProfile profile_of(const std::vector<uint64_t>& hot) {
  MemoryProfile profile;
  for (const RamBlock& block : kBlocks)
    profile.blocks.push_back({block, std::vector<uint8_t>(block.used_bytes / kPageBytes, 0)});
  for (const uint64_t page : hot) profile.blocks[0].rounds_written[page] = 2;
  profile.rounds = {{kPages, 1s}, {hot.size(), 100ms}, {hot.size(), 100ms}};
  return profile;
}

// The two proxies, and the target behind them.
struct Pair {
  explicit Pair(MemorySender::Options options, MemoryProfile profile = {}, size_t its_step = 50'000,
                KnownPages* known = nullptr)
      : sender(std::move(options), std::move(profile), clock),
        receiver(std::make_unique<MemoryReceiver>(MemoryReceiver::Options{.known = known})),
        reader({}, target),
        step(its_step) {
    sender.begin(output);
    pass_on();
  }
  void pass_on() {
    bytes += output.to_peer.size();
    for (size_t at = 0; at < output.to_peer.size(); at += step)
      receive(ByteView(output.to_peer).subspan(at, std::min(step, output.to_peer.size() - at)));
    output.to_peer.clear();
  }
  void receive(ByteView part) {
    Buffer to_qemu;
    const Status status = receiver->from_peer(part, to_qemu);
    ASSERT_TRUE(status) << status.error().message;
    ASSERT_TRUE(reader.feed(to_qemu));
    receiver->answer(answers);
  }
  // Hands over what the receiver had to say, which a slow link kept.
  void answer() {
    ASSERT_TRUE(sender.from_peer(std::exchange(answers, {}), output));
    pass_on();
  }
  void send(const Buffer& stream) {
    for (size_t at = 0; at < stream.size(); at += step) {
      clock.advance(1ms);
      const Status status = sender.from_qemu(
          ByteView(stream).subspan(at, std::min(step, stream.size() - at)), output);
      ASSERT_TRUE(status) << status.error().message;
      pass_on();
    }
  }
  void request(const PageRequest& request) {
    BigEndianWriter asked;
    encode(request, kBlocks, asked);
    Buffer to_peer;
    ASSERT_TRUE(receiver->from_qemu_return(asked.view(), to_peer));
    ASSERT_TRUE(sender.from_peer(to_peer, output));
    pass_on();
  }
  void expect_same(Guest& guest) {
    for (uint64_t page = 0; page < kPages; ++page) {
      const auto there = target.memory.find(PageKey::of(0, page * kPageBytes).value);
      ASSERT_NE(there, target.memory.end()) << page;
      ASSERT_EQ(there->second, guest.page(page)) << page;
    }
  }

  ManualClock clock;
  MemorySender sender;
  std::unique_ptr<MemoryReceiver> receiver;
  SenderOutput output;
  Buffer answers;
  Target target;
  StreamReader reader;
  size_t step;
  uint64_t bytes = 0;
};

}  // namespace forerun::migrate
