#include <gmock/gmock.h>

#include <filesystem>

#include "cluster/sqlite_state_store.h"
#include "daemon/plans.h"

namespace forerun::daemon {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int64_t kNow = 1'790'000'000;

// One of two hosts of a cluster: its plans, its VMs.
struct OneHost {
  std::string name, folder;
  std::unique_ptr<store::HistoryStore> history;
  std::unique_ptr<PlanCluster> cluster;
  std::vector<api::VmInfo> vms;
  bool is_away = false;
  std::unique_ptr<Plans> plans;
};

class PlansInClusterTest : public testing::Test {
 protected:
  PlansInClusterTest() {
    char root[] = "/tmp/plans_XXXXXX";
    root_ = mkdtemp(root);
    for (OneHost* host : {&a_, &b_}) {
      host->name = host == &a_ ? "a" : "b";
      host->folder = root_ + "/" + host->name;
      std::filesystem::create_directory(host->folder);
      host->history = std::move(*store::HistoryStore::open({.path = host->folder + "/history.db"}));
      host->cluster = std::make_unique<PlanCluster>(PlanCluster::Parts{
          .state = state_,
          .lead = [this, host] { return PlanLead{leader_ == host->name, token_, leader_}; },
          .admit = [](const std::string&, uint64_t, std::string_view) { return Status(); },
          .answers = [] { return Status(); }});
      open(*host);
    }
    api::VmInfo web;
    web.name = "web";
    web.state = api::VmState::kRunning;
    web.cpus = 2;
    web.memory_bytes = 1ull << 30;
    a_.vms = {web};
    elect("a");
  }
  ~PlansInClusterTest() override {
    for (OneHost* host : {&a_, &b_}) {
      host->plans.reset();
      host->history.reset();
    }
    std::filesystem::remove_all(root_);
  }

  void open(OneHost& host) {
    OneHost& other = &host == &a_ ? b_ : a_;
    Plans::Parts parts{.state_dir = host.folder,
                       .unix_seconds = [] { return kNow; },
                       .history = *host.history,
                       .list_vms = [&host] { return host.vms; },
                       .peers = [&other] { return std::vector<std::string>{other.name}; },
                       .costs = costs_,
                       .cluster = host.cluster.get(),
                       .host = host.name};
    parts.ask = [&host, &other](const std::string&, const PeerMessage& question, PeerMessageKind,
                                Nanos) -> Result<PeerMessage> {
      if (other.is_away) return fail(ErrorCode::kUnavailable, "nobody answers");
      PeerMessage answer = other.plans->answer(host.name, question);
      if (answer.kind == PeerMessageKind::kFailed) return fail(ErrorCode::kInvalid, answer.text);
      return answer;
    };
    parts.migrate = [this, &host, &other](const std::string& vm, const api::MigrateRequest&,
                                          Operations::Progress&) -> Result<std::string> {
      ++migrations_;
      if (during_) during_();
      other.vms.push_back(host.vms.front());
      host.vms.clear();
      return vm + " has moved";
    };
    parts.start = [this](Operations::Work work) -> Result<api::OperationInfo> {
      Operations::Progress progress;
      outcome_ = work(progress);
      return api::OperationInfo{};
    };
    host.plans = std::move(*Plans::open(std::move(parts)));
  }
  void elect(const std::string& host) {
    leader_ = host;
    const std::string key = state_.leader_key();
    [[maybe_unused]] const auto gone = store_->commit({{}, {{key, std::nullopt}}});
    token_ = static_cast<uint64_t>(
        store_->commit({{}, {{key, encode(cluster::LeaderRecord{host, "id"})}}})->revision);
  }
  void drain(OneHost& by, const std::string& host) {
    api::PlanPolicyRequest request;
    request.rules = R"({"tick_seconds":10,"horizon_seconds":60,"host_settings":[)"
                    R"({"hosts":["*"],"cores":4,"memory_bytes":8000000000},{"hosts":[")" +
                    host + R"("],"drained":true}]})";
    const Status set = by.plans->set_plan_policy(request);
    ASSERT_TRUE(set) << set.error().message;
  }

  ManualClock clock_;
  std::unique_ptr<cluster::SqliteStateStore> store_ =
      std::move(*cluster::SqliteStateStore::open({":memory:"}, clock_));
  cluster::ClusterState state_{*store_, "default"};
  std::string root_, leader_;
  uint64_t token_ = 0;
  int migrations_ = 0;
  std::function<void()> during_;
  Result<std::string> outcome_ = std::string();
  std::unique_ptr<MigrationLedger> ledger_ = MigrationLedger::open("");
  MoveCosts costs_{*ledger_};
  OneHost a_, b_;
};

TEST_F(PlansInClusterTest, ThePolicyIsOneForAllHosts) {
  drain(b_, "a");
  api::PlanPolicyRequest request;
  request.is_auto = true;
  ASSERT_TRUE(a_.plans->set_plan_policy(request));
  for (OneHost* host : {&a_, &b_}) {
    open(*host);  // nothing of it is this host's own
    const api::PlanPolicyInfo policy = host->plans->plan_policy();
    EXPECT_TRUE(policy.is_auto);
    EXPECT_EQ(policy.planner, "a");
    EXPECT_EQ(policy.acts_here, host == &a_);
    EXPECT_THAT(policy.rules, HasSubstr(R"("drained":true)"));
    EXPECT_FALSE(std::filesystem::exists(host->folder + "/plan_rules.json"));
  }
}

