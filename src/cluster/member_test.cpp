#include "cluster/member.h"

#include <gtest/gtest.h>

#include "cluster/failing_store_fixture.h"

namespace forerun::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

MemberOptions options_of(const std::string& name) {
  MemberOptions options;
  options.self.name = name;
  options.self.id = "id-of-" + name;
  options.self.address = "10.0.0.1:7070";
  options.lease = seconds(10);
  return options;
}

class MemberTest : public testing::Test {
 protected:
  // Lets time pass as the daemon's thread does for those who are awake.
  void run(Nanos time, std::initializer_list<Member*> awake) {
    const Time end = clock_.now() + time;
    while (clock_.now() < end) {
      for (Member* member : awake) member->step();
      clock_.advance(milliseconds(500));
    }
    for (Member* member : awake) member->step();
  }
  bool is_alive(const std::string& name) {
    for (const HostEntry& entry : *state_.hosts())
      if (entry.host.name == name) return entry.is_alive;
    ADD_FAILURE() << name << " is not known";
    return false;
  }

  ManualClock clock_;
  FailingStore store_{clock_};
  ClusterState state_{store_, "default"};
};

TEST_F(MemberTest, RegistersAndLeadsWhereItIsAlone) {
  Member a(state_, clock_, options_of("a"));
  EXPECT_FALSE(a.leadership().is_leader);
  a.step();
  EXPECT_TRUE(a.leadership().is_leader);
  EXPECT_EQ(a.leadership().token, state_.leader()->token);
  EXPECT_TRUE(a.status().is_registered);
  EXPECT_TRUE(is_alive("a"));
}

TEST_F(MemberTest, KeepsLeadingUnderOneTokenWhileItStepsAndTheStoreAnswers) {
  Member a(state_, clock_, options_of("a"));
  a.step();
  const uint64_t token = a.leadership().token;
  run(seconds(300), {&a});
  EXPECT_TRUE(a.leadership().is_leader);
  EXPECT_EQ(a.leadership().token, token);
  EXPECT_TRUE(is_alive("a"));
}

TEST_F(MemberTest, LetsOneLeadAtATime) {
  Member a(state_, clock_, options_of("a"));
  Member b(state_, clock_, options_of("b"));
  run(seconds(30), {&a, &b});
  EXPECT_TRUE(a.leadership().is_leader);
  EXPECT_FALSE(b.leadership().is_leader);
  EXPECT_EQ(b.status().leader.host, "a");
}

TEST_F(MemberTest, IsFollowedByAnotherWithALargerTokenWhenItIsGone) {
  Member a(state_, clock_, options_of("a"));
  Member b(state_, clock_, options_of("b"));
  run(seconds(5), {&a, &b});
  const uint64_t first = a.leadership().token;
  run(seconds(25), {&b});
  EXPECT_TRUE(b.leadership().is_leader);
  EXPECT_GT(b.leadership().token, first);
  EXPECT_FALSE(is_alive("a"));
}

TEST_F(MemberTest, StopsLeadingBeforeItsLeaseEndsInTheStore) {
  Member a(state_, clock_, options_of("a"));
  a.step();
  store_.is_away = true;
  run(seconds(8), {&a});
  EXPECT_FALSE(a.leadership().is_leader);
  store_.is_away = false;
  EXPECT_TRUE(is_alive("a"));
}

TEST_F(MemberTest, ToleratesAStoreThatIsAwayForLessThanItsLease) {
  Member a(state_, clock_, options_of("a"));
  a.step();
  const uint64_t token = a.leadership().token;
  store_.is_away = true;
  run(seconds(4), {&a});
  EXPECT_TRUE(a.leadership().is_leader);
  EXPECT_TRUE(a.status().error.has_value());
  store_.is_away = false;
  run(seconds(4), {&a});
  EXPECT_EQ(a.leadership().token, token);
  EXPECT_FALSE(a.status().error.has_value());
}

