// Fuzzes sender and receiver of a guest's memory: what a hostile peer says to either, and any guest
// between the two.
#include <fuzzer/FuzzedDataProvider.h>

#include "migrate/memory_receiver.h"
#include "migrate/memory_sender.h"
#include "migrate/stream_fixture.h"

using namespace forerun;
using namespace forerun::migrate;

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

constexpr uint64_t kPages = 48;
const std::vector<RamBlock> kBlocks{{"pc.ram", kPages* kPageBytes}, {"a", 3 * kPageBytes}};
constexpr TableLimits kTables{.kept_pages = 8, .recent_pages = 4};

// What reached a QEMU: pages by number, if all of it could be read.
struct Target final : StreamVisitor {
  Status on_command(Command command, ByteView) override {
    is_postcopy = is_postcopy || command == Command::kPackaged;
    return {};
  }
  Status on_discard(uint32_t block, const ByteRange& range) override {
    for (uint64_t at = range.offset; at < range.end(); at += kPageBytes)
      memory.erase(PageKey::of(block, at).value);
    return {};
  }
  Status on_page(const PageRecord& page) override {
    require(fits({page.offset, kPageBytes}, kBlocks.at(page.block).used_bytes));
    Buffer data(page.data.begin(), page.data.end());
    if (data.empty()) data.assign(kPageBytes, page.fill);
    const uint64_t key = PageKey::of(page.block, page.offset).value;
    // QEMU gives up at one that is there.
    require(!is_guest || !is_postcopy || !memory.contains(key));
    memory[key] = std::move(data);
    return {};
  }
  Status on_bytes(Piece piece, ByteView bytes) override {
    if (piece == Piece::kOpaque) opaque += bytes.size();
    return {};
  }
  std::map<uint64_t, Buffer> memory;
  size_t opaque = 0;
  bool is_guest = false, is_postcopy = false;  // is_guest: of one that is migrated as QEMU does
};

template <typename Take>
void in_pieces(ByteView data, size_t step, Take take) {
  for (size_t at = 0; at < data.size(); at += step)
    if (!take(data.subspan(at, std::min(step, data.size() - at)))) return;
}

Buffer prelude() {
  StreamBuilder stream(kBlocks);
  Buffer frames;
  write_hello(kTables, frames);
  const Buffer head = stream.head().start().out.take();
  write_stream(head, frames);
  return frames;
}

// Whatever the peer says, what QEMU gets can be read to where it stops.
void hostile_sender(ByteView data, size_t step) {
  MemoryReceiver receiver({.tables = kTables});
  Target target;
  StreamReader reader({}, target);
  Buffer to_qemu;
  require(receiver.from_peer(prelude(), to_qemu).has_value());
  in_pieces(data, step,
            [&](ByteView piece) { return receiver.from_peer(piece, to_qemu).has_value(); });
  require(reader.feed(to_qemu).has_value());
}

// One batch of pages, behind some that are kept.
void hostile_batch(ByteView data) {
  PageEncoder encoder(kTables);
  const Buffer page(kPageBytes, std::byte{0x5a});
  for (uint64_t number = 0; number < 4; ++number)
    encoder.add({.block = 0, .offset = number * kPageBytes, .data = page}, true);
  PageDecoder decoder(kTables);
  uint64_t pages = 0;
  const auto on_page = [&](const PageRecord& told) -> Status {
    require(fits({told.offset, kPageBytes}, kBlocks.at(told.block).used_bytes));
    require(told.data.empty() || told.data.size() == kPageBytes);
    ++pages;
    return {};
  };
  require(decoder.decode(encoder.batch(), kBlocks, on_page).has_value());
  (void)decoder.decode(data, kBlocks, on_page);
  require(pages <= 4 + kBatchPagesMax);
}

// Whatever the target asks for, QEMU is asked for nothing that would pause it.
void hostile_receiver(ByteView data, size_t step) {
  ManualClock clock;
  MemorySender sender({.tables = kTables, .hot = HotPages::kHold, .held_pages_max = 8}, {}, clock);
  SenderOutput out;
  sender.begin(out);
  StreamBuilder stream(kBlocks);
  const PageRecord page{.block = 0, .offset = 0};
  stream.head().start().pages({&page, 1}).packaged(Buffer(10));
  require(sender.from_qemu(stream.out.view(), out).has_value());
  in_pieces(data, step, [&](ByteView piece) { return sender.from_peer(piece, out).has_value(); });
  (void)sender.tick(out);
  struct Requests final : ReturnPathVisitor {
    Status on_request(const PageRequest& request) override {
      require(fits(request.range, kBlocks.at(request.block).used_bytes));
      return {};
    }
  } requests;
  ReturnPathReader reader(requests);
  reader.set_blocks(kBlocks);
  require(reader.feed(out.to_qemu).has_value());
}

