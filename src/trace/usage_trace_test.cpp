#include "trace/usage_trace.h"

#include <gmock/gmock.h>

#include "trace/text_file.h"

namespace forerun::trace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kHeader = "unix_seconds,entity,metric,mean,max\n";

Result<VmTrace> read(const std::string& text, VmTraceLimits limits = {}) {
  TextFile file(text);
  return read_usage_export(file, "usage.csv", 2000, 300, limits);
}

TEST(UsageTrace, AVmAsksForWhatItRanAndWaited) {
  const auto trace = read(kHeader +
                          "600,host,cpu_cores,9,9\n"
                          "600,vm/web,cpu_cores,1,1.5\n660,vm/web,cpu_cores,0.5,0.5\n"
                          "900,vm/web,cpu_cores,1.5,1.5\n900,vm/web,cpu_wait_cores,0.25,0.3\n"
                          "600,vm/web,memory_bytes,1048576,2097152\n"
                          "1200,vm/db,cpu_cores,0.1,0.1\n1200,vm/db,requests,5,5\n");
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_EQ(trace->vms.size(), 2U);
  EXPECT_EQ(trace->vms[0].name, "db");
  EXPECT_THAT(trace->vms[0].cpu_permille, ElementsAre(0, 0, 100));
  const VmSeries& web = trace->vms[1];
  EXPECT_EQ(web.capacity_mhz, 4000);  // 1.75 cores, rounded up
  EXPECT_THAT(web.cpu_permille, ElementsAre(375, 875, 875));
  EXPECT_THAT(web.memory_used_mb, ElementsAre(1, 1, 1));
  EXPECT_EQ(web.memory_mb, 3U);
}

TEST(UsageTrace, RefusesWhatIsNone) {
  EXPECT_THAT(read("1,vm/a,cpu_cores,1,1\n").error().message, HasSubstr("line 1"));
  for (const char* bad :
       {"1,vm/a,cpu_cores,1\n", "1,vm/a,cpu_cores,1,1,1\n", "x,vm/a,cpu_cores,1,1\n",
        "1,vm/a,cpu_cores,-1,1\n", "1,vm/a,cpu_cores,nan,1\n", "\n"})
    EXPECT_THAT(read(kHeader + bad).error().message, HasSubstr("usage.csv, line 2")) << bad;
  EXPECT_FALSE(read(kHeader + "1,host,cpu_cores,1,1\n"));
  EXPECT_FALSE(read(""));
}

TEST(UsageTrace, HasLimits) {
  const std::string two = kHeader + "1,vm/a,cpu_cores,1,1\n1,vm/b,cpu_cores,1,1\n";
  EXPECT_EQ(read(two, {.vms_max = 1}).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(read(kHeader + "1,vm/a,cpu_cores,1,1\n1e9,vm/a,cpu_cores,1,1\n", {.samples_max = 99})
                .error()
                .code,
            ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace forerun::trace
