#include "migrate/stream_writer.h"

namespace forerun::migrate {
namespace {

void write_section(ItemType type, std::span<const PageRecord> pages,
                   const std::vector<RamBlock>& blocks, uint32_t section, BigEndianWriter& out) {
  out.u8(static_cast<uint8_t>(type));
  out.u32(section);
  for (const PageRecord& page : pages) {
    const std::string& name = blocks[page.block].name;
    out.u64(page.offset | (page.data.empty() ? kFlagZero : kFlagPage));
    out.u8(static_cast<uint8_t>(name.size()));
    out.bytes(as_bytes(name));
    if (page.data.empty())
      out.u8(static_cast<uint8_t>(page.fill));
    else
      out.bytes(page.data);
  }
  out.u64(kFlagEnd);
  out.u8(static_cast<uint8_t>(ItemType::kFooter));
  out.u32(section);
}

}  // namespace

void write_pages(std::span<const PageRecord> pages, const std::vector<RamBlock>& blocks,
                 uint32_t section, BigEndianWriter& out) {
  write_section(ItemType::kSectionPart, pages, blocks, section, out);
}

void write_memory_end(uint32_t section, BigEndianWriter& out) {
  write_section(ItemType::kSectionEnd, {}, {}, section, out);
}

}  // namespace forerun::migrate
