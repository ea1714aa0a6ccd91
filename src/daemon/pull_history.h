// What a guest asked for at the host that it left, as a guess at what it asks for now: in the order
// that followed then, while it does the same again; else what it used last. Whether that is worth
// anything is measured: by what it uses again, against what chance would hit.
#pragma once

#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "disk/request_log.h"

namespace forerun::daemon {

// One thread.
class PullHistory {
 public:
  // `before`: oldest first. So many blocks are at the other host; `is_remote` says of which
  // requests. It is not called later.
  PullHistory(std::vector<disk::LoggedRequest> before, uint64_t remote_blocks,
              const std::function<bool(const disk::LoggedRequest&)>& is_remote);

  const std::vector<disk::LoggedRequest>& requests() const { return before_; }
  // The guest asked for this now, and it is remote or not.
  void see(const disk::LoggedRequest& request, bool is_remote);
  // Whether the guest uses again what it used: twice as often as by chance, and not seldom.
  bool is_useful() const { return reuse_ >= kReuseMin && reuse_ >= 2 * covered_; }
  // Returns what is to be wished for next, the same until pop(); nothing: all was, or not now.
  std::optional<disk::LoggedRequest> next();
  void pop();

  double reuse() const { return reuse_; }      // share of late requests that began where one did
  double covered() const { return covered_; }  // share of what is remote that was asked for
  bool is_following() const { return follows_ >= 0.5; }

 private:
  void measure(uint64_t remote_blocks,
               const std::function<bool(const disk::LoggedRequest&)>& is_remote);
  void anchor(uint32_t place);

  static constexpr double kReuseMin = 0.1;

  const std::vector<disk::LoggedRequest> before_;
  std::unordered_map<uint64_t, uint32_t> last_place_;  // in before_, by first block
  double reuse_ = 0, covered_ = 0;
  double follows_ = 0;        // share of late requests that came where the order then said
  uint32_t anchor_ = 0;       // place behind the guest's last request, in the order of then
  uint32_t ahead_ = 0;        // wishes of that order go on here
  uint32_t newest_left_ = 0;  // wishes by age: so many are left
};

}  // namespace forerun::daemon
