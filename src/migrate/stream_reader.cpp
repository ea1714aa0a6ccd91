#include "migrate/stream_reader.h"

#include <algorithm>

namespace forerun::migrate {
namespace {

constexpr size_t kMachineBytesMax = 255;
// The longest item that is read whole: the section that names the blocks.
constexpr size_t kItemBytesMax = 320 * kKiB;

std::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorCode::kCorrupt, std::move(message));
}

// How long a command's data is; none: it says itself.
std::optional<size_t> data_length_of(Command command) {
  switch (command) {
    case Command::kOpenReturnPath:
    case Command::kPostcopyListen:
    case Command::kPostcopyRun:
    case Command::kPostcopyResume:
      return 0;
    case Command::kPing:
    case Command::kPackaged:
      return 4;
    case Command::kPostcopyAdvise:
      return 16;
    case Command::kRamDiscard:
    case Command::kReceivedBitmap:
    case Command::kEnableColo:
      break;
  }
  return std::nullopt;
}

}  // namespace

StreamReader::StreamReader(Options options, StreamVisitor& visitor, std::vector<RamBlock> blocks,
                           uint32_t section)
    : options_(options),
      visitor_(visitor),
      state_(State::kItem),
      blocks_(std::move(blocks)),
      section_(section),
      has_blocks_(true),
      has_package_(true) {}

Status StreamReader::feed(ByteView bytes) {
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  size_t at = 0;
  while (at < pending_.size()) {
    const ByteView in = ByteView(pending_).subspan(at);
    auto read = step(in);
    if (!read)
      return std::unexpected(
          std::move(read.error()).within(fmt::format("migration stream, byte {}", position_)));
    if (*read == 0) {
      FR_ASSERT(in.size() < kItemBytesMax);
      break;
    }
    at += *read;
    position_ += *read;
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(at));
  return {};
}

Status StreamReader::finish() const {
  const bool is_over = state_ == State::kEnded || state_ == State::kTail;
  if (!is_over || !pending_.empty())
    return corrupt(fmt::format("migration stream, byte {}: it ends before its end", position_));
  return {};
}

Result<size_t> StreamReader::step(ByteView in) {
  switch (state_) {
    case State::kMagic:
      return read_magic(in);
    case State::kItem:
      return read_item(in);
    case State::kRecords:
      return read_record(in);
    case State::kFooter:
      return read_footer(in);
    case State::kPackaged:
    case State::kTail:
      return read_opaque(in);
    case State::kEnded:
      break;
  }
  return corrupt("bytes follow the end");
}

Result<size_t> StreamReader::read_magic(ByteView in) {
  BigEndianReader reader(in);
  const uint32_t magic = reader.u32(), version = reader.u32();
  if (!reader.good()) return 0;
  if (magic != kStreamMagic) return corrupt("this is no stream of QEMU's");
  if (version != kStreamVersion)
    return fail(ErrorCode::kUnsupported, fmt::format("the stream has version {}", version));
  FR_CHECK(visitor_.on_bytes(Piece::kHead, in.first(reader.taken())));
  state_ = State::kItem;
  return reader.taken();
}

Result<size_t> StreamReader::read_item(ByteView in) {
  switch (static_cast<ItemType>(in.front())) {
    case ItemType::kConfiguration:
      return read_configuration(in);
    case ItemType::kCommand:
      return read_command(in);
    case ItemType::kSectionStart:
      return read_blocks(in);
    case ItemType::kSectionPart:
      return read_section(in, false);
    case ItemType::kSectionEnd:
      return read_section(in, true);
    case ItemType::kSectionFull:
      if (!is_last_section_) return corrupt("a device's section amid the memory");
      state_ = State::kTail;
      return read_opaque(in);
    case ItemType::kSubsection:
      return fail(ErrorCode::kUnsupported, "the machine's configuration has more than its name");
    case ItemType::kEnd:
      if (!is_last_section_) return corrupt("the stream's end amid the memory");
      FR_CHECK(visitor_.on_bytes(Piece::kEnd, in.first(1)));
      state_ = has_package_ ? State::kEnded : State::kTail;
      return 1;
    case ItemType::kDescription:
    case ItemType::kFooter:
      break;
  }
  return corrupt(fmt::format("an item of type {:#x}", static_cast<unsigned>(in.front())));
}

