// What other VMs' disk I/O costs a VM that reads: iosched::SlotQueue, as the daemon's gate has it,
// before a disk of virtual time; and without, where requests go as they come. Then what a turn at
// an idle gate costs in real time. Writes JSON.
#include <boost/json.hpp>
#include <deque>
#include <fstream>
#include <queue>

#include "daemon/disk_gate.h"
#include "iosched/flush_watch.h"
#include "os/clock.h"

namespace json = boost::json;
using namespace forerun;
using iosched::IoClass;

namespace {

constexpr uint32_t kPlaces = 8;
constexpr Nanos kEnd = 20s;
constexpr uint32_t kVictim = 1;

// A disk of eight channels, each 80 us a request and 100 MB/s.
Nanos service_time(uint32_t bytes) { return 80us + from_seconds(bytes / 100e6); }

struct Others {
  const char* name;
  uint32_t vms = 0, depth = 0, bytes = 0;
  bool writes = false;  // without flushes; else they read
};
const std::vector<Others> kOthers{{"alone"},
                                  {"streaming_writers", 3, 32, 256 * 1024, true},
                                  {"large_readers", 3, 32, 256 * 1024, false},
                                  {"small_readers", 3, 32, 4096, false}};

class Disk {
 public:
  Disk(const Others& others, bool has_gate) : others_(others), has_gate_(has_gate) {}

  json::object run() {
    for (uint32_t vm = 0; vm < others_.vms; ++vm)
      for (uint32_t i = 0; i < others_.depth; ++i) ask(kVictim + 1 + vm, others_.bytes);
    ask(kVictim, 4096);
    while (now_ < kTimeZero + kEnd) {
      start();
      const Time next = working_.empty() ? victim_at_ : std::min(working_.top().end, victim_at_);
      now_ = next;
      if (victim_at_ <= now_) {
        victim_at_ = kTimeNever;
        ask(kVictim, 4096);
      }
      while (!working_.empty() && working_.top().end <= now_) finish();
    }
    std::ranges::sort(ms_);
    return {{"reads", ms_.size()},
            {"p50_ms", ms_[ms_.size() / 2]},
            {"p99_ms", ms_[ms_.size() * 99 / 100]},
            {"others_bytes_per_s", static_cast<double>(others_bytes_) / to_seconds(kEnd)}};
  }

 private:
  struct Asked {
    uint32_t vm = 0, bytes = 0;
    IoClass io_class = IoClass::kCritical;
    Time at{}, end{};
    bool operator>(const Asked& other) const { return end > other.end; }
  };
  void ask(uint32_t vm, uint32_t bytes) {
    Asked asked{vm, bytes, IoClass::kCritical, now_, {}};
    if (vm != kVictim && others_.writes) asked.io_class = watch_.on_write();
    if (!has_gate_) return line_.push_back(asked);
    const uint64_t key = next_key_++;
    waiting_.emplace(key, asked);
    queue_.push({key, asked.io_class, VmId{vm}, bytes, now_}, now_);
  }
  std::optional<Asked> next() {
    if (!has_gate_) {
      if (line_.empty() || working_.size() >= kPlaces) return std::nullopt;
      const Asked asked = line_.front();
      line_.pop_front();
      return asked;
    }
    const auto request = queue_.pull(static_cast<uint32_t>(working_.size()), below_, now_);
    return request ? std::optional(waiting_.extract(request->key).mapped()) : std::nullopt;
  }
  void start() {
    while (auto asked = next()) {
      below_ += asked->io_class == IoClass::kCritical ? 0 : 1;
      asked->end = now_ + service_time(asked->bytes);
      working_.push(*asked);
    }
  }
  void finish() {
    const Asked asked = working_.top();
    working_.pop();
    below_ -= asked.io_class == IoClass::kCritical ? 0 : 1;
    if (asked.vm == kVictim) {
      ms_.push_back(to_seconds(now_ - asked.at) * 1e3);
      victim_at_ = now_ + 500us;
    } else {
      others_bytes_ += asked.bytes;
      ask(asked.vm, asked.bytes);
    }
  }

  const Others others_;
  const bool has_gate_;
  iosched::SlotQueue queue_{{.places = kPlaces}};
  iosched::FlushWatch watch_;
  std::deque<Asked> line_;
  std::unordered_map<uint64_t, Asked> waiting_;
  std::priority_queue<Asked, std::vector<Asked>, std::greater<>> working_;
  Time now_ = kTimeZero, victim_at_ = kTimeNever;
  uint64_t next_key_ = 1, others_bytes_ = 0;
  uint32_t below_ = 0;
  std::vector<double> ms_;
};

double idle_turn_ns() {
  const os::SystemClock clock;
  daemon::DiskGate gate({}, clock);
  constexpr int kTurns = 5'000'000;
  double least = 1e9;
  for (int round = 0; round < 5; ++round) {
    const Time begin = clock.now();
    for (int i = 0; i < kTurns; ++i)
      const daemon::DiskGate::Turn turn(gate, VmId{1}, IoClass::kCritical, 4096);
    least = std::min(least, to_seconds(clock.now() - begin) * 1e9 / kTurns);
  }
  return least;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: gate_bench OUT.json [COMMIT]\n");
    return 2;
  }
  json::object beside;
  for (const Others& others : kOthers)
    beside[others.name] = {{"without", Disk(others, false).run()},
                           {"gate", Disk(others, true).run()}};
  const json::object all{{"bench", "gate"},
                         {"commit", argc > 2 ? argv[2] : ""},
                         {"time", "virtual, but for idle_turn_ns"},
                         {"places", kPlaces},
                         {"idle_turn_ns", idle_turn_ns()},
                         {"beside", std::move(beside)}};
  std::ofstream(argv[1]) << json::serialize(all) << "\n";
}
