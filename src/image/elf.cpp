#include "image/elf.h"

#include <optional>

#include "core/codec.h"

namespace forerun::image {
namespace {

constexpr size_t kHeaderBytes = 64;
constexpr size_t kSegmentBytes = 56;
constexpr size_t kSegmentsMax = 64;
constexpr size_t kDynamicBytesMax = 64 * 1024;
constexpr size_t kNameBytesMax = 4096;

constexpr uint32_t kSegmentLoad = 1, kSegmentDynamic = 2, kSegmentInterpreter = 3;
constexpr uint64_t kTagEnd = 0, kTagNeeded = 1, kTagStrings = 5, kTagRpath = 15, kTagRunpath = 29;

struct Segment {
  uint32_t type = 0;
  uint64_t file_offset = 0, address = 0, file_bytes = 0;
};

Result<Buffer> read_exactly(const ReadAt& read, uint64_t offset, size_t size, const char* what) {
  FR_TRY(Buffer data, read(offset, size));
  if (data.size() < size)
    return fail(ErrorCode::kCorrupt, fmt::format("ELF: its {} ends before its end", what));
  return data;
}

// Returns the text at `offset` up to its NUL.
Result<std::string> read_text(const ReadAt& read, uint64_t offset) {
  FR_TRY(const Buffer data, read(offset, kNameBytesMax));
  const std::string_view text = as_text(data);
  const size_t end = text.find('\0');
  if (end == std::string_view::npos || end == 0)
    return fail(ErrorCode::kCorrupt, fmt::format("ELF: no name at {}", offset));
  return std::string(text.substr(0, end));
}

Result<std::vector<Segment>> read_segments(const ReadAt& read) {
  FR_TRY(const Buffer header, read(0, kHeaderBytes));
  if (header.size() < kHeaderBytes || as_text(header).substr(0, 6) !=
                                          "\x7f"
                                          "ELF\x02\x01")
    return fail(ErrorCode::kUnsupported, "no 64-bit little-endian ELF file");
  ByteReader offset_field(ByteView(header).subspan(32));
  const uint64_t table = offset_field.u64();
  ByteReader counts(ByteView(header).subspan(54));
  const uint16_t entry_bytes = counts.u16();
  const uint16_t count = counts.u16();
  if (count == 0) return std::vector<Segment>{};
  if (entry_bytes != kSegmentBytes)
    return fail(ErrorCode::kCorrupt, fmt::format("ELF: segments of {} bytes", entry_bytes));
  if (count > kSegmentsMax)
    return fail(ErrorCode::kTooLarge, fmt::format("ELF: {} segments", count));
  FR_TRY(const Buffer data, read_exactly(read, table, count * kSegmentBytes, "segment table"));
  std::vector<Segment> segments(count);
  ByteReader in(data);
  for (Segment& segment : segments) {
    segment.type = in.u32();
    in.u32();  // flags
    segment.file_offset = in.u64();
    segment.address = in.u64();
    in.u64();  // physical address
    segment.file_bytes = in.u64();
    in.bytes(16);  // size in memory, alignment
  }
  return segments;
}

std::optional<uint64_t> offset_of_address(const std::vector<Segment>& segments, uint64_t address) {
  for (const Segment& segment : segments) {
    if (segment.type == kSegmentLoad && address >= segment.address &&
        address - segment.address < segment.file_bytes)
      return segment.file_offset + (address - segment.address);
  }
  return std::nullopt;
}

void split_path(std::string_view text, std::vector<std::string>& out) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(':'), text.size());
    if (end > 0) out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

Status read_dynamic(const ReadAt& read, const std::vector<Segment>& segments,
                    const Segment& dynamic, ElfNeeds& needs) {
  if (dynamic.file_bytes > kDynamicBytesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("ELF: {} bytes of dynamic section", dynamic.file_bytes));
  FR_TRY(const Buffer data,
         read_exactly(read, dynamic.file_offset, dynamic.file_bytes, "dynamic section"));
  std::vector<uint64_t> libraries, paths;  // as offsets into the string table
  std::optional<uint64_t> strings;
  for (ByteReader in(data); in.left() >= 16;) {
    const uint64_t tag = in.u64();
    const uint64_t value = in.u64();
    if (tag == kTagEnd) break;
    if (tag == kTagNeeded) libraries.push_back(value);
    if (tag == kTagRpath || tag == kTagRunpath) paths.push_back(value);
    if (tag == kTagStrings) strings = offset_of_address(segments, value);
  }
  if (libraries.size() > kElfLibrariesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("ELF: {} libraries", libraries.size()));
  if (!strings && !(libraries.empty() && paths.empty()))
    return fail(ErrorCode::kCorrupt, "ELF: its string table is in no segment");
  for (const uint64_t at : libraries) {
    FR_TRY(std::string name, read_text(read, *strings + at));
    needs.libraries.push_back(std::move(name));
  }
  for (const uint64_t at : paths) {
    FR_TRY(const std::string text, read_text(read, *strings + at));
    split_path(text, needs.search_path);
  }
  return {};
}

}  // namespace

Result<ElfNeeds> read_elf_needs(const ReadAt& read) {
  FR_TRY(const std::vector<Segment> segments, read_segments(read));
  ElfNeeds needs;
  for (const Segment& segment : segments) {
    if (segment.type == kSegmentInterpreter) {
      FR_TRY(needs.interpreter, read_text(read, segment.file_offset));
    }
    if (segment.type == kSegmentDynamic) FR_CHECK(read_dynamic(read, segments, segment, needs));
  }
  return needs;
}

}  // namespace forerun::image
