#include "image/crc32c.h"

#include <ext2fs/ext2fs.h>
#include <gtest/gtest.h>

namespace forerun::image {
namespace {

TEST(Crc32c, HasTheKnownValue) {
  // RFC 3720's check value, 0xe3069283, is inverted at the end.
  EXPECT_EQ(~crc32c(~0u, as_bytes("123456789")), 0xe3069283u);
}

TEST(Crc32c, AgreesWithLibext2fsAtEveryLengthAndOffset) {
  std::vector<unsigned char> bytes(100);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i * 37 + 11);
  for (size_t first = 0; first < 9; ++first) {
    for (size_t size = 0; size + first <= bytes.size(); ++size) {
      const auto part = std::span(bytes).subspan(first, size);
      EXPECT_EQ(crc32c(7, std::as_bytes(part)), ext2fs_crc32c_le(7, part.data(), part.size()));
    }
  }
}

}  // namespace
}  // namespace forerun::image