Result<size_t> StreamReader::read_configuration(ByteView in) {
  BigEndianReader reader(in.subspan(1));
  const uint32_t length = reader.u32();
  if (!reader.good()) return 0;
  if (length == 0 || length > kMachineBytesMax)
    return corrupt(fmt::format("a machine's name of {} bytes", length));
  const ByteView name = reader.bytes(length);
  if (!reader.good()) return 0;
  FR_CHECK(visitor_.on_machine(as_text(name)));
  FR_CHECK(visitor_.on_bytes(Piece::kHead, in.first(1 + reader.taken())));
  return 1 + reader.taken();
}

Result<size_t> StreamReader::read_command(ByteView in) {
  BigEndianReader reader(in.subspan(1));
  const uint16_t number = reader.u16(), length = reader.u16();
  const ByteView data = reader.bytes(length);
  if (!reader.good()) return 0;
  const auto command = static_cast<Command>(number);
  if (number < static_cast<uint16_t>(Command::kOpenReturnPath) ||
      number > static_cast<uint16_t>(Command::kReceivedBitmap) || command == Command::kEnableColo)
    return fail(ErrorCode::kUnsupported, fmt::format("command {}", number));
  if (const auto wanted = data_length_of(command); wanted && *wanted != length)
    return corrupt(fmt::format("command {} has {} bytes instead of {}", number, length, *wanted));
  if (command == Command::kPostcopyAdvise) {
    BigEndianReader advice(data);
    const uint64_t block_pages = advice.u64(), target_pages = advice.u64();
    if (block_pages != kPageBytes || target_pages != kPageBytes)
      return fail(ErrorCode::kUnsupported,
                  fmt::format("memory in pages of {:#x} and {:#x} bytes; only 4 KiB are read",
                              block_pages, target_pages));
  }
  if (command == Command::kRamDiscard) FR_CHECK(read_discard(data));
  if (command == Command::kPackaged) {
    opaque_left_ = BigEndianReader(data).u32();
    if (opaque_left_ > options_.packaged_bytes_max)
      return fail(ErrorCode::kTooLarge, fmt::format("a package of {} bytes", opaque_left_));
    has_package_ = true;
    if (opaque_left_ > 0) state_ = State::kPackaged;
  }
  FR_CHECK(visitor_.on_command(command, data));
  FR_CHECK(visitor_.on_bytes(Piece::kCommand, in.first(1 + reader.taken())));
  return 1 + reader.taken();
}

Status StreamReader::read_discard(ByteView data) {
  BigEndianReader reader(data);
  const uint8_t version = reader.u8();
  const ByteView name = reader.bytes(reader.u8());
  const uint8_t end = reader.u8();
  if (!reader.good() || version != 0 || end != 0 || reader.left() % 16 != 0)
    return corrupt("a list of pages to discard that is malformed");
  const auto block = find_block(blocks_, as_text(name));
  if (!block)
    return corrupt(
        fmt::format("pages to discard of block '{}', which there is not", as_text(name)));
  while (reader.left() > 0) {
    const ByteRange range{reader.u64(), reader.u64()};
    if (range.offset % kPageBytes != 0 || range.length % kPageBytes != 0 ||
        !fits(range, blocks_[*block].used_bytes))
      return corrupt(fmt::format(
          "pages to discard at {:#x}, {:#x} bytes, of block {}, which has {:#x}", range.offset,
          range.length, blocks_[*block].name, blocks_[*block].used_bytes));
    FR_CHECK(visitor_.on_discard(*block, range));
  }
  return {};
}

