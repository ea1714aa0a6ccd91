#include "core/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>

namespace forerun::metrics {
namespace {

template <typename Metric>
struct Family {
  std::string help;
  std::map<std::string, std::unique_ptr<Metric>, std::less<>> by_labels;
};

struct Registry {
  std::mutex mutex;
  std::map<std::string, Family<Counter>, std::less<>> counters;
  std::map<std::string, Family<Gauge>, std::less<>> gauges;
  std::map<std::string, Family<Histogram>, std::less<>> histograms;
};

Registry& registry() {
  static Registry instance;
  return instance;
}

template <typename Metric>
Metric& find(std::map<std::string, Family<Metric>, std::less<>>& families, std::string_view name,
             std::string_view help, std::string_view labels) {
  const std::lock_guard lock(registry().mutex);
  auto& family = families[std::string(name)];
  if (family.help.empty()) family.help = help;
  auto& slot = family.by_labels[std::string(labels)];
  if (!slot) slot = std::make_unique<Metric>();
  return *slot;
}

std::string braces(std::string_view labels) {
  return labels.empty() ? "" : fmt::format("{{{}}}", labels);
}

void render_histogram(std::string& out, const std::string& name, const std::string& labels,
                      const Histogram& metric) {
  const std::string comma = labels.empty() ? "" : ",";
  uint64_t running = 0;
  for (size_t i = 0; i < Histogram::kBounds.size(); ++i) {
    running += metric.bucket(i);
    out += fmt::format("{}_bucket{{{}{}le=\"{}\"}} {}\n", name, labels, comma,
                       Histogram::kBounds[i], running);
  }
  running += metric.bucket(Histogram::kBounds.size());
  out += fmt::format("{}_bucket{{{}{}le=\"+Inf\"}} {}\n", name, labels, comma, running);
  out += fmt::format("{}_sum{} {}\n{}_count{} {}\n", name, braces(labels), metric.sum(), name,
                     braces(labels), running);
}

}  // namespace

void Histogram::observe(double seconds) {
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  buckets_[static_cast<size_t>(bound - kBounds.begin())].fetch_add(1, std::memory_order_relaxed);
  sum_nanos_.fetch_add(static_cast<uint64_t>(std::max(0.0, seconds) * 1e9),
                       std::memory_order_relaxed);
}

uint64_t Histogram::count() const {
  uint64_t total = 0;
  for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
  return total;
}

Counter& counter(std::string_view name, std::string_view help, std::string_view labels) {
  return find(registry().counters, name, help, labels);
}
Gauge& gauge(std::string_view name, std::string_view help, std::string_view labels) {
  return find(registry().gauges, name, help, labels);
}
Histogram& histogram(std::string_view name, std::string_view help, std::string_view labels) {
  return find(registry().histograms, name, help, labels);
}

std::string render() {
  auto& all = registry();
  const std::lock_guard lock(all.mutex);
  std::string out;
  auto head = [&out](const std::string& name, const std::string& help, std::string_view type) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  };
  for (const auto& [name, family] : all.counters) {
    head(name, family.help, "counter");
    for (const auto& [labels, metric] : family.by_labels)
      out += fmt::format("{}{} {}\n", name, braces(labels), metric->value());
  }
  for (const auto& [name, family] : all.gauges) {
    head(name, family.help, "gauge");
    for (const auto& [labels, metric] : family.by_labels)
      out += fmt::format("{}{} {}\n", name, braces(labels), metric->value());
  }
  for (const auto& [name, family] : all.histograms) {
    head(name, family.help, "histogram");
    for (const auto& [labels, metric] : family.by_labels)
      render_histogram(out, name, labels, *metric);
  }
  return out;
}

}  // namespace forerun::metrics
