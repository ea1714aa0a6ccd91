// The page of `forerun simulate --report`: HTML with pictures in SVG, without scripts or anything
// from elsewhere.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "cli/simulate_output.h"

namespace forerun::cli {
namespace {

using place::SimSample;

constexpr int kWidth = 760, kHeight = 180, kLeft = 70, kTop = 26, kBottom = 30, kLegend = 150;
constexpr size_t kPoints = 288;  // of a line; longer runs are averaged
constexpr std::array<std::string_view, 10> kColours = {"#888888", "#1b6ca8", "#edae49", "#2e933c",
                                                       "#7d5ba6", "#00798c", "#b5651d", "#e377c2",
                                                       "#d1495b", "#17202a"};

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

// A round number not below `value`.
double round_up(double value) {
  if (value <= 0) return 1;
  const double unit = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0})
    if (step * unit >= value) return step * unit;
  return 10 * unit;
}

using Series = std::vector<double>;

Series thinned(const Series& values) {
  if (values.size() <= kPoints) return values;
  Series means(kPoints);
  for (size_t i = 0; i < kPoints; ++i) {
    const size_t from = i * values.size() / kPoints, to = (i + 1) * values.size() / kPoints;
    for (size_t k = from; k < to; ++k) means[i] += values[k] / static_cast<double>(to - from);
  }
  return means;
}

struct Frame {
  double x_max = 1, y_max = 1;
  double x(double value) const { return kLeft + kWidth * value / x_max; }
  double y(double value) const { return kTop + kHeight * (1 - std::min(value / y_max, 1.0)); }
};

std::string begin_picture(std::string_view title, std::string_view x_name, const Frame& frame) {
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" "
      "role=\"img\">\n<text x=\"{2}\" y=\"16\" class=\"t\">{3}</text>"
      "<rect x=\"{2}\" y=\"{4}\" width=\"{5}\" height=\"{6}\" fill=\"none\" stroke=\"#ccc\"/>",
      kLeft + kWidth + kLegend, kTop + kHeight + kBottom, kLeft, escaped(title), kTop, kWidth,
      kHeight);
  for (int i = 0; i <= 4; ++i) {
    const double y = frame.y_max * i / 4, x = frame.x_max * i / 4;
    svg += fmt::format(
        "<line x1=\"{}\" y1=\"{:.1f}\" x2=\"{}\" y2=\"{:.1f}\" stroke=\"#eee\"/>"
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>"
        "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.4g}{}</text>",
        kLeft, frame.y(y), kLeft + kWidth, frame.y(y), kLeft - 6, frame.y(y) + 4, y, frame.x(x),
        kTop + kHeight + 16, x, i == 4 ? fmt::format(" {}", x_name) : std::string());
  }
  return svg + "\n";
}

std::string legend(size_t at, std::string_view name) {
  return fmt::format("<text x=\"{}\" y=\"{}\" fill=\"{}\">{}</text>", kLeft + kWidth + 12,
                     kTop + 12 + 16 * static_cast<int>(at), kColours[at % kColours.size()],
                     escaped(name));
}

// One line per run of what `value_of` takes from its samples.
template <typename ValueOf>
std::string lines(const SimulatedTrace& trace, std::string_view title, ValueOf value_of) {
  std::vector<Series> all;
  Frame frame;
  double most = 0, hours = 0;
  for (const SimulatedRun& run : trace.runs) {
    Series values;
    for (size_t i = 0; i < run.result.samples.size(); ++i)
      values.push_back(value_of(run.result.samples, i));
    hours = std::max(hours, static_cast<double>(values.size()) * trace.interval_s / 3600);
    all.push_back(thinned(values));
    for (const double value : all.back()) most = std::max(most, value);
  }
  const bool is_days = hours > 72;
  frame.x_max = is_days ? hours / 24 : hours;
  frame.y_max = round_up(most);
  std::string svg = begin_picture(title, is_days ? "days" : "h", frame);
  for (size_t r = 0; r < all.size(); ++r) {
    std::string points;
    for (size_t i = 0; i < all[r].size(); ++i)
      points += fmt::format("{:.1f},{:.1f} ",
                            frame.x(frame.x_max * (static_cast<double>(i) + 0.5) /
                                    static_cast<double>(all[r].size())),
                            frame.y(all[r][i]));
    svg += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.4\"><title>{}"
        "</title></polyline>",
        points, kColours[r % kColours.size()], escaped(trace.runs[r].policy));
    svg += legend(r, trace.runs[r].policy) + "\n";
  }
  return svg + "</svg>\n";
}

