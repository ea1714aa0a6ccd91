// Who uses the cache: a VM, by a small number that a set of users can hold as bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace forerun::tier {

using Reader = uint8_t;
inline constexpr Reader kNoReader = 255;
inline constexpr size_t kReadersMax = 64;  // told apart; the last is everybody beyond

// A set of readers, a bit each.
using Readers = uint64_t;
inline Readers reader_bit(Reader reader) { return reader < kReadersMax ? Readers{1} << reader : 0; }

}  // namespace forerun::tier
