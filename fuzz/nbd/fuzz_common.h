// What the two targets share: checks that stay on, and a reader of big-endian fields.
#pragma once

#include <string>

#include "core/bytes.h"
#include "export/nbd_protocol.h"

namespace forerun::nbd {

// Ends the program: the fuzzer's finding.
inline void require(bool condition) {
  if (!condition) __builtin_trap();
}

template <typename T>
void append_be(std::string& text, T value) {
  std::byte bytes[sizeof value];
  store_be(bytes, value);
  text.append(reinterpret_cast<const char*>(bytes), sizeof value);
}

template <typename T>
T take_be(ByteView& bytes) {
  require(bytes.size() >= sizeof(T));
  const T value = load_be<T>(bytes.data());
  bytes = bytes.subspan(sizeof(T));
  return value;
}

}  // namespace forerun::nbd
