#include "place/fleet_model.h"

#include <gmock/gmock.h>

namespace forerun::place {
namespace {

using testing::HasSubstr;

FleetSnapshot small_fleet() {
  FleetSnapshot fleet;
  for (const char* name : {"h1", "h2", "h3"}) {
    SnapshotHost host;
    host.name = name;
    host.zone = name == std::string("h3") ? "z2" : "z1";
    host.cores = 4;
    host.memory_bytes = 8ull << 30;
    fleet.hosts.push_back(host);
  }
  const auto add = [&](const char* name, const char* host, float demand) {
    SnapshotVm vm;
    vm.name = name;
    vm.host = host;
    vm.cpus = 4;
    vm.memory_bytes = 1ull << 30;
    vm.demand.assign(40, demand);
    vm.move = {.bytes = 1 << 30, .seconds = 10, .downtime_s = 0.1};
    fleet.vms.push_back(vm);
  };
  add("web1", "h1", 1);
  add("web2", "h1", 1);
  add("db1", "h2", 1.5F);
  return fleet;
}

Plan plan_of(const FleetSnapshot& fleet) {
  const auto model = FleetModel::make(fleet);
  return Planner((*model)->options(true)).plan((*model)->state());
}

TEST(Fleet, IsReadAsItWasWritten) {
  FleetSnapshot fleet = small_fleet();
  fleet.hosts[0].labels["rack"] = "r1";
  fleet.hosts[1].watts.assign(11, 100);
  fleet.vms[1].moved_before = {3, 50};
  fleet.vms[1].is_pinned = true;
  fleet.vms[2].category = "bursty";
  fleet.vms[2].going_to = "h3";
  SnapshotRule rule;
  rule.kind = PlacementRule::Kind::kOnly;
  rule.name = "databases";
  rule.vms = {"db*"};
  rule.host_labels["rack"] = "r1";
  rule.zones = {"z1"};
  fleet.rules.push_back(rule);
  fleet.zones.push_back({"z2", 2});
  fleet.zone_links.push_back({"z1", "z2", 5, 1});
  fleet.affinities.push_back({"h1", "bursty", 0.75});
  const auto read = parse_fleet(to_json(fleet));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->hosts, fleet.hosts);
  EXPECT_EQ(read->vms, fleet.vms);
  EXPECT_EQ(read->rules, fleet.rules);
  EXPECT_EQ(read->zones, fleet.zones);
  EXPECT_EQ(read->zone_links, fleet.zone_links);
  EXPECT_EQ(read->affinities, fleet.affinities);
}

TEST(Fleet, RefusesWhatIsWrongAndSaysWhere) {
  const std::pair<const char*, const char*> cases[] = {
      {"[", "no JSON"},
      {"[]", "must be an object"},
      {R"({"host":[]})", "host is no known member"},
      {R"({"hosts":[{"name":"h"}]})", "hosts[0].cores must be above 0"},
      {R"({"hosts":[{"name":"../h","cores":1}]})", "hosts[0].name is no valid name"},
      {R"({"hosts":[{"name":"h","cores":1},{"name":"h","cores":1}]})", "two hosts are called h"},
      {R"({"hosts":[{"name":"h","cores":1,"memory":1}]})", "hosts[0].memory is no known member"},
      {R"({"vms":[{"name":"v","host":"x"}]})", "not among the hosts"},
      {R"({"vms":[{"name":"v","demand":[1,-1]}]})", "vms[0].demand[1] must be a number from 0"},
      {R"({"vms":[{"name":"v","demand":[1e400]}]})", "demand"},
      {R"({"rules":[{"kind":"near","vms":["v"]}]})", "rules[0].kind must be one of"},
      {R"({"rules":[{"kind":"only","vms":["v"]}]})", "rules[0] must say which hosts"},
      {R"({"moves_max":1.5})", "moves_max must be a whole number"}};
  for (const auto& [text, why] : cases) {
    const auto read = parse_fleet(text);
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().message, HasSubstr(why)) << text;
  }
}

TEST(Fleet, IsPlannedWithForecasts) {
  FleetSnapshot fleet = small_fleet();
  for (size_t i = 0; i < 40; ++i) fleet.vms[0].demand[i] = 0.5F + 0.06F * static_cast<float>(i);
  const auto model = FleetModel::make(fleet);
  ASSERT_TRUE(model);
  const Expectation& rising = (*model)->state().vms[0].expected;
  EXPECT_GT(rising.mean, 2.9);  // 2.84 now, and 6 ticks to come
  EXPECT_LE(rising.mean, 4);
  EXPECT_EQ((*model)->method(0), "holt");
  EXPECT_NEAR((*model)->state().vms[1].expected.mean, 1, 0.05);
}

