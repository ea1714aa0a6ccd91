// Big-endian fields of formats on disk and wire, as ByteReader and ByteWriter for little-endian
// ones.
#pragma once

#include "core/codec.h"

namespace forerun {

// The reader never passes the end: it turns bad once and stays bad.
class BigEndianReader {
 public:
  explicit BigEndianReader(ByteView data) : in_(data), size_(data.size()) {}

  uint8_t u8() { return in_.u8(); }
  uint16_t u16() { return integer<uint16_t>(); }
  uint32_t u32() { return integer<uint32_t>(); }
  uint64_t u64() { return integer<uint64_t>(); }
  // Returns the next `length` bytes, or an empty view (and the reader turns bad) if fewer are left.
  ByteView bytes(size_t length) { return in_.bytes(length); }
  size_t left() const { return in_.left(); }
  size_t taken() const { return size_ - in_.left(); }
  bool good() const { return in_.good(); }

 private:
  template <typename T>
  T integer() {
    T value = 0;
    for (const std::byte byte : in_.bytes(sizeof(T)))
      value = static_cast<T>(static_cast<T>(value << 8) | static_cast<T>(byte));
    return value;
  }
  ByteReader in_;
  size_t size_;
};

class BigEndianWriter {
 public:
  void u8(uint8_t value) { integer(value); }
  void u16(uint16_t value) { integer(value); }
  void u32(uint32_t value) { integer(value); }
  void u64(uint64_t value) { integer(value); }
  void bytes(ByteView data) { out_.insert(out_.end(), data.begin(), data.end()); }
  ByteView view() const { return out_; }
  void clear() { out_.clear(); }
  Buffer take() { return std::move(out_); }

 private:
  template <typename T>
  void integer(T value) {
    for (size_t i = sizeof value; i-- > 0;)
      out_.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
  Buffer out_;
};

}  // namespace forerun
