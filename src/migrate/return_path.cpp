#include "migrate/return_path.h"

namespace forerun::migrate {
namespace {

constexpr size_t kHeadBytes = 4;
constexpr size_t kRequestBytes = 12;

std::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorCode::kCorrupt, std::move(message));
}

}  // namespace

Status ReturnPathReader::feed(ByteView bytes) {
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  size_t at = 0;
  while (at < pending_.size()) {
    auto read = read_message(ByteView(pending_).subspan(at));
    if (!read)
      return std::unexpected(
          std::move(read.error()).within(fmt::format("return path, byte {}", position_)));
    if (*read == 0) break;
    at += *read;
    position_ += *read;
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(at));
  return {};
}

Result<size_t> ReturnPathReader::read_message(ByteView in) {
  BigEndianReader reader(in);
  const uint16_t number = reader.u16(), length = reader.u16();
  const ByteView data = reader.bytes(length);
  if (!reader.good()) return 0;
  const auto message = static_cast<ReturnMessage>(number);
  const auto word = [&]() -> Result<uint32_t> {
    if (length != 4) return corrupt(fmt::format("message {} has {} bytes", number, length));
    return BigEndianReader(data).u32();
  };
  switch (message) {
    case ReturnMessage::kShut: {
      FR_TRY(const uint32_t status, word());
      FR_CHECK(visitor_.on_shut(status));
      break;
    }
    case ReturnMessage::kPong: {
      FR_TRY(const uint32_t value, word());
      FR_CHECK(visitor_.on_pong(value));
      break;
    }
    case ReturnMessage::kRequestPagesOfBlock:
      FR_CHECK(read_request(data, true));
      break;
    case ReturnMessage::kRequestPages:
      FR_CHECK(read_request(data, false));
      break;
    case ReturnMessage::kReceivedBitmap:
      return read_bitmap(in, reader.taken());
    case ReturnMessage::kResumeAcknowledged: {
      FR_TRY(const uint32_t value, word());
      if (value != 1) return corrupt(fmt::format("it is resumed with {}", value));
      FR_CHECK(visitor_.on_resumed());
      break;
    }
    case ReturnMessage::kKnownTaken:
      FR_CHECK(read_known(data));
      break;
    default:
      return fail(ErrorCode::kUnsupported, fmt::format("message {}", number));
  }
  FR_CHECK(visitor_.on_bytes(message, in.first(reader.taken())));
  return reader.taken();
}

Result<uint32_t> ReturnPathReader::block_of(ByteView name) const {
  const auto block = find_block(blocks_, as_text(name));
  if (!block) return corrupt(fmt::format("memory block '{}', which there is not", as_text(name)));
  return *block;
}

Status ReturnPathReader::read_request(ByteView data, bool has_name) {
  BigEndianReader reader(data);
  const uint64_t start = reader.u64();
  const uint32_t length = reader.u32();
  if (has_name) {
    const ByteView name = reader.bytes(reader.u8());
    if (!reader.good() || reader.left() > 0) return corrupt("a request that is malformed");
    FR_TRY(last_block_, block_of(name));
  } else if (data.size() != kRequestBytes) {
    return corrupt("a request that is malformed");
  }
  if (!last_block_) return corrupt("the first request does not say of which block");
  const PageRequest request{*last_block_, {start, length}};
  const RamBlock& block = blocks_[request.block];
  if (start % kPageBytes != 0 || length % kPageBytes != 0 || length == 0 ||
      !fits(request.range, block.used_bytes))
    return corrupt(fmt::format("a request at {:#x}, {:#x} bytes, of block {}, which has {:#x}",
                               start, length, block.name, block.used_bytes));
  return visitor_.on_request(request);
}

Status ReturnPathReader::read_known(ByteView data) {
  BigEndianReader reader(data);
  const uint32_t taken = reader.u32();
  std::vector<uint32_t> failed;
  while (reader.good() && reader.left() > 0) {
    failed.push_back(reader.u32());
    if (failed.back() >= taken || (failed.size() > 1 && failed[failed.size() - 2] >= failed.back()))
      return corrupt("references that failed, but are none");
  }
  if (!reader.good() || taken == 0 || taken > kKnownAtOnce)
    return corrupt("a word on references that is malformed");
  return visitor_.on_known(taken, failed);
}

// The message has the block's name only; the bitmap follows it.
Result<size_t> ReturnPathReader::read_bitmap(ByteView in, size_t head) {
  BigEndianReader name_reader(in.subspan(kHeadBytes, head - kHeadBytes));
  const ByteView name = name_reader.bytes(name_reader.u8());
  if (!name_reader.good() || name_reader.left() > 0)
    return corrupt("a bitmap's name that is malformed");
  FR_TRY(const uint32_t block, block_of(name));
  BigEndianReader reader(in.subspan(head));
  const uint64_t bytes = reader.u64();
  if (!reader.good()) return 0;
  const uint64_t pages = blocks_[block].used_bytes / kPageBytes;
  const uint64_t expected = round_up((pages + 7) / 8, 8);
  if (bytes != expected)
    return corrupt(fmt::format("a bitmap of {} bytes for block {}, which needs {}", bytes,
                               blocks_[block].name, expected));
  const ByteView bitmap = reader.bytes(bytes);
  const uint64_t end = reader.u64();
  if (!reader.good()) return 0;
  if (end != kBitmapEnd) return corrupt("a bitmap that does not end as it should");
  FR_CHECK(visitor_.on_received(block, bitmap));
  FR_CHECK(visitor_.on_bytes(ReturnMessage::kReceivedBitmap, in.first(head + reader.taken())));
  return head + reader.taken();
}

void encode(const PageRequest& request, const std::vector<RamBlock>& blocks, BigEndianWriter& out) {
  const std::string& name = blocks[request.block].name;
  out.u16(static_cast<uint16_t>(ReturnMessage::kRequestPagesOfBlock));
  out.u16(static_cast<uint16_t>(kRequestBytes + 1 + name.size()));
  out.u64(request.range.offset);
  out.u32(static_cast<uint32_t>(request.range.length));
  out.u8(static_cast<uint8_t>(name.size()));
  out.bytes(as_bytes(name));
}

void encode_known(uint32_t taken, const std::vector<uint32_t>& failed, BigEndianWriter& out) {
  out.u16(static_cast<uint16_t>(ReturnMessage::kKnownTaken));
  out.u16(static_cast<uint16_t>(sizeof(uint32_t) * (1 + failed.size())));
  out.u32(taken);
  for (const uint32_t place : failed) out.u32(place);
}

}  // namespace forerun::migrate
