// What a guest waits for while its disk is pulled after it: PullQueue, PullGuide and Overlay as the
// daemon has them, over a link of virtual time, so that a figure is theirs and not the machine's.
// A guest that reads in a loop, by several patterns; three ways to pull: only what it waits for;
// that and the rest in the background; that and what is foreseen. Writes JSON.
//
// `foreseen`: reads of what was wished for before they came. `in_time`: those of them that a link
// that carried nothing but what was waited for and wished for, in that order, would have brought.
#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <queue>

#include "core/log.h"
#include "core/rng.h"
#include "daemon/pull_guide.h"
#include "disk/crashable_folder.h"
#include "disk/pull_queue.h"

namespace json = boost::json;
using namespace forerun;
using disk::kOverlayBlockSize;
using disk::LoggedRequest;
using iosched::IoClass;

namespace {

constexpr uint64_t kDiskBlocks = 32 * 1024;  // 128 MiB, all of it at the other host
constexpr uint32_t kReadBlocks = 4;
constexpr Nanos kLocalRead = 100us;
constexpr Nanos kThink = 1ms;
constexpr Nanos kEnd = 60s;

struct Link {
  const char* name;
  double bytes_per_s;
  Nanos one_way;
};
const std::vector<Link> kLinks{{"200mbit_2ms", 25e6, 2ms}, {"100mbit_5ms", 12.5e6, 5ms}};

enum class Way { kOnDemand, kBackground, kForeseen };
const std::vector<std::pair<const char*, Way>> kWays{
    {"on_demand", Way::kOnDemand}, {"background", Way::kBackground}, {"foreseen", Way::kForeseen}};

// Where a guest reads next.
class Pattern {
 public:
  Pattern(std::string_view name, uint64_t seed) : name_(name), rng_(seed), places_(seed) {
    for (uint64_t& place : hot_) place = places_.below(kDiskBlocks - kReadBlocks);
  }
  uint64_t next() {
    const uint64_t i = count_++;
    if (name_ == "sequential") return i * kReadBlocks % (kDiskBlocks - kReadBlocks);
    if (name_ == "strided") return i * 37 % (kDiskBlocks - kReadBlocks);
    if (name_ == "working_set") return hot_[rng_.below(hot_.size())];
    // A file that is read through beside a working set.
    if (name_ == "mixed")
      return i % 2 == 0 ? i / 2 * kReadBlocks % (kDiskBlocks - kReadBlocks)
                        : hot_[rng_.below(hot_.size() / 2)];
    // A chain: always the same way around 1500 places, as an index is walked.
    if (name_ == "chain") return hot_[i % 1500];
    return rng_.below(kDiskBlocks - kReadBlocks);
  }

 private:
  const std::string_view name_;
  Rng rng_, places_;
  std::array<uint64_t, 2000> hot_{};
  uint64_t count_ = 0;
};
const std::vector<const char*> kPatterns{"sequential", "strided", "working_set",
                                         "chain",      "mixed",   "random"};

struct Figures {
  std::vector<double> ms, foreseen_ms, in_time_ms;  // of reads until the pull ended, or for kEnd
  uint64_t waited = 0;
  double pull_s = 0;  // 0: did not end
  double reads_per_s = 0;
};

struct Coming {
  Time at{};
  disk::PullTask task;
  bool operator>(const Coming& other) const { return at > other.at; }
};

// The other host and the link from it, as net/peer_mux and a connection that keeps little unsent
// have it: answers go in frames, those that a guest waits for ahead of the others.
class Wire {
 public:
  explicit Wire(const Link& link) : link_(link) {}
  void ask(const disk::PullTask& task, Time now) {
    const bool is_urgent = task.io_class == IoClass::kCritical;
    answers_[is_urgent ? 0 : 1].push({now + link_.one_way, task, task.range.length});
  }
  // Returns when something happens next.
  Time next() const {
    const Time sends = next_frame();
    return coming_.empty() ? sends : std::min(sends, coming_.top().at);
  }
  // Returns what has come.
  std::optional<disk::PullTask> receive(Time now) {
    for (Time at = next_frame(); at <= now; at = next_frame()) send_frame(at);
    if (coming_.empty() || coming_.top().at > now) return std::nullopt;
    const disk::PullTask task = coming_.top().task;
    coming_.pop();
    return task;
  }

