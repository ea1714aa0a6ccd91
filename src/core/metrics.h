// Counters, gauges and histograms that /metrics prints in the Prometheus text format. The one kind
// of global that the house allows. Thread-safe; an increment is one relaxed atomic add.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace forerun::metrics {

class Counter {
 public:
  void add(uint64_t amount = 1) { value_.fetch_add(amount, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(int64_t amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// Time spans in seconds, in fixed buckets from 10 µs to 10 s, three a decade.
class Histogram {
 public:
  static constexpr std::array<double, 19> kBounds = {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3,
                                                     2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2e-1,
                                                     5e-1, 1,    2,    5,    10};
  void observe(double seconds);
  uint64_t count() const;
  double sum() const {
    return static_cast<double>(sum_nanos_.load(std::memory_order_relaxed)) * 1e-9;
  }
  uint64_t bucket(size_t index) const { return buckets_[index].load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> buckets_{};
  std::atomic<uint64_t> sum_nanos_{0};
};

// Return the metric of this name and label set, created at first use and never destroyed. `labels`
// is the inside of the braces: `outcome="hit"`. Names begin with forerun_, counters end in _total.
// Look up once, keep the reference.
Counter& counter(std::string_view name, std::string_view help, std::string_view labels = "");
Gauge& gauge(std::string_view name, std::string_view help, std::string_view labels = "");
Histogram& histogram(std::string_view name, std::string_view help, std::string_view labels = "");

// Returns all metrics in the Prometheus text exposition format 0.0.4.
std::string render();

}  // namespace forerun::metrics
