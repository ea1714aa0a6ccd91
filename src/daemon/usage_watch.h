// Looks every 10 s at how the host and its VMs are used, and keeps it (store/history_store).
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/time.h"
#include "store/history_store.h"
#include "telemetry/usage.h"

namespace forerun::daemon {

// A VM as it is watched.
struct WatchedVm {
  std::string name;
  int pid = 0;                                 // of its QEMU; 0: a disk only
  uint64_t read_bytes = 0, written_bytes = 0;  // of its disk, since it runs
  double stall_seconds = 0;                    // that its reads waited for what was not here
};

// Thread-safe.
class UsageWatch {
 public:
  static constexpr Nanos kRound = std::chrono::seconds(10);
  static constexpr size_t kMetricsPerPushMax = 64;

  using ListVms = std::function<std::vector<WatchedVm>()>;
  // `root`: of /proc; empty: the host's. `history` outlives this object.
  UsageWatch(std::string root, const Clock& clock, std::function<int64_t()> unix_seconds,
             store::HistoryStore& history, ListVms list_vms);
  ~UsageWatch();
  // Begins to do a round every kRound, on a thread of its own.
  void start();
  // One round: what was used since the last one is kept as the 10 s that it ends in.
  void step();
  // Values of a VM's own metrics, for the round that is under way; those of one metric are
  // averaged. ERRORS: kInvalid: a metric that is none, one that is measured here, a value that is
  // not finite; kTooLarge.
  Status push(const std::string& vm, const std::vector<std::pair<std::string, double>>& values);

 private:
  struct Seen {
    telemetry::ProcessCounters process;
    WatchedVm vm;
  };
  struct Pushed {
    double sum = 0, max = 0;
    uint32_t count = 0;
  };
  void run();
  std::optional<telemetry::HostCounters> read_host() const;
  telemetry::ProcessCounters read_process(int pid) const;
  void add(const telemetry::SeriesName& name, double mean, double max,
           std::vector<telemetry::HistoryPoint>& points);
  // What the VMs of a round waited for CPUs, together.
  struct Waits {
    double vcpus = 0, vcpu_ratio_sum = 0, vcpu_ratio_most = 0;
    double missed_cores = 0;  // that they would have run besides, had they not waited
  };
  void add_vm(const WatchedVm& vm, double seconds, Waits& waits,
              std::vector<telemetry::HistoryPoint>& points);
  void add_host(const telemetry::HostCounters& host, double seconds, const Waits& waits,
                std::vector<telemetry::HistoryPoint>& points);
  std::string text_of(const std::string& path) const;

  const std::string root_;
  const Clock& clock_;
  const std::function<int64_t()> unix_seconds_;
  store::HistoryStore& history_;
  const ListVms list_vms_;

  std::mutex step_mutex_;  // guards the next four
  std::optional<telemetry::HostCounters> host_;
  std::map<std::string, Seen> vms_;
  Time seen_at_{};
  bool is_failing_ = false;  // the history takes nothing; said once

  std::mutex mutex_;  // guards the below
  std::map<telemetry::SeriesName, Pushed> pushed_;
  bool is_stopping_ = false;
  std::condition_variable stop_changed_;
  std::jthread thread_;
};

}  // namespace forerun::daemon