 private:
  static constexpr uint64_t kFrame = 8 * kKiB, kUnsent = 2 * kFrame;
  struct Answer {
    Time at{};
    disk::PullTask task;
    uint64_t left = 0;
  };
  Nanos time_of(uint64_t bytes) const {
    return from_seconds(static_cast<double>(bytes) / link_.bytes_per_s);
  }
  Time next_frame() const {
    Time at = kTimeNever;
    for (const auto& queue : answers_)
      if (!queue.empty()) at = std::min(at, queue.front().at);
    return at == kTimeNever ? at : std::max(at, free_at_ - time_of(kUnsent));
  }
  void send_frame(Time at) {
    auto& queue = !answers_[0].empty() && answers_[0].front().at <= at ? answers_[0] : answers_[1];
    Answer& answer = queue.front();
    const uint64_t bytes = std::min(answer.left, kFrame);
    free_at_ = std::max(free_at_, at) + time_of(bytes);
    answer.left -= bytes;
    if (answer.left > 0) return;
    coming_.push({free_at_ + link_.one_way, answer.task});
    queue.pop();
  }

  const Link link_;
  std::array<std::queue<Answer>, 2> answers_;
  std::priority_queue<Coming, std::vector<Coming>, std::greater<>> coming_;
  Time free_at_ = kTimeZero;
};

// When each block would have come, had the link carried nothing but these.
class Ideal {
 public:
  explicit Ideal(const Link& link) : link_(link) {}
  void add(ByteRange range, Time now) {
    for (uint64_t at = range.offset; at < range.end(); at += kOverlayBlockSize) {
      Time& comes = comes_[at / kOverlayBlockSize];
      if (comes != kTimeNever) continue;
      free_at_ = std::max(free_at_, now + link_.one_way) +
                 from_seconds(kOverlayBlockSize / link_.bytes_per_s);
      comes = free_at_ + link_.one_way;
    }
  }
  bool has(ByteRange range, Time now) const {
    for (uint64_t at = range.offset; at < range.end(); at += kOverlayBlockSize)
      if (comes_[at / kOverlayBlockSize] > now) return false;
    return true;
  }

 private:
  const Link link_;
  std::vector<Time> comes_ = std::vector<Time>(kDiskBlocks, kTimeNever);
  Time free_at_ = kTimeZero;
};

class Run {
 public:
  Run(const Link& link, Way way, std::string_view pattern, uint64_t seed)
      : pattern_(pattern, seed), folder_(seed), wire_(link), ideal_(link) {
    constexpr uint64_t kBytes = kDiskBlocks * kOverlayBlockSize;
    overlay_ = disk::Overlay::open(folder_, "disk",
                                   {.size_bytes = kBytes, .base = sha256(as_bytes("image"))})
                   .value();
    overlay_->begin_pull(1, std::vector<disk::BlockRun>{{0, kDiskBlocks, disk::BlockState::kData}})
        .value();
    disk::PullQueue::Options options;
    options.has_background = way != Way::kOnDemand;
    queue_.emplace(options, *overlay_, kBytes);
    std::vector<LoggedRequest> before;
    for (int i = 0; i < 6000; ++i) before.push_back({pattern_.next(), kReadBlocks, false});
    if (way == Way::kForeseen)
      guide_.emplace(daemon::PullGuide::Options{}, *overlay_, std::move(before), now_);
  }

  Figures run() {
    const Time begin = now_;
    Time guest_at = now_, guide_at = now_, asked_at{};
    bool is_waiting = false;
    ByteRange wanted;
    while (now_ < begin + kEnd && overlay_->remote_blocks() > 0) {
      if (!is_waiting && now_ >= guest_at) {
        wanted = {pattern_.next() * kOverlayBlockSize, kReadBlocks * kOverlayBlockSize};
        asked_at = now_;
        was_foreseen_ = is_wished(wanted);
        was_in_time_ = was_foreseen_ && ideal_.has(wanted, now_);
        if (guide_) {
          queue_->follow(wanted);
          guide_->learn(LoggedRequest::of(wanted, false), now_);
        }
        is_waiting = true;
        if (!overlay_->next_remote(wanted).empty()) {
          ++figures_.waited;
          queue_->want(wanted, IoClass::kCritical, now_);
          ideal_.add(wanted, now_);
        }
      }
      if (is_waiting && overlay_->next_remote(wanted).empty()) {
        is_waiting = false;
        note(now_ + kLocalRead - asked_at);
        guest_at = now_ + kLocalRead + kThink;
        continue;
      }
      if (guide_ && now_ >= guide_at) {
        guide_->wish([this](ByteRange range, daemon::PullGuide::When when) {
          return wish(range, when == daemon::PullGuide::When::kSoon);
        });
        guide_->learn_before(128);
        guide_at = now_ + 2ms;
      }
      send();
      step(is_waiting ? kTimeNever : guest_at, guide_ ? guide_at : kTimeNever);
    }
    const double seconds = to_seconds(now_ - begin);
    if (overlay_->remote_blocks() == 0) figures_.pull_s = seconds;
    figures_.reads_per_s = static_cast<double>(figures_.ms.size()) / seconds;
    return std::move(figures_);
  }

