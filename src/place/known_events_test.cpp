#include "place/known_events.h"

#include <gmock/gmock.h>

#include "place/fleet_model.h"

namespace forerun::place {
namespace {

using testing::HasSubstr;

constexpr double kNow = 1'800'000'000;

FleetSnapshot fleet_with(const std::string& events) {
  FleetSnapshot fleet;
  for (const char* name : {"h1", "h2"}) {
    SnapshotHost host;
    host.name = name;
    host.zone = name == std::string("h1") ? "z1" : "z2";
    host.cores = 10;
    fleet.hosts.push_back(host);
  }
  SnapshotVm vm;
  vm.name = "web1";
  vm.host = "h1";
  vm.demand.assign(30, 2);
  fleet.vms.push_back(vm);
  auto read = parse_known_events(events);
  EXPECT_TRUE(read) << read.error().message;
  if (read) fleet.events = std::move(*read);
  apply_settings(fleet, static_cast<int64_t>(kNow));
  return fleet;
}
double expected_of(const std::string& events) {
  const auto model = FleetModel::make(fleet_with(events));
  EXPECT_TRUE(model);
  return (*model)->state().vms[0].expected.mean;
}
std::string event_of(const std::string& what, double from, double until) {
  return fmt::format(R"([{{"from": {:.0f}, "until": {:.0f}, {}}}])", from, until, what);
}

TEST(KnownEvents, ATimeIsUnixSecondsOrUtc) {
  EXPECT_EQ(*parse_utc("1970-01-02T00:00:01Z"), 86401);
  EXPECT_EQ(*parse_utc("2027-01-15"), 1'799'971'200);
  for (const char* wrong : {"", "2027-02-30", "2027-01-15T25:00:00Z", "2027-01-15T00:00:00",
                            "15.01.2027", "2027-01-15T00:00:00+1"})
    EXPECT_FALSE(parse_utc(wrong)) << wrong;
}

TEST(KnownEvents, WhatIsWrongIsSaidWithItsPlace) {
  for (const auto& [text, why] :
       {std::pair<std::string, std::string>{"{}", "must be a list"},
        {"[1]", "events[0]: it must be an object"},
        {R"([{"vms": ["a"], "percent": 5}])", "from is missing"},
        {R"([{"vms": ["a"], "percent": 5, "from": 1}])", "until is missing"},
        {R"([{"vms": ["a"], "percent": 5, "from": 2, "until": 1}])", "must come after from"},
        {R"([{"vms": ["a"], "from": "x", "until": 1}])", "from: must be unix seconds, or a time"},
        {R"([{"percent": 5, "from": 1, "until": 2}])", "must name vms"},
        {R"([{"vms": ["a"], "hosts": ["h"], "percent": 5, "from": 1, "until": 2}])", "must name"},
        {R"([{"hosts": ["h"], "percent": 5, "from": 1, "until": 2}])", "is of hosts"},
        {R"([{"vms": ["a"], "maintenance": true, "from": 1, "until": 2}])", "is of VMs"},
        {R"([{"vms": ["a"], "from": 1, "until": 2}])", "changes nothing"},
        {R"([{"vms": ["a"], "percent": 5, "from": 1, "until": 90, "every": 60}])", "longer than"},
        {R"([{"vms": ["a"], "percent": 5, "from": 1, "until": 2, "every": "year"}])", "day, week"},
        {R"([{"vms": [1], "percent": 5, "from": 1, "until": 2}])", "a list of names"},
        {R"([{"vms": ["a"], "procent": 5, "from": 1, "until": 2}])", "not known"}})
    EXPECT_THAT(parse_known_events(text).error().message, HasSubstr(why)) << text;
}

TEST(KnownEvents, AreWrittenAsTheyWereRead) {
  const auto read = parse_known_events(
      R"([{"name": "sale", "vms": ["web*"], "from": "2026-12-24", "until": "2026-12-25T12:00:00Z",
           "percent": 50, "added_cores": 1, "every": "week"},
          {"zones": ["z1"], "hosts": ["h1"], "from": 5, "until": 9, "maintenance": true},
          {"vms": ["a"], "from": 5, "growth_percent_per_day": 1},
          {"hosts": ["a"], "from": 5, "until": 6, "capacity_percent": 50}])");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ((*read)[0].every_s, 7 * 86'400);
  EXPECT_EQ((*read)[1].name, "events[1]");
  EXPECT_EQ(*parse_known_events(to_json(*read)), *read);
  const auto fleet = parse_fleet(fmt::format(R"({{"events": {}}})", to_json(*read)));
  ASSERT_TRUE(fleet) << fleet.error().message;
  EXPECT_EQ(parse_fleet(to_json(*fleet))->events, *read);
  EXPECT_THAT(parse_fleet(R"({"events": [1]})").error().message, HasSubstr("events[0]"));
}

TEST(KnownEvents, ComingDemandIsForeseen) {
  EXPECT_NEAR(expected_of("[]"), 2, 0.01);
  const std::string more = R"("vms": ["web*"], "percent": 50)";
  EXPECT_NEAR(expected_of(event_of(more, kNow + 900, kNow + 7200)), 3, 0.01);
  EXPECT_NEAR(expected_of(event_of(more, kNow + 7200, kNow + 9000)), 2, 0.01) << "beyond";
  EXPECT_NEAR(expected_of(event_of(R"("vms": ["db"], "percent": 50)", kNow, kNow + 7200)), 2, 0.01);
  // It goes on already: what is seen has it in it.
  EXPECT_NEAR(expected_of(event_of(more, kNow - 86'400, kNow + 7200)), 2, 0.01);
  // Again tomorrow at this time, as yesterday.
  EXPECT_NEAR(expected_of(event_of(more + R"(, "every": "day")", kNow + 900 - 5 * 86'400,
                                   kNow + 2700 - 5 * 86'400)),
              3, 0.01);
}

TEST(KnownEvents, AHostIsDrainedAHorizonBeforeItsMaintenance) {
  const auto drained = [](double from, double until, const std::string& more = "") {
    return fleet_with(event_of(R"("hosts": ["h1"], "maintenance": true)" + more, from, until))
        .hosts[0]
        .is_drained;
  };
  EXPECT_TRUE(drained(kNow + 1800, kNow + 5000));
  EXPECT_FALSE(drained(kNow + 1801, kNow + 5000));
  EXPECT_TRUE(drained(kNow - 5000, kNow + 1));
  EXPECT_FALSE(drained(kNow - 5000, kNow));
  const std::string weekly = R"(, "every": "week")";
  EXPECT_TRUE(drained(kNow + 600 - 14 * 86'400, kNow + 1200 - 14 * 86'400, weekly));
  EXPECT_FALSE(drained(kNow + 3600 - 14 * 86'400, kNow + 7200 - 14 * 86'400, weekly));
  const FleetSnapshot fleet =
      fleet_with(event_of(R"("zones": ["z2"], "maintenance": true)", kNow, kNow + 60));
  EXPECT_FALSE(fleet.hosts[0].is_drained);
  EXPECT_TRUE(fleet.hosts[1].is_drained);
}

TEST(KnownEvents, AMaintainedHostIsEmptiedAndIsNoDestination) {
  const auto moves_of = [](const std::string& events) {
    const auto model = FleetModel::make(fleet_with(events));
    return Planner((*model)->options(false)).plan((*model)->state()).moves;
  };
  EXPECT_TRUE(moves_of("[]").empty());
  const std::string soon = R"("maintenance": true)";
  const auto away = moves_of(event_of(R"("hosts": ["h1"], )" + soon, kNow + 600, kNow + 1200));
  ASSERT_EQ(away.size(), 1u);
  EXPECT_EQ(away[0].to, 1);
  EXPECT_TRUE(moves_of(event_of(R"("zones": ["z1", "z2"], )" + soon, kNow, kNow + 60)).empty());
}

TEST(KnownEvents, AHostThatWillHaveLessCpuIsCountedSo) {
  const auto model = FleetModel::make(
      fleet_with(event_of(R"("hosts": ["h1"], "capacity_percent": 50)", kNow + 60, kNow + 7200)));
  ASSERT_TRUE(model);
  EXPECT_DOUBLE_EQ((*model)->state().hosts[0].capacity, 5);
  EXPECT_DOUBLE_EQ((*model)->state().hosts[1].capacity, 10);
}

}  // namespace
}  // namespace forerun::place
