#include "cluster/sqlite_state_store.h"

#include <filesystem>
#include <thread>

#include "cluster/state_store_contract_fixture.h"

namespace forerun::cluster {
namespace {

using std::chrono::seconds;

class InMemory final : public StoreUnderTest {
 public:
  InMemory() : store_(std::move(*SqliteStateStore::open({":memory:"}, clock_))) {}
  StateStore& store() override { return *store_; }
  void let_pass(Nanos time) override { clock_.advance(time); }
  std::string prefix() const override { return "test/"; }
  Nanos patience() const override { return Nanos::zero(); }

 private:
  ManualClock clock_;
  const std::unique_ptr<SqliteStateStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, StateStoreContract,
                         testing::Values([]() -> std::unique_ptr<StoreUnderTest> {
                           return std::make_unique<InMemory>();
                         }));

class SqliteStateStoreTest : public testing::Test {
 protected:
  SqliteStateStoreTest() {
    char name[] = "/tmp/forerun-state-XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~SqliteStateStoreTest() override { std::filesystem::remove_all(folder_); }
  std::string path() const { return folder_ + "/cluster.db"; }
  std::unique_ptr<SqliteStateStore> open(SqliteStateStoreOptions options = {}) {
    if (options.path.empty()) options.path = path();
    auto opened = SqliteStateStore::open(options, clock_);
    EXPECT_TRUE(opened.has_value()) << opened.error().message;
    return std::move(*opened);
  }

  std::string folder_;
  ManualClock clock_;
};

TEST_F(SqliteStateStoreTest, GoesOnWithItsRevisionsAfterARestart) {
  Revision made = 0;
  {
    auto store = open();
    made = store->commit({{}, {{"a", "1"}}})->revision;
  }
  auto store = open();
  EXPECT_EQ((*store->get("a"))->modified, made);
  EXPECT_GT(store->commit({{}, {{"b", "2"}}})->revision, made);
  auto watch = store->watch("a", made - 1);
  EXPECT_EQ((*watch)->next(Nanos::zero())->events.size(), 1u);
}

TEST_F(SqliteStateStoreTest, EndsTheLeasesOfAnEarlierRun) {
  LeaseId old = 0;
  Revision leader = 0;
  {
    auto store = open();
    old = store->grant(seconds(60))->id;
    leader = store->commit({{}, {{"leader", "h1", old}, {"plan", "1"}}})->revision;
  }
  auto store = open();
  EXPECT_EQ(*store->get("leader"), std::nullopt);
  EXPECT_TRUE((*store->get("plan")).has_value());
  EXPECT_EQ(store->keep_alive(old).error().code, ErrorCode::kNotFound);
  EXPECT_NE(store->grant(seconds(60))->id, old);
  EXPECT_GT(store->commit({{}, {{"leader", "h1"}}})->revision, leader);
}

TEST_F(SqliteStateStoreTest, RefusesASecondProcess) {
  auto store = open();
  const auto second = SqliteStateStore::open({path()}, clock_);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable) << second.error().message;
}

TEST_F(SqliteStateStoreTest, RefusesAFileThatIsNoState) {
  {
    auto other = store::Database::open(path(), "other");
    ASSERT_TRUE((*other)->run("CREATE TABLE things(id INTEGER)").has_value());
  }
  const auto opened = SqliteStateStore::open({path()}, clock_);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
}

TEST_F(SqliteStateStoreTest, RefusesAStateOfALaterVersion) {
  {
    open();
  }
  {
    auto other = store::Database::open(path(), "other");
    ASSERT_TRUE((*other)->run("PRAGMA user_version = 9").has_value());
  }
  const auto opened = SqliteStateStore::open({path()}, clock_);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ErrorCode::kUnsupported);
}

TEST_F(SqliteStateStoreTest, KeepsEventsWithinItsLimits) {
  SqliteStateStoreOptions options{":memory:"};
  options.revisions_kept_max = 100;
  auto store = open(options);
  const Revision first = store->commit({{}, {{"a", "0"}}})->revision;
  Revision last = 0;
  for (int i = 0; i < 100; ++i) last = store->commit({{}, {{"a", "1"}}})->revision;
  EXPECT_TRUE((*store->watch("a", first))->next(Nanos::zero())->is_compacted);
  EXPECT_EQ((*store->watch("a", last - 50))->next(Nanos::zero())->events.size(), 50u);
}

TEST_F(SqliteStateStoreTest, KeepsEventsWithinTheirBytes) {
  SqliteStateStoreOptions options{":memory:"};
  options.event_bytes_max = 100'000;
  auto store = open(options);
  const Revision first = store->commit({{}, {{"a", "0"}}})->revision;
  Revision last = 0;
  for (int i = 0; i < 11; ++i)
    last = store->commit({{}, {{"a", std::string(10'000, 'x')}}})->revision;
  EXPECT_TRUE((*store->watch("a", first))->next(Nanos::zero())->is_compacted);
  EXPECT_EQ((*store->watch("a", last - 1))->next(Nanos::zero())->events.size(), 1u);
}

TEST_F(SqliteStateStoreTest, GivesAWatchWholeRevisionsAtATime) {
  auto store = open({":memory:"});
  const Revision before = store->commit({{}, {{"x", "0"}}})->revision;
  for (int i = 0; i < 20; ++i) {
    Transaction many;
    for (int k = 0; k < 60; ++k) many.changes.push_back({fmt::format("k{}", k), "v"});
    ASSERT_TRUE(store->commit(many).has_value());
  }
  auto watch = store->watch("k", before);
  const auto first = (*watch)->next(Nanos::zero());
  const auto second = (*watch)->next(Nanos::zero());
  EXPECT_EQ(first->events.size() % 60, 0u);
  EXPECT_EQ(first->events.size() + second->events.size(), 1200u);
}

TEST_F(SqliteStateStoreTest, WakesAWatchThatWaits) {
  auto store = open({":memory:"});
  auto watch = store->watch("a", store->commit({{}, {{"x", "0"}}})->revision);
  Result<Batch> got;
  std::thread waiter([&] { got = (*watch)->next(std::chrono::hours(1)); });
  ASSERT_TRUE(store->commit({{}, {{"a", "1"}}}).has_value());
  waiter.join();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->events.at(0).entry.value, "1");
}

}  // namespace
}  // namespace forerun::cluster