// Energy against demand not met, a dot per run.
std::string frontier(const SimulatedTrace& trace) {
  Frame frame{0, 0};
  for (const auto& [policy, result] : trace.runs) {
    frame.x_max = std::max(frame.x_max, result.kwh);
    frame.y_max = std::max(frame.y_max, 100 * result.sla.unserved);
  }
  frame.x_max = round_up(frame.x_max);
  frame.y_max = round_up(frame.y_max);
  std::string svg =
      begin_picture("demand not met (%) by energy: left and low is good", "kWh", frame);
  for (size_t r = 0; r < trace.runs.size(); ++r) {
    const auto& [policy, result] = trace.runs[r];
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"><title>{}</title>"
        "</circle>",
        frame.x(result.kwh), frame.y(100 * result.sla.unserved), kColours[r % kColours.size()],
        escaped(policy));
    svg += legend(r, policy) + "\n";
  }
  return svg + "</svg>\n";
}

std::string cells(const SimulatedTrace& trace, bool is_fleet) {
  std::string rows = fmt::format(
      "<table><tr><th>policy</th><th>kWh</th><th>host hours</th><th>moves</th><th>{}</th>"
      "<th>unserved %</th></tr>\n",
      is_fleet ? "contention s" : "overload % of active time");
  for (const auto& [policy, result] : trace.runs)
    rows += fmt::format(
        "<tr><td>{}</td><td>{:.2f}</td><td>{:.0f}</td><td>{}</td><td>{:.3f}</td><td>{:.4f}</td></"
        "tr>\n",
        escaped(policy), result.kwh, result.active_host_hours, result.migrations,
        is_fleet ? result.contention_s : 100 * result.sla.slatah_corrected,
        100 * result.sla.unserved);
  return rows + "</table>\n";
}

}  // namespace

std::string simulated_page(const Simulated& simulated) {
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>forerun simulate"
      "</title>\n<style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse;"
      "margin:1em 0}td,th{padding:2px 12px;text-align:right;border-bottom:1px solid #ddd}"
      "td:first-child,th:first-child{text-align:left}svg{display:block;margin:1em 0;font:12px "
      "sans-serif}.t{font-weight:bold}</style></head><body>\n";
  page += fmt::format("<h1>Placement simulated: model {}</h1>\n", escaped(simulated.model));
  for (const SimulatedTrace& trace : simulated.traces) {
    page += fmt::format("<h2>{}: {} VMs on {} hosts</h2>\n", escaped(trace.name), trace.vms,
                        trace.hosts);
    page += cells(trace, simulated.is_fleet);
    page += lines(trace, "hosts on", [](const std::vector<SimSample>& samples, size_t i) {
      return static_cast<double>(samples[i].hosts_on);
    });
    page +=
        lines(trace, "moves in an interval", [](const std::vector<SimSample>& samples, size_t i) {
          return static_cast<double>(samples[i].migrations -
                                     (i > 0 ? samples[i - 1].migrations : 0));
        });
    page += lines(trace, "demand not met, %", [](const std::vector<SimSample>& samples, size_t i) {
      return 100 * samples[i].short_share;
    });
    page += frontier(trace);
  }
  return page + "</body></html>\n";
}

}  // namespace forerun::cli
