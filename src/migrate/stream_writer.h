// Writes pages into a forward stream, in an order of the writer's own: the target accepts any, as
// sections of their own before the memory's last one.
#pragma once

#include <span>

#include "migrate/ram_blocks.h"

namespace forerun::migrate {

// Appends a section with these pages, each with its block's name, so that it depends on no other.
// REQUIRES: the pages fit `blocks`.
void write_pages(std::span<const PageRecord> pages, const std::vector<RamBlock>& blocks,
                 uint32_t section, BigEndianWriter& out);
// The same by parts: a section's begin, its pages one by one, its end.
void begin_pages(uint32_t section, BigEndianWriter& out);
void append_page(const PageRecord& page, const std::vector<RamBlock>& blocks, BigEndianWriter& out);
void end_pages(uint32_t section, BigEndianWriter& out);
// Appends commands that have the target drop these pages of a block, which come again after the
// switch. REQUIRES: whole pages of `block`.
void write_discard(const RamBlock& block, std::span<const ByteRange> ranges, BigEndianWriter& out);
// Appends the memory's last section, without pages.
void write_memory_end(uint32_t section, BigEndianWriter& out);

}  // namespace forerun::migrate
