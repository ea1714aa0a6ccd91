#include "image/composition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"

namespace forerun::image {
namespace {

Composition sample() {
  Composition composition;
  composition.size_bytes = 1 << 30;
  composition.manifest = sha256(as_bytes("manifest"));
  composition.parts = {{CompositionPart::Kind::kIndex, sha256(as_bytes("m")), "metadata"},
                       {CompositionPart::Kind::kComponent, sha256(as_bytes("b")), "debian-12"}};
  composition.extents = {{{0, 4096}, 0, 0}, {{1 << 21, 1 << 20}, 1, 65536}};
  return composition;
}

TEST(Composition, ComesBackAsItWas) {
  const auto again = parse_composition(serialize(sample()));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, sample());
}

TEST(Composition, RefusesExtentsThatOverlapLeaveOrPointNowhere) {
  const auto error_with = [](auto change) {
    Composition composition = sample();
    change(composition);
    const auto parsed = parse_composition(serialize(composition));
    return parsed ? ErrorCode::kInternal : parsed.error().code;
  };
  EXPECT_EQ(error_with([](auto& c) { c.extents[1].range.offset = 0; }), ErrorCode::kCorrupt);
  EXPECT_EQ(error_with([](auto& c) { c.extents[1].range.length = 1 << 30; }), ErrorCode::kCorrupt);
  EXPECT_EQ(error_with([](auto& c) { c.extents[1].range.length = 0; }), ErrorCode::kCorrupt);
  EXPECT_EQ(error_with([](auto& c) { c.extents[1].part = 2; }), ErrorCode::kCorrupt);
  EXPECT_EQ(error_with([](auto& c) { c.extents[1].part_offset = UINT64_MAX; }),
            ErrorCode::kCorrupt);
  EXPECT_EQ(error_with([](auto& c) { c.size_bytes = 1000; }), ErrorCode::kCorrupt);
  EXPECT_EQ(error_with([](auto& c) { c.parts[0].name = "../x"; }), ErrorCode::kCorrupt);
  EXPECT_EQ(error_with([](auto& c) { c.parts.resize(257, c.parts[0]); }), ErrorCode::kTooLarge);
}

TEST(Composition, RefusesEveryTruncationAndWhatFollows) {
  Buffer data = serialize(sample());
  for (size_t size = 0; size < data.size(); ++size)
    EXPECT_FALSE(parse_composition(ByteView(data).first(size))) << size;
  data.push_back(std::byte{0});
  EXPECT_FALSE(parse_composition(data));
}

TEST(Composition, SpoiledOnesAreReadAsTheyAreOrRefused) {
  const Buffer whole = serialize(sample());
  Rng rng(3);
  for (int round = 0; round < 2000; ++round) {
    Buffer data = whole;
    data[rng.below(data.size())] = static_cast<std::byte>(rng.below(256));
    if (const auto parsed = parse_composition(data)) {
      EXPECT_EQ(serialize(*parsed), data);
    }
  }
}

}  // namespace
}  // namespace forerun::image
