#include "trace/vm_trace.h"

#include <gmock/gmock.h>

#include "trace/text_file.h"

namespace forerun::trace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Result<VmSeries> planetlab(const std::string& text, VmTraceLimits limits = {}) {
  TextFile file(text);
  return read_planetlab_vm(file, "day/a vm", "a vm", limits);
}

Result<TimedVm> bitbrains(const std::string& name, const std::string& text) {
  TextFile file(text);
  return read_bitbrains_vm(file, "month/" + name, name, {});
}

TEST(VmTrace, PlanetlabIsAPercentageALine) {
  const auto vm = planetlab("24\n0\r\n100");
  ASSERT_TRUE(vm) << vm.error().message;
  EXPECT_EQ(vm->name, "a vm");
  EXPECT_THAT(vm->cpu_permille, ElementsAre(240, 0, 1000));
}

TEST(VmTrace, PlanetlabRefusesWhatIsNone) {
  for (const char* text : {"24\n101\n", "24\n-1\n", "24\n 1\n", "24\n1.5\n", "24\n\n3\n"}) {
    const auto vm = planetlab(text);
    ASSERT_FALSE(vm) << text;
    EXPECT_THAT(vm.error().message, HasSubstr("day/a vm, line 2")) << text;
  }
  EXPECT_FALSE(planetlab(""));
  EXPECT_EQ(planetlab("1\n2\n", {.samples_max = 1}).error().code, ErrorCode::kTooLarge);
}

TEST(VmTrace, BitbrainsFollowsWhatIsProvisioned) {
  const auto vm =
      bitbrains("7.csv", "#1,2000,1024\n1000,500,1,2,3,4,5\n#2,4000,2048\n300,500,0,0,0,0,0\n");
  ASSERT_TRUE(vm) << vm.error().message;
  EXPECT_EQ(vm->capacity_mhz, 4000);
  EXPECT_EQ(vm->memory_mb, 2048U);
  ASSERT_EQ(vm->rows.size(), 2U);
  EXPECT_EQ(vm->rows[1].second, 1300U);
  EXPECT_EQ(vm->rows[0].cpu_mhz, 1000);
  EXPECT_EQ(vm->rows[1].cpu_mhz, 2000);
  EXPECT_EQ(vm->rows[0].memory_used_mb, 1U);
  EXPECT_EQ(vm->rows[0].network_kb_per_s, 9U);  // received and sent
}

TEST(VmTrace, BitbrainsRefusesWhatIsNone) {
  EXPECT_THAT(bitbrains("x", "1,2,3,4,5,6,7\n").error().message, HasSubstr("month/x, line 1"));
  EXPECT_THAT(bitbrains("x", "#1,2,3\n1,2\n").error().message, HasSubstr("line 2"));
  EXPECT_THAT(bitbrains("x", "#1,2,3\n1,a,1,1,1,1,1\n").error().message, HasSubstr("line 2"));
  EXPECT_FALSE(bitbrains("x", "#1,2,3\n"));
}

TEST(VmTrace, GridFillsForwardAndSortsByName) {
  std::vector<TimedVm> vms(2);
  vms[0] = {"b", 1000, 1, {{1000, 100, 7, 1}, {1600, 300, 8, 2}}};
  vms[1] = {"a", 1000, 1, {{1310, 500}, {1320, 600}}};
  const auto trace = on_grid(vms, 300, {});
  ASSERT_TRUE(trace);
  ASSERT_EQ(trace->vms.size(), 2U);
  EXPECT_EQ(trace->vms[0].name, "a");
  EXPECT_THAT(trace->vms[0].cpu_permille, ElementsAre(0, 600, 600));
  EXPECT_THAT(trace->vms[1].cpu_permille, ElementsAre(100, 100, 300));
  EXPECT_THAT(trace->vms[1].memory_used_mb, ElementsAre(7, 7, 8));
  EXPECT_THAT(trace->vms[1].network_kb_per_s, ElementsAre(1, 1, 2));
  EXPECT_FALSE(on_grid(vms, 300, {.samples_max = 2}));
}

}  // namespace
}  // namespace forerun::trace
