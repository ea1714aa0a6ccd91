#include "image/crc32c.h"

#include <ext2fs/ext2fs.h>

namespace forerun::image {
namespace {

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t crc32c_by_instruction(uint32_t seed, ByteView data) {
  uint64_t crc = seed;
  while (data.size() >= sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, data.data(), sizeof word);
    crc = __builtin_ia32_crc32di(crc, word);
    data = data.subspan(sizeof word);
  }
  auto rest = static_cast<uint32_t>(crc);
  for (const std::byte byte : data) {
    rest = __builtin_ia32_crc32qi(rest, static_cast<uint8_t>(byte));
  }
  return rest;
}
#endif

}  // namespace

uint32_t crc32c(uint32_t seed, ByteView data) {
#if defined(__x86_64__)
  static const bool kHasInstruction = __builtin_cpu_supports("sse4.2");
  if (kHasInstruction) return crc32c_by_instruction(seed, data);
#endif
  return ext2fs_crc32c_le(seed, reinterpret_cast<const unsigned char*>(data.data()), data.size());
}

}  // namespace forerun::image