 private:
  bool wish(ByteRange range, bool is_soon) {
    if (!(is_soon ? queue_->want(range, IoClass::kPrefetch, now_)
                  : queue_->want_sometime(range, now_)))
      return false;
    range = intersect(range, {0, kDiskBlocks * kOverlayBlockSize});
    ideal_.add(range, now_);
    for (uint64_t at = range.offset; at < range.end(); at += kOverlayBlockSize)
      wished_[at / kOverlayBlockSize] = true;
    return true;
  }
  bool is_wished(ByteRange range) const {
    for (uint64_t at = range.offset; at < range.end(); at += kOverlayBlockSize)
      if (!wished_[at / kOverlayBlockSize]) return false;
    return true;
  }
  void note(Nanos waited) {
    const double ms = to_seconds(waited) * 1e3;
    figures_.ms.push_back(ms);
    if (was_foreseen_) figures_.foreseen_ms.push_back(ms);
    if (was_in_time_) figures_.in_time_ms.push_back(ms);
  }
  void send() {
    while (const auto task = queue_->pull(now_)) wire_.ask(*task, now_);
  }
  void step(Time guest_at, Time guide_at) {
    now_ = std::max(now_, std::min({guest_at, guide_at, wire_.next()}));
    while (const auto task = wire_.receive(now_)) {
      data_.resize(task->range.length);
      overlay_->put_remote(task->range.offset, data_).value();
      queue_->on_complete(*task, true, now_);
    }
  }

  Pattern pattern_;
  disk::CrashableFolder folder_;
  std::unique_ptr<disk::Overlay> overlay_;
  std::optional<disk::PullQueue> queue_;
  std::optional<daemon::PullGuide> guide_;
  Wire wire_;
  Ideal ideal_;
  std::vector<bool> wished_ = std::vector<bool>(kDiskBlocks);
  Time now_ = kTimeZero + 1s;
  bool was_foreseen_ = false, was_in_time_ = false;
  Buffer data_;
  Figures figures_;
};

json::value percentile(std::vector<double> values, double p) {
  if (values.empty()) return nullptr;
  std::ranges::sort(values);
  const auto at = static_cast<size_t>(p * static_cast<double>(values.size()));
  return values[std::min(values.size() - 1, at)];
}

json::object describe(const Figures& figures) {
  return {{"reads", figures.ms.size()},
          {"waited_ratio",
           static_cast<double>(figures.waited) / static_cast<double>(figures.ms.size())},
          {"p50_ms", percentile(figures.ms, 0.5)},
          {"p99_ms", percentile(figures.ms, 0.99)},
          {"foreseen_reads", figures.foreseen_ms.size()},
          {"foreseen_p99_ms", percentile(figures.foreseen_ms, 0.99)},
          {"in_time_reads", figures.in_time_ms.size()},
          {"in_time_p99_ms", percentile(figures.in_time_ms, 0.99)},
          {"reads_per_s", figures.reads_per_s},
          {"pull_s", figures.pull_s}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: pull_bench OUT.json [COMMIT]\n");
    return 2;
  }
  log::set_level(log::Level::kError);
  json::object links;
  for (const Link& link : kLinks) {
    json::object patterns;
    for (const char* pattern : kPatterns) {
      json::object ways;
      for (const auto& [name, way] : kWays) ways[name] = describe(Run(link, way, pattern, 1).run());
      patterns[pattern] = std::move(ways);
    }
    links[link.name] = std::move(patterns);
  }
  const json::object all{{"bench", "pull"},
                         {"commit", argc > 2 ? argv[2] : ""},
                         {"time", "virtual"},
                         {"disk_bytes", kDiskBlocks * kOverlayBlockSize},
                         {"local_read_ms", to_seconds(kLocalRead) * 1e3},
                         {"links", std::move(links)}};
  std::ofstream(argv[1]) << json::serialize(all) << "\n";
}