Result<size_t> StreamReader::read_blocks(ByteView in) {
  BigEndianReader reader(in.subspan(1));
  const uint32_t section = reader.u32();
  const ByteView name = reader.bytes(reader.u8());
  const uint32_t instance = reader.u32(), version = reader.u32();
  const uint64_t head = reader.u64();
  if (!reader.good()) return 0;
  if (as_text(name) != "ram" || instance != 0)
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("section '{}' comes in parts; only the memory's is read", as_text(name)));
  if (version != kRamVersion)
    return fail(ErrorCode::kUnsupported,
                fmt::format("the memory's section has version {}", version));
  if (has_blocks_) return corrupt("the memory begins twice");
  if ((head & kFlagsMask) != kFlagMemorySize)
    return corrupt(fmt::format("the memory begins with flags {:#x}", head & kFlagsMask));
  auto blocks = parse_blocks(reader, head & ~kFlagsMask);
  if (!blocks) return std::unexpected(std::move(blocks.error()));
  const uint64_t end = reader.u64();
  const auto footer = static_cast<ItemType>(reader.u8());
  const uint32_t closed = reader.u32();
  if (!reader.good()) return 0;
  if (end != kFlagEnd || footer != ItemType::kFooter || closed != section)
    return corrupt("the list of the memory's blocks is not closed as it should be");
  blocks_ = std::move(*blocks);
  section_ = section;
  has_blocks_ = true;
  FR_CHECK(visitor_.on_blocks(blocks_));
  FR_CHECK(visitor_.on_bytes(Piece::kBlocks, in.first(1 + reader.taken())));
  return 1 + reader.taken();
}

// Returns the blocks as far as they are there: `in` turns bad where more bytes are needed.
Result<std::vector<RamBlock>> StreamReader::parse_blocks(BigEndianReader& in,
                                                         uint64_t bytes) const {
  std::vector<RamBlock> blocks;
  if (bytes > kRamBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("{:#x} bytes of memory", bytes));
  for (uint64_t told = 0; told < bytes && in.good();) {
    if (blocks.size() == kRamBlocksMax)
      return fail(ErrorCode::kTooLarge,
                  fmt::format("more than {} blocks of memory", kRamBlocksMax));
    RamBlock block{std::string(as_text(in.bytes(in.u8()))), in.u64()};
    if (!in.good()) break;
    if (block.name.empty() || find_block(blocks, block.name))
      return corrupt(fmt::format("memory block '{}' has no name, or is there twice", block.name));
    if (block.used_bytes == 0 || block.used_bytes % kPageBytes != 0 ||
        block.used_bytes > bytes - told)
      return corrupt(fmt::format("memory block {} has {:#x} bytes of {:#x} that are left",
                                 block.name, block.used_bytes, bytes - told));
    told += block.used_bytes;
    blocks.push_back(std::move(block));
  }
  return blocks;
}

Result<size_t> StreamReader::read_section(ByteView in, bool is_last) {
  BigEndianReader reader(in.subspan(1));
  const uint32_t section = reader.u32();
  if (!reader.good()) return 0;
  if (!has_blocks_ || section != section_)
    return corrupt(fmt::format("section {} goes on that did not begin", section));
  if (is_last_section_) return corrupt("the memory goes on after its end");
  is_last_section_ = is_last;
  state_ = State::kRecords;
  FR_CHECK(visitor_.on_bytes(Piece::kFrame, in.first(1 + reader.taken())));
  return 1 + reader.taken();
}

Result<size_t> StreamReader::read_record(ByteView in) {
  FR_TRY(const auto read, records_.read(in, blocks_));
  if (read.bytes == 0) return 0;
  if (read.page)
    FR_CHECK(visitor_.on_page(*read.page));
  else
    state_ = State::kFooter;
  FR_CHECK(visitor_.on_bytes(read.page ? Piece::kPage : Piece::kFrame, in.first(read.bytes)));
  return read.bytes;
}

Result<size_t> StreamReader::read_footer(ByteView in) {
  BigEndianReader reader(in);
  const auto type = static_cast<ItemType>(reader.u8());
  const uint32_t section = reader.u32();
  if (!reader.good()) return 0;
  if (type != ItemType::kFooter || section != section_)
    return corrupt("a section of memory is not closed as it should be");
  state_ = State::kItem;
  if (is_last_section_) FR_CHECK(visitor_.on_memory_end());
  FR_CHECK(visitor_.on_bytes(Piece::kFrame, in.first(reader.taken())));
  return reader.taken();
}

Result<size_t> StreamReader::read_opaque(ByteView in) {
  const size_t count = state_ == State::kPackaged
                           ? static_cast<size_t>(std::min<uint64_t>(opaque_left_, in.size()))
                           : in.size();
  if (state_ == State::kPackaged) {
    opaque_left_ -= count;
    if (opaque_left_ == 0) state_ = State::kItem;
  }
  FR_CHECK(visitor_.on_bytes(Piece::kOpaque, in.first(count)));
  return count;
}

}  // namespace forerun::migrate
