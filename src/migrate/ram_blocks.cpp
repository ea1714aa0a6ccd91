#include "migrate/ram_blocks.h"

#include <algorithm>

namespace forerun::migrate {
namespace {

constexpr uint64_t kReadFlags = kFlagZero | kFlagPage | kFlagEnd | kFlagContinue;

}  // namespace

std::optional<uint32_t> find_block(const std::vector<RamBlock>& blocks, std::string_view name) {
  const auto found = std::find_if(blocks.begin(), blocks.end(),
                                  [&](const RamBlock& block) { return block.name == name; });
  if (found == blocks.end()) return std::nullopt;
  return static_cast<uint32_t>(found - blocks.begin());
}

Result<uint32_t> PageRecordReader::block_of(std::string_view name,
                                            const std::vector<RamBlock>& blocks) const {
  // Mostly it is the one that the last page was of.
  if (last_block_ && blocks[*last_block_].name == name) return *last_block_;
  const auto found = find_block(blocks, name);
  if (!found)
    return fail(ErrorCode::kCorrupt,
                fmt::format("a page is of memory block '{}', which there is not", name));
  return *found;
}

Result<PageRecordReader::Read> PageRecordReader::read(ByteView in,
                                                      const std::vector<RamBlock>& blocks) {
  BigEndianReader reader(in);
  const uint64_t head = reader.u64();
  if (!reader.good()) return Read{};
  const uint64_t flags = head & kFlagsMask, offset = head & ~kFlagsMask;
  if (flags == kFlagEnd && offset == 0) return Read{reader.taken(), std::nullopt};
  const bool is_zero = (flags & kFlagZero) != 0, is_page = (flags & kFlagPage) != 0;
  if ((flags & ~kReadFlags) != 0)
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("a record of memory has flags {:#x}: only plain and zero pages are read "
                    "(xbzrle, compression and the like must be off)",
                    flags));
  if (is_zero == is_page || (flags & kFlagEnd) != 0)
    return fail(ErrorCode::kCorrupt, fmt::format("a record of memory has flags {:#x}", flags));
  PageRecord page{.offset = offset};
  if ((flags & kFlagContinue) != 0) {
    if (!last_block_)
      return fail(ErrorCode::kCorrupt, "the first page is of the block of the one before");
    page.block = *last_block_;
  } else {
    const ByteView name = reader.bytes(reader.u8());
    if (!reader.good()) return Read{};
    FR_TRY(page.block, block_of(as_text(name), blocks));
  }
  const RamBlock& block = blocks[page.block];
#ifndef FORERUN_PLANT_BUG_MIGRATION  // set by fuzz/migrate/prove.sh only
  if (!fits({offset, kPageBytes}, block.used_bytes))
    return fail(ErrorCode::kCorrupt,
                fmt::format("a page at {:#x} is outside of {}, which has {:#x}", offset, block.name,
                            block.used_bytes));
#endif
  if (is_zero)
    page.fill = static_cast<std::byte>(reader.u8());
  else
    page.data = reader.bytes(kPageBytes);
  if (!reader.good()) return Read{};
  last_block_ = page.block;
  return Read{reader.taken(), page};
}

}  // namespace forerun::migrate
