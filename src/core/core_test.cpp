#include "core/bytes.h"
#include "core/codec.h"
#include "core/id.h"
#include "core/metrics.h"
#include "core/result.h"
#include "core/rng.h"
#include "core/zeroed_memory.h"

namespace forerun {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return fail(ErrorCode::kInvalid, "odd");
  return value / 2;
}
Result<int> quarter(int value) {
  FR_TRY(const int once, half(value));
  FR_TRY(const int twice, half(once));
  return twice;
}

TEST(Result, TryPropagatesTheFirstError) {
  EXPECT_EQ(quarter(8), 2);
  ASSERT_FALSE(quarter(6).has_value());
  EXPECT_EQ(quarter(6).error().message, "odd");
}

TEST(Error, SaysWhatWasAttempted) {
  const Error error = Error{ErrorCode::kIo, "no answer", 0}.within("cannot fetch index");
  EXPECT_EQ(error.message, "cannot fetch index: no answer");
}

TEST(ByteRange, FitsRefusesWrapAround) {
  EXPECT_TRUE(fits({10, 90}, 100));
  EXPECT_FALSE(fits({10, 91}, 100));
  EXPECT_FALSE(fits({UINT64_MAX, 2}, 100));
  EXPECT_FALSE(fits({2, UINT64_MAX}, 100));
}

TEST(Digest, HexRoundTripAndKnownAnswer) {
  const Digest digest = sha256(as_bytes("abc"));
  EXPECT_EQ(digest.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(parse_digest(digest.hex()), digest);
  EXPECT_FALSE(parse_digest("ba78").has_value());
  EXPECT_FALSE(parse_digest(std::string(64, 'G')).has_value());
}

TEST(Name, RefusesWhatCouldBeAPathOrAnOption) {
  EXPECT_TRUE(is_valid_name("web-1.a_B"));
  for (const char* bad : {"", ".", "..", "a/b", "-x", ".hidden", "a b", "ü"})
    EXPECT_FALSE(is_valid_name(bad)) << bad;
  EXPECT_FALSE(is_valid_name(std::string(65, 'a')));
}

TEST(Codec, ReaderTurnsBadPastTheEndAndStaysBad) {
  ByteWriter writer;
  writer.u16(0x1234);
  writer.u32(7);
  const Buffer data = writer.take();
  ByteReader reader(data);
  EXPECT_EQ(reader.u16(), 0x1234);
  EXPECT_EQ(reader.u64(), 0u);
  EXPECT_FALSE(reader.good());
  EXPECT_EQ(reader.u8(), 0u);
}

TEST(ZeroedMemory, GivesZeroesThatAreAlignedAndStay) {
  ZeroedMemory memory;
  std::vector<std::byte*> pieces;
  for (int i = 0; i < 40; ++i) {  // two slabs' worth
    std::byte* piece = memory.allocate(64 * kKiB);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % (64 * kKiB), 0u);
    EXPECT_TRUE(all_zero({piece, 64 * kKiB}));
    std::memset(piece, i, 64 * kKiB);
    pieces.push_back(piece);
  }
  const ZeroedMemory moved = std::move(memory);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(pieces[i][kKiB], static_cast<std::byte>(i));
}

TEST(ZeroedMemory, AlignsEachToItsSize) {
  ZeroedMemory memory;
  memory.allocate(16);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.allocate(4096)) % 4096, 0u);
  std::byte* whole = memory.allocate(ZeroedMemory::kSlabBytes);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(whole) % ZeroedMemory::kSlabBytes, 0u);
  EXPECT_TRUE(all_zero({whole, ZeroedMemory::kSlabBytes}));
}

TEST(Rng, SameSeedSameNumbers) {
  Rng a(7);
  Rng b(7);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.next(), b.next());
  EXPECT_LT(a.below(10), 10u);
}

TEST(Metrics, RendersFamiliesOnceWithTheirLabels) {
  metrics::counter("forerun_test_total", "A test.", "kind=\"a\"").add(3);
  metrics::counter("forerun_test_total", "A test.", "kind=\"b\"").add(1);
  metrics::histogram("forerun_test_seconds", "A test.").observe(0.003);
  const std::string text = metrics::render();
  EXPECT_THAT(text, testing::HasSubstr(
                        "# TYPE forerun_test_total counter\nforerun_test_total{kind=\"a\"} 3\n"));
  EXPECT_THAT(text, testing::HasSubstr("forerun_test_seconds_bucket{le=\"0.005\"} 1\n"));
  EXPECT_THAT(text, testing::HasSubstr("forerun_test_seconds_count 1\n"));
}

}  // namespace
}  // namespace forerun
