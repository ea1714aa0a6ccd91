#include "cluster/cluster_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cluster/failing_store_fixture.h"
#include "cluster/member.h"

namespace forerun::cluster {
namespace {

class ClusterStateTest : public testing::Test {
 protected:
  ClusterStateTest() {
    MemberOptions options;
    options.self.name = "a";
    options.self.id = "1";
    member_ = std::make_unique<Member>(state_, clock_, options);
    member_->step();
  }
  Document plan(std::string json) const {
    return {std::move(json), 3, member_->leadership().token};
  }

  ManualClock clock_;
  FailingStore store_{clock_};
  ClusterState state_{store_, "default"};
  std::unique_ptr<Member> member_;
};

TEST_F(ClusterStateTest, KeepsTheLeadersPlan) {
  EXPECT_FALSE(state_.get_plan()->has_value());
  const auto revision = state_.put_plan(plan(R"({"moves":[{"vm":"web1","to":"b"}]})"));
  ASSERT_TRUE(revision.has_value());
  const auto kept = *state_.get_plan();
  ASSERT_TRUE(kept.has_value());
  EXPECT_EQ(kept->json, R"({"moves":[{"vm":"web1","to":"b"}]})");
  EXPECT_EQ(kept->version, 3u);
  EXPECT_EQ(kept->token, member_->leadership().token);
  EXPECT_EQ(kept->revision, *revision);
}

TEST_F(ClusterStateTest, RefusesThePlanOfWhoeverDoesNotLead) {
  Document stale = plan("{}");
  stale.token -= 1;
  EXPECT_EQ(state_.put_plan(stale).error().code, ErrorCode::kDenied);
  EXPECT_EQ(state_.put_plan({}).error().code, ErrorCode::kDenied);
  stale.token = UINT64_MAX;
  EXPECT_EQ(state_.put_plan(stale).error().code, ErrorCode::kDenied);
  EXPECT_FALSE(state_.get_plan()->has_value());
}

TEST_F(ClusterStateTest, RefusesWhatIsNoJson) {
  EXPECT_EQ(state_.put_plan(plan("{")).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(state_.put_plan(plan(std::string(100, '['))).error().code, ErrorCode::kInvalid);
}

TEST_F(ClusterStateTest, ChangesAPolicyThatWasRead) {
  ASSERT_TRUE(state_.put_policy("auto", {R"({"mode":"off"})"}).has_value());
  EXPECT_EQ(state_.put_policy("auto", {R"({"mode":"on"})"}).error().code, ErrorCode::kExists);
  Document read = **state_.get_policy("auto");
  read.json = R"({"mode":"on"})";
  EXPECT_TRUE(state_.put_policy("auto", read).has_value());
  EXPECT_EQ((*state_.get_policy("auto"))->json, R"({"mode":"on"})");
  EXPECT_EQ(state_.remove_policy("auto", read.revision).error().code, ErrorCode::kExists);
  EXPECT_TRUE(state_.remove_policy("auto", (*state_.get_policy("auto"))->revision).has_value());
  EXPECT_FALSE(state_.get_policy("auto")->has_value());
}

TEST_F(ClusterStateTest, ListsPoliciesAndPlacementsByName) {
  ASSERT_TRUE(state_.put_policy("b", {"1"}).has_value());
  ASSERT_TRUE(state_.put_policy("a", {"2"}).has_value());
  ASSERT_TRUE(state_.put_placement("web1", plan(R"({"host":"b"})")).has_value());
  const auto policies = *state_.policies();
  ASSERT_EQ(policies.size(), 2u);
  EXPECT_EQ(policies[0].name, "a");
  EXPECT_EQ(policies[0].document.json, "2");
  ASSERT_EQ(state_.placements()->size(), 1u);
  ASSERT_TRUE(state_.remove_placement("web1", member_->leadership().token).has_value());
  EXPECT_TRUE(state_.placements()->empty());
}

TEST_F(ClusterStateTest, TheLeaderChangesSeveralThingsAtOnceOrNone) {
  using Change = ClusterState::LeaderChange;
  const uint64_t token = member_->leadership().token;
  std::vector<Change> changes{{Change::Of::kMemory, "moves", R"({"moves":[]})"},
                              {Change::Of::kPlacement, "web1", R"({"host":"a"})"}};
  EXPECT_EQ(state_.change_as_leader(token - 1, changes).error().code, ErrorCode::kDenied);
  EXPECT_FALSE(state_.get_memory("moves")->has_value());
  const auto revision = state_.change_as_leader(token, changes);
  ASSERT_TRUE(revision.has_value());
  EXPECT_EQ((*state_.get_memory("moves"))->revision, *revision);
  EXPECT_EQ((*state_.get_memory("moves"))->token, token);
  EXPECT_EQ(state_.placements()->at(0).document.revision, *revision);
  changes = {{Change::Of::kPlacement, "web1", std::nullopt}};
  ASSERT_TRUE(state_.change_as_leader(token, changes).has_value());
  EXPECT_TRUE(state_.placements()->empty());
  changes = {{Change::Of::kMemory, "a/b", "1"}};
  EXPECT_EQ(state_.change_as_leader(token, changes).error().code, ErrorCode::kInvalid);
}

TEST_F(ClusterStateTest, RefusesNamesThatAreNone) {
  EXPECT_EQ(state_.put_policy("../leader", {"1"}).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(state_.put_placement("a/b", plan("1")).error().code, ErrorCode::kInvalid);
}

TEST_F(ClusterStateTest, ForgetsAHostOnlyOnceItIsGone) {
  EXPECT_EQ(state_.forget_host("a").error().code, ErrorCode::kExists);
  EXPECT_EQ(state_.forget_host("b").error().code, ErrorCode::kNotFound);
  member_->leave();
  EXPECT_FALSE(state_.hosts()->at(0).is_alive);
  EXPECT_TRUE(state_.forget_host("a").has_value());
  EXPECT_TRUE(state_.hosts()->empty());
}

TEST_F(ClusterStateTest, SaysWhatItCannotRead) {
  ASSERT_TRUE(store_.commit({{}, {{state_.host_key("x"), "no JSON"}}}).has_value());
  const auto hosts = state_.hosts();
  ASSERT_FALSE(hosts.has_value());
  EXPECT_EQ(hosts.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(hosts.error().message, testing::HasSubstr("hosts/x"));
}

TEST(HostRecord, IsReadAsItWasWritten) {
  const HostRecord host{"a",     "id", "10.0.0.1:7070", "z1",
                        "0.1.0", 64,   1ull << 40,      {{"rack", "7"}, {"gpu", ""}}};
  EXPECT_EQ(parse_host(encode(host)), host);
}

TEST(HostRecord, RefusesWhatIsNone) {
  for (const char* bad : {"", "[]", "{}", R"({"name":"../x"})", R"({"name":"a","cpus":-1})",
                          R"({"name":"a","cpus":"4"})", R"({"name":"a","labels":[]})",
                          R"({"name":"a","labels":{"x":1}})", R"({"name":"a","zone":7})"})
    EXPECT_FALSE(parse_host(bad).has_value()) << bad;
  EXPECT_TRUE(parse_host(R"({"name":"a","to come":1})").has_value());
}

}  // namespace
}  // namespace forerun::cluster
