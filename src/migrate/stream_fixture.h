// Streams as QEMU 7.2 writes them, for tests.
#pragma once

#include <string>

#include "migrate/stream_writer.h"

namespace forerun::migrate {

// Builds a forward stream item by item.
class StreamBuilder {
 public:
  explicit StreamBuilder(std::vector<RamBlock> blocks) : blocks_(std::move(blocks)) {}

  StreamBuilder& head(std::string_view machine = "pc-i440fx-7.2") {
    out.u32(kStreamMagic);
    out.u32(kStreamVersion);
    out.u8(static_cast<uint8_t>(ItemType::kConfiguration));
    out.u32(static_cast<uint32_t>(machine.size()));
    out.bytes(as_bytes(machine));
    return *this;
  }
  StreamBuilder& command(Command command, ByteView data = {}) {
    out.u8(static_cast<uint8_t>(ItemType::kCommand));
    out.u16(static_cast<uint16_t>(command));
    out.u16(static_cast<uint16_t>(data.size()));
    out.bytes(data);
    return *this;
  }
  StreamBuilder& start(uint32_t version = kRamVersion) {
    out.u8(static_cast<uint8_t>(ItemType::kSectionStart));
    out.u32(kSection);
    text("ram");
    out.u32(0);
    out.u32(version);
    uint64_t bytes = 0;
    for (const RamBlock& block : blocks_) bytes += block.used_bytes;
    out.u64(bytes | kFlagMemorySize);
    for (const RamBlock& block : blocks_) {
      text(block.name);
      out.u64(block.used_bytes);
    }
    out.u64(kFlagEnd);
    out.u8(static_cast<uint8_t>(ItemType::kFooter));
    out.u32(kSection);
    return *this;
  }
  StreamBuilder& pages(std::span<const PageRecord> pages) {
    write_pages(pages, blocks_, kSection, out);
    return *this;
  }
  StreamBuilder& memory_end() {
    write_memory_end(kSection, out);
    return *this;
  }
  StreamBuilder& discard(std::string_view block, std::vector<ByteRange> ranges) {
    BigEndianWriter data;
    data.u8(0);
    data.u8(static_cast<uint8_t>(block.size()));
    data.bytes(as_bytes(block));
    data.u8(0);
    for (const ByteRange& range : ranges) {
      data.u64(range.offset);
      data.u64(range.length);
    }
    return command(Command::kRamDiscard, data.view());
  }
  StreamBuilder& packaged(ByteView bytes) {
    BigEndianWriter length;
    length.u32(static_cast<uint32_t>(bytes.size()));
    command(Command::kPackaged, length.view());
    out.bytes(bytes);
    return *this;
  }
  StreamBuilder& end() {
    out.u8(0);
    return *this;
  }
  void text(std::string_view text) {
    out.u8(static_cast<uint8_t>(text.size()));
    out.bytes(as_bytes(text));
  }

  static constexpr uint32_t kSection = 2;
  BigEndianWriter out;

 private:
  std::vector<RamBlock> blocks_;
};

}  // namespace forerun::migrate
