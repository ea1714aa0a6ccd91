#include "migrate/stand_in_target.h"

namespace forerun::migrate {
namespace {

void write_message(ReturnMessage message, ByteView data, BigEndianWriter& out) {
  out.u16(static_cast<uint16_t>(message));
  out.u16(static_cast<uint16_t>(data.size()));
  out.bytes(data);
}

void write_word(ReturnMessage message, uint32_t word, BigEndianWriter& out) {
  BigEndianWriter data;
  data.u32(word);
  write_message(message, data.view(), out);
}

// That all pages of the block are there. The bitmap is little-endian, in whole words.
void write_bitmap(const RamBlock& block, BigEndianWriter& out) {
  BigEndianWriter name;
  name.u8(static_cast<uint8_t>(block.name.size()));
  name.bytes(as_bytes(block.name));
  write_message(ReturnMessage::kReceivedBitmap, name.view(), out);
  const uint64_t pages = block.used_bytes / kPageBytes;
  Buffer bitmap(round_up((pages + 7) / 8, 8), std::byte{0});
  std::fill_n(bitmap.begin(), pages / 8, std::byte{0xff});
  if (pages % 8 != 0) bitmap[pages / 8] = static_cast<std::byte>((1U << (pages % 8)) - 1);
  out.u64(bitmap.size());
  out.bytes(bitmap);
  out.u64(kBitmapEnd);
}

}  // namespace

void StreamTail::feed(ByteView bytes) {
  bytes_ += bytes.size();
  const ByteView kept = bytes.last(std::min(bytes.size(), kEndBytes));
  std::copy(last_.begin() + static_cast<ptrdiff_t>(kept.size()), last_.end(), last_.begin());
  std::copy(kept.begin(), kept.end(), last_.end() - static_cast<ptrdiff_t>(kept.size()));
}

bool StreamTail::is_end() const {
  if (bytes_ < kEndBytes) return false;
  BigEndianReader in(last_);
  if (in.u64() != kFlagEnd || in.u8() != static_cast<uint8_t>(ItemType::kFooter)) return false;
  in.u32();
  return in.u8() == static_cast<uint8_t>(ItemType::kEnd);
}

void write_all_arrived(Buffer& out) {
  BigEndianWriter shut;
  write_word(ReturnMessage::kShut, 0, shut);
  out.insert(out.end(), shut.view().begin(), shut.view().end());
}

Status StandInTarget::feed(ByteView stream, Buffer& answer) {
  if (is_resumed_) {
    tail_.feed(stream);
    return {};
  }
  pending_.insert(pending_.end(), stream.begin(), stream.end());
  BigEndianWriter said;
  size_t at = 0;
  while (!is_resumed_ && at < pending_.size()) {
    FR_TRY(const size_t read, read_command(ByteView(pending_).subspan(at), said));
    if (read == 0) break;
    at += read;
  }
  if (is_resumed_) tail_.feed(ByteView(pending_).subspan(at));
  pending_.erase(pending_.begin(),
                 pending_.begin() + static_cast<ptrdiff_t>(is_resumed_ ? pending_.size() : at));
  answer.insert(answer.end(), said.view().begin(), said.view().end());
  return {};
}

Result<size_t> StandInTarget::read_command(ByteView in, BigEndianWriter& answer) {
  BigEndianReader reader(in);
  const uint8_t type = reader.u8();
  if (type != static_cast<uint8_t>(ItemType::kCommand))
    return fail(ErrorCode::kUnsupported, fmt::format("a resumed stream begins with {:#x}", type));
  const auto command = static_cast<Command>(reader.u16());
  const ByteView data = reader.bytes(reader.u16());
  if (!reader.good()) return 0;
  switch (command) {
    case Command::kReceivedBitmap: {
      BigEndianReader named(data);
      const ByteView name = named.bytes(named.u8());
      const auto block = find_block(blocks_, as_text(name));
      if (!named.good() || !block)
        return fail(ErrorCode::kCorrupt,
                    fmt::format("memory block '{}', which there is not", as_text(name)));
      write_bitmap(blocks_[*block], answer);
      break;
    }
    case Command::kPing:
      if (data.size() != 4) return fail(ErrorCode::kCorrupt, "a ping that is malformed");
      write_word(ReturnMessage::kPong, BigEndianReader(data).u32(), answer);
      break;
    case Command::kPostcopyResume:
      write_word(ReturnMessage::kResumeAcknowledged, 1, answer);
      is_resumed_ = true;
      break;
    default:
      return fail(ErrorCode::kUnsupported,
                  fmt::format("command {} in a resumed stream", static_cast<uint16_t>(command)));
  }
  return reader.taken();
}

}  // namespace forerun::migrate
