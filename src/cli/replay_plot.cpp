#include "cli/replay_plot.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace forerun::cli {
namespace {

using replay::BlockOutcome;

constexpr int kWidth = 760, kHeight = 260, kLeft = 64, kTop = 44, kLegend = 190;
constexpr int kGap = 60;  // between the panels
constexpr std::array<std::string_view, 10> kColours = {"#888888", "#1b6ca8", "#d1495b", "#2e933c",
                                                       "#edae49", "#7d5ba6", "#00798c", "#b5651d",
                                                       "#e377c2", "#17202a"};

struct Panel {
  std::string_view name;
  int top = 0;
  double low = 0, high = 1;
  double y(double value) const {
    const double share = (std::clamp(value, low, high) - low) / (high - low);
    return top + kHeight * (1 - share);
  }
};

double x(size_t window, size_t windows) {
  return kLeft + kWidth * (static_cast<double>(window) + 0.5) / static_cast<double>(windows);
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text)
    out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  return out;
}

std::string frame(const Panel& panel) {
  std::string svg = fmt::format(
      "<text x=\"{}\" y=\"{}\" font-weight=\"bold\">{}</text>"
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#ccc\"/>",
      kLeft, panel.top - 8, panel.name, kLeft, panel.top, kWidth, kHeight);
  for (int i = 0; i <= 4; ++i) {
    const double value = panel.low + (panel.high - panel.low) * i / 4;
    svg += fmt::format(
        "<line x1=\"{}\" y1=\"{:.1f}\" x2=\"{}\" y2=\"{:.1f}\" stroke=\"#eee\"/>"
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>",
        kLeft, panel.y(value), kLeft + kWidth, panel.y(value), kLeft - 6, panel.y(value) + 4,
        value);
  }
  return svg + "\n";
}

// A line through the windows.
std::string line(const Panel& panel, const std::vector<double>& values, std::string_view colour,
                 std::string_view name) {
  std::string points;
  for (size_t i = 0; i < values.size(); ++i)
    points += fmt::format("{:.1f},{:.1f} ", x(i, values.size()), panel.y(values[i]));
  return fmt::format(
      "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.4\">"
      "<title>{}</title></polyline>",
      points, colour, escaped(name));
}

// Returns 1 - missed / missed without prefetches, window by window.
std::vector<double> coverage_over_time(const BlockOutcome& one, const BlockOutcome& none) {
  std::vector<double> coverage;
  for (size_t i = 0; i < std::min(one.window_missed_share.size(), none.window_missed_share.size());
       ++i) {
    const double all = none.window_missed_share[i];
    coverage.push_back(all > 0 ? 1 - one.window_missed_share[i] / all : 0);
  }
  return coverage;
}

}  // namespace

std::string plot_replay(std::string_view title, std::span<const BlockOutcome> outcomes) {
  const BlockOutcome& none = outcomes.front();
  Panel wait{"mean wait of a read, µs", kTop, 0, 1};
  for (const BlockOutcome& one : outcomes)
    for (const double mean : one.window_mean_us) wait.high = std::max(wait.high, mean);
  const Panel covered{"coverage: share of the misses without prefetches that was spared",
                      kTop + kHeight + kGap, -0.5, 1};
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" "
      "font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      "<text x=\"{}\" y=\"18\" font-size=\"14\">{}</text>\n",
      kLeft + kWidth + kLegend, kTop + 2 * kHeight + kGap + 36, kLeft, escaped(title));
  svg += frame(wait) + frame(covered);
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const BlockOutcome& one = outcomes[i];
    const std::string_view colour = kColours[i % kColours.size()];
    svg += line(wait, one.window_mean_us, colour, one.method) + "\n";
    if (i > 0) svg += line(covered, coverage_over_time(one, none), colour, one.method) + "\n";
    svg += fmt::format(R"(<text x="{}" y="{}" fill="{}">{} {:.0f} µs</text>)", kLeft + kWidth + 10,
                       kTop + 14 + 16 * static_cast<int>(i), colour, escaped(one.method),
                       one.mean_us) +
           "\n";
  }
  svg += fmt::format(
      "<text x=\"{}\" y=\"{}\">the trace's reads, in {} windows of equal numbers</text>\n</svg>\n",
      kLeft, kTop + 2 * kHeight + kGap + 24, none.window_mean_us.size());
  return svg;
}

}  // namespace forerun::cli
