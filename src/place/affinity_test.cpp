#include "place/affinity.h"

#include <gmock/gmock.h>

#include <cmath>

#include "place/fleet_model.h"

namespace forerun::place {
namespace {

constexpr int64_t kNow = 1'790'000'000;

TEST(AffinityBook, WhereACategoryWaitedItIsIllSuited) {
  AffinityBook book({});
  for (int i = 0; i < 100; ++i) {
    book.observe("calm", "bursty", 300, 1, kNow + 300 * i);
    book.observe("crowded", "bursty", 300, 100, kNow + 300 * i);
  }
  const forecast::WorkloadVector needs{0.5F, 0.5F, 0, 0, 0};
  const double calm = book.score("calm", "bursty", needs, {0.5, 0.5});
  const double crowded = book.score("crowded", "bursty", needs, {0.5, 0.5});
  const double unknown = book.score("new", "bursty", needs, {0.5, 0.5});
  EXPECT_GT(calm, crowded + 0.2);
  EXPECT_GE(unknown, calm);
  EXPECT_NEAR(book.wait_ratio("crowded", "bursty"), 1.0 / 3, 0.02);
}

TEST(AffinityBook, ForgetsByHalfInItsHalfLife) {
  AffinityBook book({.prior_core_s = 0.001});
  book.observe("h", "c", 1000, 1000, kNow);
  book.observe("h", "c", 500, 0, kNow + 3 * 86'400);
  EXPECT_NEAR(book.wait_ratio("h", "c"), 0.5, 0.001);  // 500 waited of 500 + 500 done
}

TEST(AffinityBook, WeighsWhatIsFreeByWhatIsNeeded) {
  const AffinityBook book({});
  const forecast::WorkloadVector hungry{0.1F, 0.9F, 0, 0, 0};
  EXPECT_GT(book.score("h", "memory", hungry, {0.5, 0.9}),
            book.score("h", "memory", hungry, {0.6, 0.1}));
}

TEST(AffinityBook, IsKeptAndRefusesDamage) {
  AffinityBook book({});
  book.observe("h", "c", 1000, 10, kNow);
  AffinityBook again({});
  ASSERT_TRUE(again.decode(book.encode()));
  EXPECT_DOUBLE_EQ(again.wait_ratio("h", "c"), book.wait_ratio("h", "c"));
  for (const char* text :
       {"", "{}", R"({"cells":[[1,2,3,4,5]]})", R"({"cells":[["h","c",-1,0,0]]})"})
    EXPECT_EQ(again.decode(text).error().code, ErrorCode::kCorrupt) << text;
  EXPECT_DOUBLE_EQ(again.wait_ratio("h", "c"), book.wait_ratio("h", "c"));
}

TEST(AffinityWatch, TellsVmsTheirCategoriesAndHostsTheirAffinities) {
  FleetSnapshot fleet;
  for (const char* name : {"h1", "h2"}) {
    SnapshotHost host;
    host.name = name;
    host.cores = 16;
    fleet.hosts.push_back(host);
  }
  for (int v = 0; v < 12; ++v) {
    SnapshotVm vm;
    vm.name = fmt::format("v{}", v);
    vm.host = v % 2 == 0 ? "h1" : "h2";
    vm.cpus = 1;
    const bool is_busy = v % 3 == 0;
    vm.demand.assign(60, is_busy ? 0.95F : 0.05F);
    vm.memory_ratio = is_busy ? 0.1 : 0.9;
    vm.waited_cores = is_busy && vm.host == "h2" ? 0.5 : 0;
    fleet.vms.push_back(vm);
  }
  AffinityWatch watch;
  for (int round = 0; round < 30; ++round) {
    FleetSnapshot seen = fleet;
    watch.look(seen, kNow + 300 * round);
    if (round < 29) continue;
    EXPECT_EQ(seen.vms[0].category, "CPU-bound");
    EXPECT_EQ(seen.vms[3].category, "CPU-bound");
    EXPECT_EQ(seen.vms[1].category, "memory-intensive");
    ASSERT_EQ(seen.affinities.size(), 4U);
    const auto score = [&](const std::string& host) {
      for (const SnapshotAffinity& each : seen.affinities)
        if (each.host == host && each.category == "CPU-bound") return each.score;
      return -1.0;
    };
    EXPECT_GT(score("h1"), score("h2") + 0.2);
    EXPECT_TRUE(FleetModel::make(seen));
    AffinityWatch again;
    ASSERT_TRUE(again.decode(watch.encode()));
    FleetSnapshot later = fleet;
    again.look(later, kNow + 300 * round);
    EXPECT_EQ(later.vms, seen.vms);
    EXPECT_EQ(later.affinities, seen.affinities);
  }
}

}  // namespace
}  // namespace forerun::place
