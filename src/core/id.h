// Names: digests, chunk ids, VM ids.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun {

// A SHA-256.
struct Digest {
  std::array<uint8_t, 32> bytes{};

  auto operator<=>(const Digest&) const = default;
  // Returns the first 8 bytes; a SHA-256 needs no further hashing in a table.
  uint64_t prefix() const {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::string hex() const;        // 64 lower-case digits
  std::string short_hex() const;  // the first 12, for people
};

// Returns the SHA-256 of `data`.
Digest sha256(ByteView data);
// Returns the digest of 64 lower-case hex digits. ERRORS: kInvalid.
Result<Digest> parse_digest(std::string_view hex);

// A chunk is named by the SHA-256 of its (uncompressed) content.
using ChunkId = Digest;

// A running VM on this host; small, never reused within a process.
struct VmId {
  uint32_t value = 0;
  auto operator<=>(const VmId&) const = default;
};

// A component (today: the one component that is a whole imported image) as this process numbers it.
// Models see accesses as (component, block), so what one disk taught serves every disk that holds
// the component.
struct ComponentId {
  uint32_t value = 0;
  auto operator<=>(const ComponentId&) const = default;
};

// Returns whether `name` may name an image, VM or export: 1–64 characters of [a-z A-Z 0-9 . _ -],
// not starting with
// '.' or '-'.
bool is_valid_name(std::string_view name);

}  // namespace forerun

template <>
struct std::hash<forerun::Digest> {
  size_t operator()(const forerun::Digest& digest) const noexcept { return digest.prefix(); }
};
template <>
struct std::hash<forerun::VmId> {
  size_t operator()(forerun::VmId id) const noexcept { return id.value; }
};
template <>
struct std::hash<forerun::ComponentId> {
  size_t operator()(forerun::ComponentId id) const noexcept { return id.value; }
};
