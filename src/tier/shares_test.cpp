#include "tier/shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "core/rng.h"

namespace forerun::tier {
namespace {

using testing::ElementsAre;

constexpr uint64_t kAll = 1'000'000'000;

uint64_t total(const Shares& shares) {
  return std::accumulate(shares.own.begin(), shares.own.end(), shares.common);
}

TEST(MaxMin, CutsTheLargestToOneLevel) {
  EXPECT_THAT(max_min(100, std::vector<uint64_t>{10, 80, 50}), ElementsAre(10, 45, 45));
  EXPECT_THAT(max_min(100, std::vector<uint64_t>{10, 20}), ElementsAre(10, 20));
  EXPECT_THAT(max_min(0, std::vector<uint64_t>{10, 20}), ElementsAre(0, 0));
}

TEST(DealShares, WithoutClaimsAllIsCommon) { EXPECT_EQ(deal_shares(1000, {}, {}).common, 1000u); }

TEST(DealShares, ThoseWhoEarnedAllShareEqually) {
  const std::vector<ShareClaim> claims{{1, kAll, 0}, {2, kAll, 0}, {3, kAll, 0}, {4, kAll, 0}};
  EXPECT_THAT(deal_shares(1000, claims, {}).own, ElementsAre(250, 250, 250, 250));
}

TEST(DealShares, WhoEarnedNothingHasWhatIsGuaranteed) {
  const std::vector<ShareClaim> claims{{1, kAll, 0}, {2, 0, 0}};
  EXPECT_THAT(deal_shares(1000, claims, {.guaranteed_ratio = 0.1}).own, ElementsAre(950, 50));
}

TEST(DealShares, ManyHoldersOfOneTenantHaveOnePart) {
  std::vector<ShareClaim> claims{{1, kAll, 0}};
  for (int i = 0; i < 9; ++i) claims.push_back({2, kAll, 0});
  const Shares shares = deal_shares(900, claims, {});
  EXPECT_EQ(shares.own[0], 450u);
  for (size_t i = 1; i < 10; ++i) EXPECT_EQ(shares.own[i], 50u);
}

TEST(DealShares, CommonIsPaidByThoseWhoUseIt) {
  const std::vector<ShareClaim> claims{{1, 300, 100}, {2, 300, 100}, {3, kAll, 0}};
  const Shares shares = deal_shares(1200, claims, {.guaranteed_ratio = 0});
  EXPECT_GE(shares.own[2], 400u) << "who does not use it does not pay";
  EXPECT_NEAR(static_cast<double>(shares.common), 200, 2);
  EXPECT_NEAR(static_cast<double>(shares.own[0]), 300, 2);
}

TEST(DealShares, WhoUsesMuchAloneDoesNotStarveWhatItShares) {
  // 1 uses 100 with 2, who claims all there is: its payment for the common shrinks to nothing.
  const std::vector<ShareClaim> claims{{1, 0, 100}, {2, kAll, 100}};
  const Shares shares = deal_shares(1000, claims, {.guaranteed_ratio = 0});
  EXPECT_GE(shares.common, 195u);
}

TEST(DealShares, HoldsItsPromisesWhateverIsClaimed) {
  Rng rng(5);
  for (int round = 0; round < 3000; ++round) {
    const uint64_t capacity = rng.below(1'000'000);
    std::vector<ShareClaim> claims;
    std::map<uint32_t, uint64_t> demand, granted, members;
    for (uint64_t i = rng.between(1, 20); i > 0; --i) {
      claims.push_back({static_cast<uint32_t>(rng.below(6)), rng.below(2 * capacity + 1), 0});
      demand[claims.back().tenant] += claims.back().own_bytes;
      ++members[claims.back().tenant];
    }
    const Shares shares = deal_shares(capacity, claims, {});
    ASSERT_EQ(total(shares), capacity);
    for (size_t i = 0; i < claims.size(); ++i) {
      const uint32_t tenant = claims[i].tenant;
      granted[tenant] += shares.own[i];
      const uint64_t part = capacity / members.size() / members[tenant];
      ASSERT_GE(shares.own[i] + 1, std::min(part, claims[i].own_bytes)) << "its equal part";
      ASSERT_GE(shares.own[i] + 1, part / 8) << "what is guaranteed";
    }
    for (const auto& [tenant, bytes] : granted)
      ASSERT_GE(bytes + members[tenant], std::min(capacity / members.size(), demand[tenant]));
  }
}

}  // namespace
}  // namespace forerun::tier
