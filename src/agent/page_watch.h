// Watches which memory one process touches: Referenced bits and soft-dirty bits are cleared, and
// read a while later; page faults, which the first write to each cleared page is, are sampled in
// their order. What the kernel has not is done without, and said.
// SOURCE: Linux Documentation/admin-guide/mm/{soft-dirty,pagemap}.rst, perf_event_open(2).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/time.h"
#include "os/file.h"
#include "telemetry/access_pattern.h"
#include "telemetry/profile.h"

namespace forerun::agent {

// What the kernel can do, tried once.
struct PageSources {
  bool referenced = false;  // clear_refs and smaps_rollup
  bool soft_dirty = false;
  bool faults = false;
  std::string why_not;  // of the first that is missing; empty: all are there
};
PageSources probe_page_sources();

// One thread. One window at a time.
class PageWatch {
 public:
  static constexpr uint64_t kRssBytesMax = 2ull << 30;  // larger processes are left alone
  static constexpr size_t kThreadsMax = 4;              // whose faults are sampled
  static constexpr size_t kPastsMax = 4;                // processes whose last window is kept
  static constexpr size_t kRingPages = 16;              // of each: 4096 faults
  static constexpr size_t kPagemapEntriesMax = 32768;   // read for soft-dirty bits: 128 MiB
  // What a write fault on a write-protected page costs the process, about.
  static constexpr Nanos kFaultCost = std::chrono::microseconds(1);

  explicit PageWatch(PageSources sources);
  ~PageWatch();
  PageWatch(const PageWatch&) = delete;
  PageWatch& operator=(const PageWatch&) = delete;

  struct Target {
    int pid = 0;
    uint64_t start_ticks = 0;
    std::string name;
    uint64_t minor_faults = 0;
    bool operator==(const Target&) const = default;
  };

  const PageSources& sources() const { return sources_; }
  bool is_open() const { return target_.has_value(); }
  // Returns when a window of the process began, as far as it is remembered; Time{} if never.
  Time last_watched(const Target& target) const;
  // Begins a window; nothing happens if the process is gone.
  void begin(const Target& target, Time now);
  // Ends it and puts what was seen into `profile`. Returns what the watching cost the process,
  // about.
  Nanos end(Time now, telemetry::Profile& profile);

 private:
  struct Ring;
  // What a process did in its last window.
  struct Past {
    int pid = 0;
    uint64_t start_ticks = 0;
    Time begun{};
    telemetry::AccessObserver observer;
    std::optional<uint64_t> referenced_bytes;
  };
  Past& past_of(const Target& target);
  void open_rings(int pid);
  void add_working_set(double window_s, uint64_t dirty_pages, telemetry::Profile& profile);
  void add_pattern(const std::vector<telemetry::PageNumber>& faults,
                   const std::vector<telemetry::PageNumber>& dirty, telemetry::Profile& profile);

  PageSources sources_;
  std::optional<Target> target_;
  Time begun_{};
  std::vector<std::unique_ptr<Ring>> rings_;
  std::vector<std::unique_ptr<Past>> pasts_;
  Past* past_ = nullptr;  // of the target
};

// Returns the field of smaps_rollup in bytes, or nothing.
std::optional<uint64_t> smaps_bytes(std::string_view text, std::string_view field);

}  // namespace forerun::agent