TEST_F(PlansInClusterTest, RefusesRulesThatAreNoneForAllHosts) {
  api::PlanPolicyRequest request;
  request.rules = R"({"rule":[]})";
  EXPECT_EQ(b_.plans->set_plan_policy(request).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(a_.plans->plan_policy().rules, "{}");
}

TEST_F(PlansInClusterTest, EveryHostMakesTheSamePlan) {
  drain(a_, "a");
  const auto by_a = a_.plans->plan({});
  ASSERT_TRUE(by_a) << by_a.error().message;
  EXPECT_THAT(*by_a, HasSubstr(R"("vm":"web","from":"a","to":"b","reason":"drain")"));
  EXPECT_EQ(*by_a, *b_.plans->plan({}));
}

TEST_F(PlansInClusterTest, TheNextLeaderKnowsWhatWasMovedAndMovesNothingAgain) {
  drain(b_, "a");
  ASSERT_TRUE(a_.plans->apply_plan());
  EXPECT_EQ(*outcome_, "1 of 1 moves made");
  EXPECT_THAT((*state_.get_plan())->json, HasSubstr(R"("vm":"web")"));
  ASSERT_EQ(state_.placements()->size(), 1u);
  EXPECT_EQ(state_.placements()->front().document.json, R"({"host":"b"})");
  EXPECT_EQ(state_.placements()->front().document.token, token_);
  EXPECT_THAT(b_.plans->plan_moves("web"), HasSubstr(R"("state":"done")"));
  elect("b");
  ASSERT_TRUE(b_.plans->apply_plan());
  EXPECT_EQ(*outcome_, "no move is worth making");
  EXPECT_EQ(migrations_, 1);
  EXPECT_THAT(*b_.plans->plan_fleet(), HasSubstr(R"("moved_before_ticks":[0])"));
  EXPECT_EQ(a_.plans->apply_plan().error().code, ErrorCode::kDenied);
}

TEST_F(PlansInClusterTest, AMoveIsOnRecordBeforeItBegins) {
  drain(a_, "a");
  during_ = [&] {
    EXPECT_EQ(state_.placements()->front().document.json, R"({"host":"a","to":"b"})");
    EXPECT_THAT(b_.plans->plan_moves("web"), HasSubstr(R"("state":"running")"));
  };
  ASSERT_TRUE(a_.plans->apply_plan());
  EXPECT_EQ(migrations_, 1);
}

TEST_F(PlansInClusterTest, WhoLeadsNoMoreBeginsNoMove) {
  drain(a_, "a");
  elect("b");
  leader_ = "a";  // as a host believes that slept through its lease
  --token_;
  ASSERT_TRUE(a_.plans->apply_plan());
  EXPECT_EQ(outcome_.error().code, ErrorCode::kDenied);
  EXPECT_EQ(migrations_, 0);
  EXPECT_TRUE(state_.placements()->empty());
}

TEST_F(PlansInClusterTest, AMoveThatTheLastLeaderDidNotSeeEndIsSettledByTheNext) {
  drain(a_, "a");
  during_ = [&] { elect("b"); };  // what a writes from now on is refused
  ASSERT_TRUE(a_.plans->apply_plan());
  EXPECT_THAT(b_.plans->plan_moves("web"), HasSubstr(R"("state":"running")"));
  ASSERT_TRUE(b_.plans->apply_plan());
  EXPECT_THAT(b_.plans->plan_moves("web"), HasSubstr("the VM was found on b"));
  EXPECT_EQ(migrations_, 1);
}

TEST_F(PlansInClusterTest, AMoveThatIsStillUnderWayIsNotMadeAgain) {
  drain(a_, "a");
  a_.vms[0].state = api::VmState::kMigrating;
  a_.vms[0].peer = "b";
  elect("b");
  ASSERT_TRUE(b_.plans->apply_plan());
  EXPECT_EQ(*outcome_, "no move is worth making");
  EXPECT_EQ(migrations_, 0);
}

TEST_F(PlansInClusterTest, VmsOfAHostThatDoesNotAnswerAreNamed) {
  drain(a_, "a");
  ASSERT_TRUE(a_.plans->apply_plan());
  b_.is_away = true;
  EXPECT_THAT(*a_.plans->plan({}), HasSubstr("host b is left out: nobody answers; VMs that were "
                                             "there: web"));
}

TEST_F(PlansInClusterTest, WhatWasLearnedOfWorkloadsIsTheNextLeadersToo) {
  place::AffinityWatch learned;
  learned.book().observe("b", "bursty", 100, 50, kNow);
  ASSERT_TRUE(a_.cluster->keep_affinity(token_, learned.encode()));
  ASSERT_TRUE(b_.plans->plan({}));  // reads it
  EXPECT_EQ(*b_.cluster->affinity(), learned.encode());
  EXPECT_EQ(b_.cluster->keep_affinity(token_ - 1, "{}").error().code, ErrorCode::kDenied);
  ASSERT_TRUE(state_.change_as_leader(
      token_, std::vector<cluster::ClusterState::LeaderChange>{
                  {cluster::ClusterState::LeaderChange::Of::kMemory, "affinity", "7"}}));
  EXPECT_TRUE(b_.plans->plan({}));  // damaged: learned again
}

TEST_F(PlansInClusterTest, WhatTheClusterKeepsAndIsDamagedIsSaid) {
  cluster::Document policy;
  policy.json = R"({"mode":"perhaps"})";
  ASSERT_TRUE(state_.put_policy("planner", policy));
  EXPECT_THAT(*a_.plans->plan({}), HasSubstr("mode must be auto or off"));
  ASSERT_TRUE(a_.plans->apply_plan());
  EXPECT_EQ(outcome_.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(*a_.plans->plan({}), Not(HasSubstr("left out")));
}

}  // namespace
}  // namespace forerun::daemon
