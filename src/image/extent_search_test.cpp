#include "image/extent_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/rng.h"

namespace forerun::image {
namespace {

std::vector<SearchKind> kinds_here() {
  std::vector<SearchKind> kinds;
  for (const SearchKind kind : {SearchKind::kPortable, SearchKind::kAvx2, SearchKind::kAvx512})
    if (is_supported(kind)) kinds.push_back(kind);
  return kinds;
}

size_t reference(const std::vector<uint64_t>& offsets, uint64_t offset) {
  return static_cast<size_t>(std::ranges::upper_bound(offsets, offset) - offsets.begin());
}

// Every offset, its neighbours, the ends of what can be asked, and whatever `more` holds.
std::vector<uint64_t> queries_around(const std::vector<uint64_t>& offsets,
                                     std::vector<uint64_t> more = {}) {
  more.insert(more.end(), {0, 1, UINT32_MAX, ExtentSearch::kOffsetMax, UINT64_MAX});
  for (const uint64_t offset : offsets) {
    more.push_back(offset);
    more.push_back(offset + 1);
    if (offset > 0) more.push_back(offset - 1);
  }
  return more;
}

void expect_as_reference(const std::vector<uint64_t>& offsets,
                         const std::vector<uint64_t>& queries) {
  for (const SearchKind kind : kinds_here()) {
    SCOPED_TRACE(search_kind_name(kind));
    const ExtentSearch search(offsets, kind);
    ASSERT_EQ(search.size(), offsets.size());
    std::vector<uint32_t> ranks(queries.size());
    search.rank(queries, ranks);
    for (size_t i = 0; i < queries.size(); ++i) {
      ASSERT_EQ(search.rank(queries[i]), reference(offsets, queries[i])) << queries[i];
      ASSERT_EQ(ranks[i], reference(offsets, queries[i])) << queries[i];
    }
    for (size_t i = 0; i < offsets.size(); ++i) ASSERT_EQ(search[i], offsets[i]);
  }
}

// `count` different multiples of `unit`, ascending, with gaps of up to `gap_max` units.
std::vector<uint64_t> random_offsets(Rng& rng, size_t count, uint64_t unit, uint64_t gap_max) {
  std::vector<uint64_t> offsets;
  uint64_t at = rng.below(2) * rng.below(gap_max + 1);
  for (size_t i = 0; i < count; ++i) {
    offsets.push_back(at * unit);
    at += rng.between(1, gap_max);
  }
  return offsets;
}

TEST(ExtentSearch, OfNothingHasNothingBeforeAnyOffset) {
  const ExtentSearch search;
  EXPECT_EQ(search.rank(0), 0u);
  EXPECT_EQ(search.rank(UINT64_MAX), 0u);
  EXPECT_EQ(search.memory_bytes(), 0u);
  expect_as_reference({}, {0, 5, UINT64_MAX});
}

TEST(ExtentSearch, AgreesWithUpperBoundAtEverySizeUpTo2000) {
  Rng rng(1);
  for (size_t count = 0; count <= 2000; ++count) {
    const auto offsets = random_offsets(rng, count, 4096, 100);
    std::vector<uint64_t> queries{0, UINT64_MAX};
    if (count > 0) queries.insert(queries.end(), {offsets.front(), offsets.back()});
    for (int i = 0; i < 20; ++i) {
      const uint64_t near = count == 0 ? 0 : offsets[rng.below(count)];
      queries.push_back(near + rng.below(3) - (near > 0 ? 1 : 0));
      queries.push_back(rng.below((count + 1) * 4096 * 50));
    }
    SCOPED_TRACE(count);
    expect_as_reference(offsets, queries);
  }
}

TEST(ExtentSearch, AgreesWithUpperBoundAtTheEdgesOfItsNodes) {
  Rng rng(2);
  for (const size_t count : {1, 15, 16, 17, 255, 256, 257, 4095, 4096, 4097}) {
    SCOPED_TRACE(count);
    const auto offsets = random_offsets(rng, count, 512, 3);
    expect_as_reference(offsets, queries_around(offsets));
  }
}

TEST(ExtentSearch, AgreesWithUpperBoundOnManyOffsets) {
  Rng rng(3);
  const auto offsets = random_offsets(rng, 200'000, 4096, 8);
  std::vector<uint64_t> queries;
  for (int i = 0; i < 3000; ++i) queries.push_back(rng.below(offsets.back() + 100'000));
  expect_as_reference(offsets, queries);
}

TEST(ExtentSearch, KeepsWhatDoesNotFitInto31Bits) {
  Rng rng(4);
  // Odd offsets over 16 TiB: units of 8 KiB, several offsets in some of them.
  std::vector<uint64_t> offsets;
  for (int i = 0; i < 300; ++i) {
    const uint64_t base = rng.below(16ull << 40);
    for (uint64_t next = base; next < base + 4; ++next) offsets.push_back(next);
  }
  offsets.insert(offsets.end(), {0, 1, 2, 0xfff'ffff'fff0, ExtentSearch::kOffsetMax});
  std::ranges::sort(offsets);
  offsets.erase(std::unique(offsets.begin(), offsets.end()), offsets.end());
  expect_as_reference(offsets, queries_around(offsets));
}

TEST(ExtentSearch, TakesTheLargestKeyInEachUnit) {
  constexpr uint64_t kLast = INT32_MAX - 1;
  for (const uint64_t unit : {1ull, 512ull, 4096ull}) {
    const std::vector<uint64_t> fits{0, unit, kLast * unit};
    expect_as_reference(fits, queries_around(fits, {(kLast + 1) * unit, (kLast + 2) * unit}));
    EXPECT_LE(ExtentSearch(fits).memory_bytes(), 64u);
    const std::vector<uint64_t> too_large{unit, (kLast + 1) * unit};
    expect_as_reference(too_large, queries_around(too_large, {(kLast + 2) * unit}));
  }
}

TEST(ExtentSearch, TakesEqualOffsetsAsUpperBoundDoes) {
  std::vector<uint64_t> offsets(40, 4096);
  offsets.insert(offsets.end(), 300, 8192);
  expect_as_reference(offsets, queries_around({4096, 8192}));
}

TEST(ExtentSearch, KeepsItsPromiseOfMemory) {
  Rng rng(5);
  for (const size_t count : {1000, 100'000}) {
    const ExtentSearch aligned(random_offsets(rng, count, 4096, 50));
    EXPECT_LE(aligned.memory_bytes(), count * 427 / 100 + 1024);
    const ExtentSearch odd(random_offsets(rng, count, 1, (1ull << 40) / count));
    EXPECT_LE(odd.memory_bytes(), count * 827 / 100 + 1024);
  }
}

}  // namespace
}  // namespace forerun::image
