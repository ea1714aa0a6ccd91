#include "daemon/plans.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "daemon/plan_fleet.h"

namespace forerun::daemon {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

// A host "a" with VMs, and a peer "b" that answers as the test wants.
class PlansTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/plans_XXXXXX";
    root_ = mkdtemp(name);
    history_ = std::move(*store::HistoryStore::open({.path = root_ + "/history.db"}));
    // A minute of ticks of 10 s: a host of 4 CPUs, "web" runs 1.5 and waits for 0.5.
    for (int64_t at = kNow - 70; at < kNow; at += 10)
      ASSERT_TRUE(history_->append(
          at, {point("host", "cpu_total_cores", 4), point("host", "cpu_cores", 2.5F),
               point("host", "memory_total_bytes", 8e9F), point("host", "memory_bytes", 3e9F),
               point("vm/web", "cpu_cores", 1.5F), point("vm/web", "cpu_wait_cores", 0.5F),
               point("vm/web", "memory_bytes", 1e9F)}));
    api::VmInfo web;
    web.name = "web";
    web.state = api::VmState::kRunning;
    web.cpus = 2;
    web.memory_bytes = 2ull << 30;
    vms_ = {web};
  }
  void TearDown() override {
    history_.reset();
    std::filesystem::remove_all(root_);
  }
  telemetry::HistoryPoint point(const std::string& entity, const std::string& metric, float value) {
    return {*history_->series({entity, metric}), value, value};
  }
  std::unique_ptr<Plans> open() {
    Plans::Parts parts{.state_dir = root_,
                       .unix_seconds = [this] { return now_; },
                       .history = *history_,
                       .list_vms = [this] { return vms_; },
                       .peers = [] { return std::vector<std::string>{"b"}; },
                       .costs = costs_,
                       .cluster = nullptr};
    parts.measure = [](const std::string&) -> Result<LinkFigures> {
      return fail(ErrorCode::kUnavailable, "no link");
    };
    parts.ask = [this](const std::string&, const PeerMessage& question, PeerMessageKind,
                       Nanos) -> Result<PeerMessage> {
      if (peer_error_) return std::unexpected(*peer_error_);
      asked_.push_back(question);
      PeerMessage answer;
      answer.vm = "a";
      answer.text = R"({"hosts":[{"name":"x","cores":4,"memory_bytes":8000000000}]})";
      answer.is_decided = is_peer_auto_;
      return answer;
    };
    parts.migrate = [this](const std::string& vm, const api::MigrateRequest& request,
                           Operations::Progress&) -> Result<std::string> {
      ++migrations_;
      if (move_error_) return std::unexpected(*move_error_);
      vms_.clear();
      return fmt::format("{} is at {}", vm, request.to);
    };
    parts.start = [this](Operations::Work work) -> Result<api::OperationInfo> {
      Operations::Progress progress;
      outcome_ = work(progress);
      return api::OperationInfo{};
    };
    auto plans = Plans::open(std::move(parts));
    EXPECT_TRUE(plans) << plans.error().message;
    return std::move(*plans);
  }
  void drain(Plans& plans) {
    api::PlanPolicyRequest request;
    request.rules = R"({"tick_seconds":10,"horizon_seconds":60,)"
                    R"("host_settings":[{"hosts":["a"],"drained":true}]})";
    ASSERT_TRUE(plans.set_plan_policy(request));
  }

  static constexpr int64_t kNow = 1'790'000'000;
  int64_t now_ = kNow;
  std::string root_;
  std::unique_ptr<store::HistoryStore> history_;
  std::vector<api::VmInfo> vms_;
  std::optional<Error> peer_error_, move_error_;
  bool is_peer_auto_ = false;
  int migrations_ = 0;
  std::vector<PeerMessage> asked_;
  Result<std::string> outcome_ = std::string();
  std::unique_ptr<MigrationLedger> ledger_ = MigrationLedger::open("");
  MoveCosts costs_{*ledger_};
};

