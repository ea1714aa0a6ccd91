#include "migrate/stream_writer.h"

namespace forerun::migrate {
namespace {

void begin_section(ItemType type, uint32_t section, BigEndianWriter& out) {
  out.u8(static_cast<uint8_t>(type));
  out.u32(section);
}

}  // namespace

void begin_pages(uint32_t section, BigEndianWriter& out) {
  begin_section(ItemType::kSectionPart, section, out);
}

void append_page(const PageRecord& page, const std::vector<RamBlock>& blocks,
                 BigEndianWriter& out) {
  const std::string& name = blocks[page.block].name;
  out.u64(page.offset | (page.data.empty() ? kFlagZero : kFlagPage));
  out.u8(static_cast<uint8_t>(name.size()));
  out.bytes(as_bytes(name));
  if (page.data.empty())
    out.u8(static_cast<uint8_t>(page.fill));
  else
    out.bytes(page.data);
}

void end_pages(uint32_t section, BigEndianWriter& out) {
  out.u64(kFlagEnd);
  out.u8(static_cast<uint8_t>(ItemType::kFooter));
  out.u32(section);
}

void write_pages(std::span<const PageRecord> pages, const std::vector<RamBlock>& blocks,
                 uint32_t section, BigEndianWriter& out) {
  begin_pages(section, out);
  for (const PageRecord& page : pages) append_page(page, blocks, out);
  end_pages(section, out);
}

void write_discard(const RamBlock& block, std::span<const ByteRange> ranges, BigEndianWriter& out) {
  constexpr size_t kRangesMax = 12;  // of one command, as QEMU has it
  while (!ranges.empty()) {
    const auto some = ranges.first(std::min(ranges.size(), kRangesMax));
    out.u8(static_cast<uint8_t>(ItemType::kCommand));
    out.u16(static_cast<uint16_t>(Command::kRamDiscard));
    out.u16(static_cast<uint16_t>(3 + block.name.size() + 16 * some.size()));
    out.u8(0);
    out.u8(static_cast<uint8_t>(block.name.size()));
    out.bytes(as_bytes(block.name));
    out.u8(0);
    for (const ByteRange& range : some) {
      out.u64(range.offset);
      out.u64(range.length);
    }
    ranges = ranges.subspan(some.size());
  }
}

void write_memory_end(uint32_t section, BigEndianWriter& out) {
  begin_section(ItemType::kSectionEnd, section, out);
  end_pages(section, out);
}

}  // namespace forerun::migrate