TEST(WhatIf, DrainsAHost) {
  FleetSnapshot fleet = small_fleet();
  EXPECT_TRUE(plan_of(fleet).moves.empty());
  ASSERT_TRUE(suppose(fleet, "host h1 drained"));
  const Plan plan = plan_of(fleet);
  ASSERT_EQ(plan.moves.size(), 2U);
  EXPECT_EQ(plan.moves[0].reason, MoveReason::kDrain);
}

TEST(WhatIf, LosesAHostAndAddsVms) {
  FleetSnapshot fleet = small_fleet();
  ASSERT_TRUE(suppose(fleet, "host h1 lost"));
  ASSERT_TRUE(suppose(fleet, "+2 VMs like db1"));
  ASSERT_TRUE(suppose(fleet, "+1 hosts like h2"));
  EXPECT_EQ(fleet.hosts.size(), 3U);
  const Plan plan = plan_of(fleet);
  EXPECT_EQ(plan.moves.size(), 4U);  // web1, web2 and two more db1 start somewhere
  for (const PlannedMove& move : plan.moves) EXPECT_EQ(move.reason, MoveReason::kPlace);
}

TEST(WhatIf, RulesHoldForVmsLikeThoseThatTheyName) {
  FleetSnapshot fleet = small_fleet();
  SnapshotRule rule;
  rule.kind = PlacementRule::Kind::kApart;
  rule.name = "one database a host";
  rule.vms = {"db1"};
  fleet.rules.push_back(rule);
  ASSERT_TRUE(suppose(fleet, "+3 VMs like db1"));
  const Plan plan = plan_of(fleet);
  EXPECT_EQ(plan.moves.size(), 2U);  // on h1 and h3
  ASSERT_EQ(plan.unrelieved.size(), 1U);
  EXPECT_EQ(plan.unrelieved[0].rejected[0].reason, RejectReason::kRule);
}

TEST(WhatIf, RefusesWhatItDoesNotUnderstand) {
  FleetSnapshot fleet = small_fleet();
  for (const char* question : {"", "host h1", "host h1 sad", "+0 VMs like web1", "+2 VMs like",
                               "+99999 VMs like web1", "VM web1 x-1", "demand up"})
    EXPECT_EQ(suppose(fleet, question).error().code, ErrorCode::kInvalid) << question;
  for (const char* question : {"host h9 lost", "+2 VMs like web9", "VM web9 gone"})
    EXPECT_EQ(suppose(fleet, question).error().code, ErrorCode::kNotFound) << question;
}

TEST(Fleet, SaysWhyInWordsAndNumbers) {
  FleetSnapshot fleet = small_fleet();
  ASSERT_TRUE(suppose(fleet, "VM web1 x3"));
  ASSERT_TRUE(suppose(fleet, "VM web2 x2"));
  const auto model = FleetModel::make(fleet);
  const Plan plan = Planner((*model)->options(true)).plan((*model)->state());
  ASSERT_EQ(plan.moves.size(), 1U);
  const std::string text = plan_json(**model, plan, {"VM web1 x3"}, "now");
  EXPECT_THAT(text, HasSubstr("h1 is asked for 125 % of its CPUs now"));
  EXPECT_THAT(text, HasSubstr("\"verdict\":\"1 move\""));
  EXPECT_THAT(text, HasSubstr("\"rejected\":[{"));
}

TEST(FleetModel, AVmOnItsWayCountsWhereItGoesAndHoldsMemoryInBothPlaces) {
  FleetSnapshot fleet = small_fleet();
  fleet.vms[0].going_to = "h3";
  const auto model = FleetModel::make(fleet);
  ASSERT_TRUE(model);
  const FleetState& state = (*model)->state();
  EXPECT_EQ(state.vms[0].host, 2);
  EXPECT_FALSE(state.vms[0].may_move);
  EXPECT_DOUBLE_EQ(state.hosts[0].memory_mb, 7 * 1024);
  EXPECT_DOUBLE_EQ(state.hosts[2].memory_mb, 8 * 1024);
  fleet.hosts[0].is_drained = true;
  EXPECT_EQ(plan_of(fleet).moves.size(), 1U);  // web2 alone
  fleet.vms[0].going_to = "elsewhere";
  EXPECT_EQ((*FleetModel::make(fleet))->state().vms[0].host, 0);
}

}  // namespace
}  // namespace forerun::place
