// Little-endian fields of formats on disk and wire. The reader never passes the end: it turns bad
// once and stays bad.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/bytes.h"

namespace forerun {

class ByteWriter {
 public:
  void u8(uint8_t value) { integer(value); }
  void u16(uint16_t value) { integer(value); }
  void u32(uint32_t value) { integer(value); }
  void u64(uint64_t value) { integer(value); }
  void bytes(ByteView data) { out_.insert(out_.end(), data.begin(), data.end()); }
  size_t size() const { return out_.size(); }
  ByteView view() const { return out_; }
  Buffer take() { return std::move(out_); }

 private:
  template <typename T>
  void integer(T value) {
    for (size_t i = 0; i < sizeof value; ++i)
      out_.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
  Buffer out_;
};

class ByteReader {
 public:
  explicit ByteReader(ByteView data) : data_(data) {}

  uint8_t u8() { return integer<uint8_t>(); }
  uint16_t u16() { return integer<uint16_t>(); }
  uint32_t u32() { return integer<uint32_t>(); }
  uint64_t u64() { return integer<uint64_t>(); }
  // Returns the next `length` bytes, or an empty view (and the reader turns bad) if fewer are left.
  ByteView bytes(size_t length) {
    if (!good_ || length > data_.size()) {
      good_ = false;
      return {};
    }
    const ByteView taken = data_.first(length);
    data_ = data_.subspan(length);
    return taken;
  }
  size_t left() const { return data_.size(); }
  // Returns false once anything was read past the end; all fields read since then are zero.
  bool good() const { return good_; }

 private:
  template <typename T>
  T integer() {
    const ByteView field = bytes(sizeof(T));
    T value = 0;
    for (size_t i = 0; i < field.size(); ++i)
      value = static_cast<T>(value | static_cast<T>(static_cast<T>(field[i]) << (8 * i)));
    return value;
  }
  ByteView data_;
  bool good_ = true;
};

}  // namespace forerun
