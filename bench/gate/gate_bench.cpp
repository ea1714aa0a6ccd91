// What other VMs' disk I/O costs a VM that reads, and what they lose by it: iosched::SlotQueue, as
// the daemon's gate has it, before a disk of virtual time; and without, where requests go as they
// come. Then what a turn at an idle gate costs in real time. Writes JSON.
#include <boost/json.hpp>
#include <deque>
#include <fstream>
#include <map>
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

// A disk of eight channels, each 80 us a request and 100 MB/s.
Nanos service_time(uint32_t bytes) { return 80us + from_seconds(bytes / 100e6); }

struct Others {
  const char* name;
  uint32_t vms = 0, depth = 0, bytes = 0;
  bool writes = false;   // without flushes; else they read
  uint32_t victims = 1;  // each reads 4 KiB after 4 KiB …
  Nanos victim_pause = 500us;
  double reserved = 0, limit = 0;  // of the first of the others, bytes a second
};
const std::vector<Others> kOthers{
    {"alone"},
    {"streaming_writers", 3, 32, 256 * 1024, true},
    {"large_readers", 3, 32, 256 * 1024, false},
    {"small_readers", 3, 32, 4096, false},
    {"large_readers_three_victims", 3, 32, 256 * 1024, false, 3},
    {"large_readers_victim_each_2s", 3, 32, 256 * 1024, false, 1, 2s},
    {"streaming_writers_nobody_reads", 3, 32, 256 * 1024, true, 0},
    {"large_readers_nobody_else", 3, 32, 256 * 1024, false, 0},
    {"one_has_reserved", 3, 32, 256 * 1024, false, 1, 500us, 500e6},
    {"one_has_a_limit", 3, 32, 256 * 1024, false, 1, 500us, 0, 50e6},
};

class Disk {
 public:
  Disk(const Others& others, bool has_gate) : others_(others), has_gate_(has_gate) {}

  json::object run() {
    if (others_.vms > 0)
      queue_.set_share(
          VmId{kFirstOther},
          {.reserved_bytes_per_s = others_.reserved, .limit_bytes_per_s = others_.limit}, now_);
    for (uint32_t vm = 0; vm < others_.vms; ++vm)
      for (uint32_t i = 0; i < others_.depth; ++i) ask(kFirstOther + vm, others_.bytes);
    for (uint32_t vm = 1; vm <= others_.victims; ++vm) victims_.push({kTimeZero + vm * 100us, vm});
    while (now_ < kTimeZero + kEnd) {
      start();
      Time next = has_gate_ ? queue_.released_at(now_) : kTimeNever;
      if (!working_.empty()) next = std::min(next, working_.top().end);
      if (!victims_.empty()) next = std::min(next, victims_.top().first);
      now_ = next;
      while (!victims_.empty() && victims_.top().first <= now_) {
        ask(victims_.top().second, 4096);
        victims_.pop();
      }
      while (!working_.empty() && working_.top().end <= now_) finish();
    }
    uint64_t others_bytes = 0;
    for (const auto& [vm, bytes] : others_bytes_) others_bytes += bytes;
    json::object figures{
        {"others_bytes_per_s", static_cast<double>(others_bytes) / to_seconds(kEnd)},
        {"first_other_bytes_per_s",
         static_cast<double>(others_bytes_[kFirstOther]) / to_seconds(kEnd)}};
    if (ms_.empty()) return figures;
    std::ranges::sort(ms_);
    figures["reads"] = ms_.size();
    figures["p50_ms"] = ms_[ms_.size() / 2];
    figures["p99_ms"] = ms_[ms_.size() * 99 / 100];
    figures["most_ms"] = ms_.back();
    return figures;
  }

 private:
  static constexpr uint32_t kFirstOther = 100;
  struct Asked {
    uint32_t vm = 0, bytes = 0, left = 0, turn = 0;  // bytes in all, not yet served, under way
    IoClass io_class = IoClass::kCritical;
    Time at{}, end{};
    bool operator>(const Asked& other) const { return end > other.end; }
  };
  void ask(uint32_t vm, uint32_t bytes) {
    Asked asked{vm, bytes, bytes, 0, IoClass::kCritical, now_, {}};
    if (vm >= kFirstOther && others_.writes) asked.io_class = watch_.on_write();
    line_up(asked);
  }
  // A long request takes its turns as daemon::GatedFile does.
  void line_up(Asked asked) {
    asked.turn = asked.left;
    if (!has_gate_) return line_.push_back(asked);
    if (queue_.is_watchful(now_))
      asked.turn = std::min<uint32_t>(asked.left, daemon::DiskGate::kSliceBytes);
    const uint64_t key = next_key_++;
    waiting_.emplace(key, asked);
    queue_.push({key, asked.io_class, VmId{asked.vm}, asked.turn, now_}, now_);
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
      asked->end = now_ + service_time(asked->turn);
      working_.push(*asked);
    }
  }
  void finish() {
    Asked asked = working_.top();
    working_.pop();
    below_ -= asked.io_class == IoClass::kCritical ? 0 : 1;
    if (has_gate_) queue_.on_end(VmId{asked.vm}, asked.io_class, now_);
    asked.left -= asked.turn;
    if (asked.left > 0) return line_up(asked);
    if (asked.vm < kFirstOther) {
      ms_.push_back(to_seconds(now_ - asked.at) * 1e3);
      victims_.push({now_ + others_.victim_pause, asked.vm});
    } else {
      others_bytes_[asked.vm] += asked.bytes;
      ask(asked.vm, asked.bytes);
    }
  }

  template <class T>
  using Earliest = std::priority_queue<T, std::vector<T>, std::greater<>>;
  const Others others_;
  const bool has_gate_;
  iosched::SlotQueue queue_{{.places = kPlaces}};
  iosched::FlushWatch watch_;
  std::deque<Asked> line_;
  std::unordered_map<uint64_t, Asked> waiting_;
  Earliest<Asked> working_;
  Earliest<std::pair<Time, uint32_t>> victims_;  // when each reads again
  Time now_ = kTimeZero;
  uint64_t next_key_ = 1;
  std::map<uint32_t, uint64_t> others_bytes_;  // of each VM
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
      const daemon::DiskGate::Turn turn(gate, {VmId{1}, IoClass::kCritical, 4096});
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
  double alone_ms = 0;
  for (const Others& others : kOthers) {
    json::object without = Disk(others, false).run(), gate = Disk(others, true).run();
    if (others.vms == 0) alone_ms = gate["p99_ms"].as_double();
    json::object ratios;  // to alone, to without
    for (const auto& [name, figures] : {std::pair{"without", &without}, std::pair{"gate", &gate}})
      if (figures->contains("p99_ms"))
        ratios[fmt::format("p99_{}", name)] = (*figures)["p99_ms"].as_double() / alone_ms;
    if (others.vms > 0)
      ratios["others_kept"] =
          gate["others_bytes_per_s"].as_double() / without["others_bytes_per_s"].as_double();
    fmt::print("{:<32} {}\n", others.name, json::serialize(ratios));
    beside[others.name] = {
        {"without", std::move(without)}, {"gate", std::move(gate)}, {"ratios", std::move(ratios)}};
  }
  const json::object all{{"bench", "gate"},
                         {"commit", argc > 2 ? argv[2] : ""},
                         {"time", "virtual, but for idle_turn_ns"},
                         {"places", kPlaces},
                         {"idle_turn_ns", idle_turn_ns()},
                         {"beside", std::move(beside)}};
  std::ofstream(argv[1]) << json::serialize(all) << "\n";
}