MemoryProfile any_profile(FuzzedDataProvider& fuzz) {
  MemoryProfile profile{.rounds = {{kPages, 1s}, {kPages, 1s}}, .pages = kPages};
  profile.blocks.push_back({kBlocks[0], std::vector<uint8_t>(kPages, 0)});
  for (auto& rounds : profile.blocks[0].rounds_written) rounds = fuzz.ConsumeIntegralInRange(0, 2);
  return profile;
}

// Any guest arrives as it was.
void any_guest(FuzzedDataProvider& fuzz) {
  ManualClock clock;
  const auto hot = static_cast<HotPages>(fuzz.ConsumeIntegralInRange(0, 2));
  MemorySender sender({.tables = kTables,
                       .hot = hot,
                       .switches = fuzz.ConsumeBool(),
                       .held_pages_max = fuzz.ConsumeIntegralInRange<size_t>(0, 10),
                       .compress = fuzz.ConsumeBool()},
                      any_profile(fuzz), clock);
  const size_t step = fuzz.ConsumeIntegralInRange<size_t>(1, 70'000);
  std::map<uint64_t, Buffer> memory;
  StreamBuilder stream(kBlocks);
  stream.head().start();
  std::vector<bool> stale(kPages, true);
  const auto touch = [&](uint64_t number) {
    Buffer& page = memory[number];
    page.resize(kPageBytes);
    const auto at = fuzz.ConsumeIntegralInRange<size_t>(0, kPageBytes - 1);
    const auto length = fuzz.ConsumeIntegralInRange<size_t>(0, kPageBytes - at);
    std::fill_n(page.begin() + static_cast<ptrdiff_t>(at), length,
                static_cast<std::byte>(fuzz.ConsumeIntegral<uint8_t>()));
    stale[number] = true;
  };
  const auto send = [&](uint64_t number) {
    memory[number].resize(kPageBytes);
    const PageRecord page{.block = 0, .offset = number * kPageBytes, .data = memory[number]};
    stream.pages({&page, 1});
    stale[number] = false;
  };
  for (int i = fuzz.ConsumeIntegralInRange(0, 200); i > 0; --i) {
    const auto number = fuzz.ConsumeIntegralInRange<uint64_t>(0, kPages - 1);
    if (fuzz.ConsumeBool()) touch(number);
    if (fuzz.ConsumeBool()) send(number);
  }
  for (uint64_t number = 0; number < kPages; ++number) {
    if (stale[number]) stream.discard("pc.ram", {{number * kPageBytes, kPageBytes}});
  }
  stream.packaged(Buffer(1'000));
  for (uint64_t number = 0; number < kPages; ++number) {
    if (stale[number]) send(number);
  }
  stream.memory_end().end();

  MemoryReceiver receiver({.tables = kTables});
  SenderOutput out;
  sender.begin(out);
  in_pieces(stream.out.view(), step, [&](ByteView piece) {
    clock.advance(1ms);
    require(sender.from_qemu(piece, out).has_value());
    return true;
  });
  Buffer to_qemu;
  in_pieces(out.to_peer, step, [&](ByteView piece) {
    require(receiver.from_peer(piece, to_qemu).has_value());
    return true;
  });
  Target target;
  target.is_guest = true;
  StreamReader reader({}, target);
  require(reader.feed(to_qemu).has_value() && reader.finish().has_value());
  require(target.opaque == 1'000);
  for (const auto& [number, page] : memory)
    require(target.memory.at(PageKey::of(0, number * kPageBytes).value) == page);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 2) return 0;
  const size_t step = bytes[1] == 0 ? size : bytes[1];
  const ByteView data(reinterpret_cast<const std::byte*>(bytes) + 2, size - 2);
  switch (bytes[0] % 4) {
    case 0:
      hostile_sender(data, step);
      break;
    case 1:
      hostile_receiver(data, step);
      break;
    case 2:
      hostile_batch(data);
      break;
    default: {
      FuzzedDataProvider fuzz(bytes + 2, size - 2);
      any_guest(fuzz);
    }
  }
  return 0;
}
