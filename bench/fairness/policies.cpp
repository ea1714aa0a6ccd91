#include "policies.h"

#include <deque>
#include <map>

namespace forerun::bench {
namespace {

using iosched::Request;
using iosched::Share;

class Forerun final : public Policy {
 public:
  void set_share(VmId vm, const Share& share) override {
    scheduler_.set_share(vm, share, kTimeZero);
  }
  void push(const Request& request, Time now) override { scheduler_.push(request, now); }
  std::optional<Request> pull(Time now) override { return scheduler_.pull(now); }
  Time ready_at(Time now) override { return scheduler_.ready_at(now); }
  void on_complete(const Request& request, Time now) override {
    scheduler_.on_complete(request.key, request.bytes, now);
  }

 private:
  iosched::Scheduler scheduler_{{.in_flight_max = kDepth}};
};

// What the others share: a line for each VM, and a count of what is in flight.
class ByVm : public Policy {
 public:
  void set_share(VmId vm, const Share& share) override { shares_[vm.value] = share; }
  void push(const Request& request, Time) override { lines_[request.vm.value].push_back(request); }
  std::optional<Request> pull(Time now) override {
    if (in_flight_ >= kDepth) return std::nullopt;
    const auto line = choose(now);
    if (line == lines_.end()) return std::nullopt;
    const Request request = line->second.front();
    line->second.pop_front();
    if (line->second.empty()) lines_.erase(line);
    ++in_flight_;
    return request;
  }
  Time ready_at(Time) override { return kTimeNever; }
  void on_complete(const Request&, Time) override { --in_flight_; }

 protected:
  using Lines = std::map<uint32_t, std::deque<Request>>;
  virtual Lines::iterator choose(Time now) = 0;

  Lines lines_;  // none of them empty
  std::map<uint32_t, Share> shares_;
  uint32_t in_flight_ = 0;
};

class Fifo final : public ByVm {
  Lines::iterator choose(Time) override {
    return std::min_element(lines_.begin(), lines_.end(), [](const auto& a, const auto& b) {
      return a.second.front().key < b.second.front().key;
    });
  }
};

class Priority final : public ByVm {
  Lines::iterator choose(Time) override { return lines_.empty() ? lines_.end() : --lines_.end(); }
};

class Drr final : public ByVm {
  Lines::iterator choose(Time) override {
    if (lines_.empty()) return lines_.end();
    auto at = lines_.lower_bound(turn_);
    for (;; ++at) {
      if (at == lines_.end()) at = lines_.begin();
      if (at->first != turn_ || !has_turn_) {
        turn_ = at->first;
        has_turn_ = true;
        deficit_[turn_] += 655.36 * shares_[turn_].weight;
      }
      const double bytes = at->second.front().bytes;
      if (deficit_[turn_] >= bytes) {
        deficit_[turn_] -= bytes;
        if (at->second.size() == 1) deficit_[turn_] = 0, has_turn_ = false;
        return at;
      }
      has_turn_ = false;
      if (lines_.size() == 1) continue;
    }
  }
  std::map<uint32_t, double> deficit_;
  uint32_t turn_ = 0;
  bool has_turn_ = false;
};

class MClock final : public Policy {
 public:
  void set_share(VmId vm, const Share& share) override { vms_[vm.value].share = share; }
  void push(const Request& request, Time now) override {
    Vm& vm = vms_[request.vm.value];
    const double t = to_seconds(now - kTimeZero), bytes = request.bytes;
    const Share& share = vm.share;
    if (vm.line.empty()) {  // it was idle: its weight tag is brought level with the others'
      double least = 1e300;
      for (const auto& [id, other] : vms_)
        if (!other.line.empty()) least = std::min(least, other.line.front().weight);
      vm.weight = least < 1e300 ? std::max(vm.weight, least) : vm.weight;
    }
    vm.weight += bytes / share.weight;
    vm.reserved = share.reserved_bytes_per_s > 0
                      ? std::max(vm.reserved + bytes / share.reserved_bytes_per_s, t)
                      : 1e300;
    vm.limit =
        share.limit_bytes_per_s > 0 ? std::max(vm.limit + bytes / share.limit_bytes_per_s, t) : 0;
    vm.line.push_back({request, vm.reserved, vm.limit, vm.weight});
  }
  std::optional<Request> pull(Time now) override {
    if (in_flight_ >= kDepth) return std::nullopt;
    const double t = to_seconds(now - kTimeZero);
    Vm* chosen = nullptr;
    for (auto& [id, vm] : vms_)
      if (!vm.line.empty() && vm.line.front().reserved <= t &&
          (chosen == nullptr || vm.line.front().reserved < chosen->line.front().reserved))
        chosen = &vm;
    const bool by_weight = chosen == nullptr;
    for (auto& [id, vm] : vms_)
      if (by_weight && !vm.line.empty() && vm.line.front().limit <= t &&
          (chosen == nullptr || vm.line.front().weight < chosen->line.front().weight))
        chosen = &vm;
    if (chosen == nullptr) return std::nullopt;
    const Request request = chosen->line.front().request;
    chosen->line.pop_front();
    if (by_weight && chosen->share.reserved_bytes_per_s > 0) {
      const double back = request.bytes / chosen->share.reserved_bytes_per_s;
      for (Tagged& tagged : chosen->line) tagged.reserved -= back;
      chosen->reserved -= back;
    }
    ++in_flight_;
    return request;
  }
  Time ready_at(Time now) override {
    if (in_flight_ >= kDepth) return kTimeNever;
    double at = 1e300;
    for (const auto& [id, vm] : vms_)
      if (!vm.line.empty()) at = std::min({at, vm.line.front().reserved, vm.line.front().limit});
    return at >= 1e9 ? kTimeNever : std::max(kTimeZero + from_seconds(at), now + Nanos{1});
  }
  void on_complete(const Request&, Time) override { --in_flight_; }

 private:
  struct Tagged {
    Request request;
    double reserved = 0, limit = 0, weight = 0;
  };
  struct Vm {
    Share share;
    std::deque<Tagged> line;
    double reserved = 0, limit = 0, weight = 0;
  };
  std::map<uint32_t, Vm> vms_;
  uint32_t in_flight_ = 0;
};

}  // namespace

std::unique_ptr<Policy> make_policy(std::string_view name) {
  if (name == "forerun") return std::make_unique<Forerun>();
  if (name == "fifo") return std::make_unique<Fifo>();
  if (name == "priority") return std::make_unique<Priority>();
  if (name == "drr") return std::make_unique<Drr>();
  FR_ASSERT(name == "mclock");
  return std::make_unique<MClock>();
}

}  // namespace forerun::bench
