#include "place/zone_forecast.h"

#include <gmock/gmock.h>

#include <cmath>

namespace forerun::place {
namespace {

constexpr std::array<double, 2> kHorizons{1800, 7200};

// Two hosts of 10 cores in each of z1 and z2, with one VM each that asks for `demand`.
FleetSnapshot fleet_of(double demand, double wave = 0) {
  FleetSnapshot fleet;
  for (const char* name : {"a1", "a2", "b1", "b2"}) {
    SnapshotHost host;
    host.name = name;
    host.zone = name[0] == 'a' ? "z1" : "z2";
    host.cores = 10;
    fleet.hosts.push_back(host);
    SnapshotVm vm;
    vm.name = std::string("vm-") + name;
    vm.host = name;
    for (int i = 0; i < 60; ++i)
      vm.demand.push_back(static_cast<float>(demand + wave * ((i * 7) % 5 - 2)));
    fleet.vms.push_back(vm);
  }
  return fleet;
}

TEST(ZoneForecast, WhatIsSpareAndWhatIsLeftWhenTheOtherFails) {
  const auto forecasts = forecast_zones(fleet_of(3), kHorizons, 1.4);
  ASSERT_TRUE(forecasts) << forecasts.error().message;
  ASSERT_EQ(forecasts->size(), 2u);
  const auto& zones = (*forecasts)[0].zones;
  ASSERT_EQ(zones.size(), 2u);
  EXPECT_EQ(zones[0].zone, "z1");
  EXPECT_NEAR(zones[0].capacity, 20, 1e-6);
  EXPECT_NEAR(zones[0].demand.mean, 6, 0.05);
  EXPECT_NEAR(zones[0].spare, 14, 0.2);
  EXPECT_NEAR(zones[0].spare_if_other_fails, 8, 0.4);
  EXPECT_EQ(zones[0].worst_other, "z2");
  EXPECT_LT((*forecast_zones(fleet_of(6), kHorizons, 1.4))[0].zones[0].spare_if_other_fails, 0);
  EXPECT_THAT(zones_json(*forecasts), testing::HasSubstr("\"spare_cores_if_other_fails\""));
}

TEST(ZoneForecast, HostsThatRiseTogetherNeedMoreRoom) {
  FleetSnapshot together = fleet_of(5, 1), apart = fleet_of(5, 1);
  // Of each zone, one rises when the other falls.
  for (const size_t v : {1u, 3u})
    for (float& value : apart.vms[v].demand) value = 10 - value;
  const auto risen = forecast_zones(together, kHorizons, 1.4);
  const auto even = forecast_zones(apart, kHorizons, 1.4);
  ASSERT_TRUE(risen && even);
  EXPECT_GT((*risen)[0].zones[0].demand.sd, 1.2 * (*even)[0].zones[0].demand.sd);
}

TEST(ZoneForecast, DrainedAndMaintainedHostsHaveNothing) {
  FleetSnapshot fleet = fleet_of(3);
  fleet.hosts[0].is_drained = true;
  fleet.unix_s = 1'800'000'000;
  fleet.events = *parse_known_events(
      R"([{"hosts": ["b1"], "from": 1800003600, "until": 1800010000, "maintenance": true},
          {"vms": ["vm-b*"], "from": 1800003600, "until": 1800010000, "percent": 100}])");
  const auto forecasts = forecast_zones(fleet, kHorizons, 1.4);
  ASSERT_TRUE(forecasts) << forecasts.error().message;
  EXPECT_NEAR((*forecasts)[0].zones[0].capacity, 10, 1e-6);
  EXPECT_NEAR((*forecasts)[0].zones[1].capacity, 20, 1e-6);
  const auto& later = (*forecasts)[1].zones[1];
  EXPECT_NEAR(later.capacity, 10, 1e-6);
  EXPECT_NEAR(later.demand.mean, 12, 0.1);
}

}  // namespace
}  // namespace forerun::place
