#include "cli/replay_plot.h"

#include <gmock/gmock.h>

namespace forerun::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

replay::BlockOutcome outcome(std::string method, std::vector<double> waits,
                             std::vector<double> missed) {
  replay::BlockOutcome one;
  one.method = std::move(method);
  one.mean_us = waits.empty() ? 0 : waits.front();
  one.window_mean_us = std::move(waits);
  one.window_missed_share = std::move(missed);
  return one;
}

TEST(ReplayPlot, DrawsALineForEachMethodAndOnePanelLessForNone) {
  const std::vector<replay::BlockOutcome> outcomes = {outcome("none", {1000, 500}, {0.5, 0}),
                                                      outcome("arbiter", {500, 20}, {0.25, 0})};
  const std::string svg = plot_replay("a <disk>", outcomes);
  EXPECT_THAT(svg, HasSubstr("a &lt;disk&gt;"));
  EXPECT_THAT(svg, HasSubstr("arbiter 500 µs"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  size_t lines = 0;
  for (size_t at = svg.find("<polyline"); at != std::string::npos;
       at = svg.find("<polyline", at + 1))
    ++lines;
  EXPECT_EQ(lines, 3U);
  // Half of the misses spared in the first window: two thirds up a panel from -0.5 to 1.
  EXPECT_THAT(svg, HasSubstr(fmt::format("254.0,{:.1f}", 364 + 260 * (1 - 1 / 1.5))));
}

TEST(ReplayPlot, OfNothingIsAnEmptyFrame) {
  const std::vector<replay::BlockOutcome> outcomes = {outcome("none", {}, {})};
  EXPECT_THAT(plot_replay("empty", outcomes), HasSubstr("</svg>"));
}

}  // namespace
}  // namespace forerun::cli