TEST_F(MemberTest, DoesNotLeadWhenItWakesFromALongStop) {
  Member a(state_, clock_, options_of("a"));
  Member b(state_, clock_, options_of("b"));
  run(seconds(2), {&a, &b});
  const uint64_t token = a.leadership().token;
  run(seconds(25), {&b});
  EXPECT_FALSE(a.leadership().is_leader);
  Document plan;
  plan.token = token;
  EXPECT_EQ(state_.put_plan(plan).error().code, ErrorCode::kDenied);
  a.step();
  EXPECT_FALSE(a.leadership().is_leader);
  EXPECT_TRUE(b.leadership().is_leader);
}

TEST_F(MemberTest, RegistersAnewUnderANewTokenAfterItsLeaseEnded) {
  Member a(state_, clock_, options_of("a"));
  a.step();
  const uint64_t token = a.leadership().token;
  clock_.advance(seconds(60));
  run(seconds(3), {&a});
  EXPECT_TRUE(a.leadership().is_leader);
  EXPECT_GT(a.leadership().token, token);
  EXPECT_TRUE(is_alive("a"));
}

TEST_F(MemberTest, HandsOverAtOnceWhenItLeaves) {
  Member a(state_, clock_, options_of("a"));
  Member b(state_, clock_, options_of("b"));
  a.step();
  b.step();
  a.leave();
  EXPECT_FALSE(a.leadership().is_leader);
  EXPECT_FALSE(is_alive("a"));
  b.look_again();
  b.step();
  EXPECT_TRUE(b.leadership().is_leader);
}

TEST_F(MemberTest, FollowsWhereItMayNotLead) {
  MemberOptions options = options_of("a");
  options.may_lead = false;
  Member a(state_, clock_, options);
  run(seconds(30), {&a});
  EXPECT_FALSE(a.leadership().is_leader);
  EXPECT_TRUE(a.status().is_registered);
  EXPECT_EQ(state_.leader()->token, 0u);
}

TEST_F(MemberTest, RefusesANameThatAnotherHostHolds) {
  Member a(state_, clock_, options_of("a"));
  MemberOptions options = options_of("a");
  options.self.id = "another";
  Member twin(state_, clock_, options);
  run(seconds(3), {&a, &twin});
  EXPECT_FALSE(twin.status().is_registered);
  EXPECT_FALSE(twin.leadership().is_leader);
  ASSERT_TRUE(twin.status().error.has_value());
  EXPECT_EQ(twin.status().error->code, ErrorCode::kExists);
  EXPECT_TRUE(a.leadership().is_leader);
}

TEST_F(MemberTest, TakesItsOwnPlaceAgainAfterARestart) {
  Member before(state_, clock_, options_of("a"));
  before.step();
  const uint64_t token = before.leadership().token;
  Member after(state_, clock_, options_of("a"));
  after.step();
  EXPECT_TRUE(after.status().is_registered);
  EXPECT_TRUE(after.leadership().is_leader);
  EXPECT_GT(after.leadership().token, token);
}

TEST_F(MemberTest, NoticesThatItsKeysWereTakenAway) {
  Member a(state_, clock_, options_of("a"));
  a.step();
  const uint64_t token = a.leadership().token;
  ASSERT_TRUE(
      store_
          .commit(
              {{}, {{state_.leader_key(), std::nullopt}, {state_.member_key("a"), std::nullopt}}})
          .has_value());
  a.look_again();
  a.step();
  EXPECT_TRUE(is_alive("a"));
  EXPECT_GT(a.leadership().token, token);
}

TEST_F(MemberTest, RestsBetweenItsSteps) {
  Member a(state_, clock_, options_of("a"));
  EXPECT_EQ(a.step(), seconds(2));
}

TEST_F(MemberTest, AsksLessOftenWhileTheStoreIsAway) {
  store_.is_away = true;
  Member a(state_, clock_, options_of("a"));
  const Nanos first = a.step();
  EXPECT_LE(first, seconds(1));
  for (int i = 0; i < 5; ++i) a.step();
  EXPECT_EQ(a.step(), seconds(2));
}

}  // namespace
}  // namespace forerun::cluster