TEST_F(PlansTest, AVmAsksForWhatItRanAndWhatItWaitedFor) {
  place::FleetSnapshot rules;
  rules.tick_s = 10;
  const auto fleet = own_fleet(rules, *history_, "a", vms_, {}, kNow);
  ASSERT_TRUE(fleet) << fleet.error().message;
  ASSERT_THAT(fleet->vms, SizeIs(1));
  EXPECT_NEAR(fleet->vms[0].demand.back(), 2.0, 0.01);
  EXPECT_GE(fleet->vms[0].demand.size(), 6U);
  EXPECT_GT(fleet->vms[0].move.seconds, 1);
  EXPECT_NEAR(fleet->hosts[0].cores, 4, 0.01);
  EXPECT_NEAR(fleet->hosts[0].used_cores, 1.0, 0.01);  // 2.5 of all, 1.5 of the VM
  EXPECT_NEAR(static_cast<double>(fleet->hosts[0].used_memory_bytes), 2e9, 1e7);
}

TEST_F(PlansTest, PlansWithItsPeersAndSaysWhoDoesNotAnswer) {
  const auto plans = open();
  drain(*plans);
  const auto shown = plans->plan({});
  ASSERT_TRUE(shown) << shown.error().message;
  EXPECT_THAT(*shown, HasSubstr(R"("vm":"web","from":"a","to":"b","reason":"drain")"));
  peer_error_ = Error{ErrorCode::kUnavailable, "no way there"};
  EXPECT_THAT(*plans->plan({}), HasSubstr("host b is left out: no way there"));
  EXPECT_EQ(plans->plan({.supposed = {"host z lost"}}).error().code, ErrorCode::kNotFound);
}

TEST_F(PlansTest, MakesMovesAndRemembersThemOverARestart) {
  {
    const auto plans = open();
    drain(*plans);
    ASSERT_TRUE(plans->apply_plan());
    EXPECT_EQ(*outcome_, "1 of 1 moves made");
    EXPECT_EQ(migrations_, 1);
  }
  const auto plans = open();
  EXPECT_THAT(plans->plan_moves("web"), HasSubstr(R"("state":"done")"));
  EXPECT_THAT(plans->plan_moves("other"), HasSubstr(R"("items":[])"));
  EXPECT_THAT(plans->plan_policy().rules, HasSubstr("drained"));
}

TEST_F(PlansTest, TriesAgainWhatMayHelpAndAbandonsTheRest) {
  const auto plans = open();
  drain(*plans);
  move_error_ = Error{ErrorCode::kUnavailable, "the host does not answer"};
  ASSERT_TRUE(plans->apply_plan());
  EXPECT_EQ(migrations_, 2);
  EXPECT_THAT(*outcome_, HasSubstr("0 of 1 moves made"));
  EXPECT_THAT(plans->plan_moves("web"), HasSubstr("the host does not answer"));
  move_error_ = Error{ErrorCode::kExists, "there is one"};
  ASSERT_TRUE(plans->apply_plan());
  EXPECT_EQ(migrations_, 3);
}

TEST_F(PlansTest, AnswersOthersAndTakesOrders) {
  const auto plans = open();
  PeerMessage question;
  question.kind = PeerMessageKind::kFleet;
  question.text = R"({"tick_seconds":10})";
  const PeerMessage told = plans->answer("b", question);
  EXPECT_EQ(told.kind, PeerMessageKind::kFleetTold);
  EXPECT_EQ(told.vm, "b");
  EXPECT_TRUE(place::parse_fleet(told.text));
  question.text = "nonsense";
  EXPECT_EQ(plans->answer("b", question).kind, PeerMessageKind::kFailed);
  PeerMessage order;
  order.kind = PeerMessageKind::kOrder;
  order.vm = "../web";
  order.text = "b";
  EXPECT_EQ(plans->answer("b", order).kind, PeerMessageKind::kFailed);
  EXPECT_EQ(migrations_, 0);
  order.vm = "web";
  EXPECT_EQ(plans->answer("b", order).kind, PeerMessageKind::kOrdered);
  EXPECT_EQ(migrations_, 1);
}

TEST_F(PlansTest, RefusesRulesThatAreNone) {
  const auto plans = open();
  for (const char* rules : {R"({"rule":[]})", R"({"hosts":[{"name":"h","cores":1}]})"}) {
    api::PlanPolicyRequest request;
    request.rules = rules;
    EXPECT_EQ(plans->set_plan_policy(request).error().code, ErrorCode::kInvalid) << rules;
  }
  EXPECT_EQ(plans->plan_policy().rules, "{}");
}

}  // namespace
}  // namespace forerun::daemon
