#include "telemetry/access_pattern.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

namespace forerun::telemetry {
namespace {

using Pages = std::vector<PageNumber>;

Pages sorted_set(std::span<const PageNumber> pages) {
  Pages set(pages.begin(), pages.end());
  std::sort(set.begin(), set.end());
  set.erase(std::unique(set.begin(), set.end()), set.end());
  return set;
}

// Differences of unsigned page numbers, told as signed; hostile numbers wrap and do no harm.
int64_t delta(PageNumber from, PageNumber to) { return static_cast<int64_t>(to - from); }

struct Mode {
  int64_t value = 0;
  double ratio = 0;
  double entropy_bits = 0;
};

Mode mode_of(const std::vector<int64_t>& values) {
  Mode mode;
  if (values.empty()) return mode;
  std::vector<int64_t> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const double count = static_cast<double>(sorted.size());
  size_t most = 0;
  for (size_t i = 0; i < sorted.size();) {
    size_t end = i;
    while (end < sorted.size() && sorted[end] == sorted[i]) ++end;
    const double share = static_cast<double>(end - i) / count;
    mode.entropy_bits -= share * std::log2(share);
    if (end - i > most) {
      most = end - i;
      mode.value = sorted[i];
    }
    i = end;
  }
  mode.ratio = static_cast<double>(most) / count;
  mode.entropy_bits = std::max(0.0, mode.entropy_bits);
  if (most == 1 && sorted.size() > 1) mode.value = 0;  // all differ: none is the commonest
  return mode;
}

double jaccard(const Pages& left, const Pages& right) {
  if (left.empty() && right.empty()) return 0;
  size_t both = 0;
  for (size_t i = 0, j = 0; i < left.size() && j < right.size();) {
    if (left[i] == right[j]) ++both;
    const bool step_left = left[i] <= right[j];
    const bool step_right = right[j] <= left[i];
    i += step_left;
    j += step_right;
  }
  return static_cast<double>(both) / static_cast<double>(left.size() + right.size() - both);
}

void add_set_features(const Pages& set, AccessFeatures& features) {
  if (set.empty()) return;
  std::vector<int64_t> gaps;
  size_t runs = 1;
  for (size_t i = 1; i < set.size(); ++i) {
    gaps.push_back(delta(set[i - 1], set[i]));
    runs += gaps.back() != 1;
  }
  features.run_pages = static_cast<double>(set.size()) / static_cast<double>(runs);
  const Mode mode = mode_of(gaps);
  features.gap_mode_pages = static_cast<uint64_t>(mode.value);
  features.gap_mode_ratio = mode.ratio;
}

// Streams of a constant delta, found in an interleaving of several: the last page of each, the
// least recently continued one replaced.
class Streams {
 public:
  static constexpr size_t kConfirmed = 4;  // accesses in line make a stream, not chance
  static constexpr int64_t kReachPages = 64;

  struct Found {
    int64_t delta = 0;  // 0: no stream
    uint32_t id = 0;
    bool is_confirmed = false;
  };

  Found place(PageNumber page) {
    ++clock_;
    if (Stream* stream = continued_by(page)) {
      stream->last = page;
      stream->used = clock_;
      ++stream->length;
      return {stream->delta, stream->id, stream->length >= kConfirmed};
    }
    if (Stream* stream = near(page)) {
      stream->delta = delta(stream->last, page);
      stream->last = page;
      stream->length = 2;
      stream->used = clock_;
      return {stream->delta, stream->id, false};
    }
    Stream& oldest = *std::min_element(streams_.begin(), streams_.end(),
                                       [](auto& a, auto& b) { return a.used < b.used; });
    oldest = {page, 0, 1, clock_, ++ids_};
    return {0, oldest.id, false};
  }

 private:
  struct Stream {
    PageNumber last = 0;
    int64_t delta = 0;
    size_t length = 0;
    uint64_t used = 0;
    uint32_t id = 0;
  };

  Stream* continued_by(PageNumber page) {
    Stream* best = nullptr;
    for (Stream& stream : streams_) {
      if (stream.delta == 0 || delta(stream.last, page) != stream.delta) continue;
      if (best == nullptr || stream.length > best->length) best = &stream;
    }
    return best;
  }

  // Returns the nearest stream that is not confirmed and may begin with this page as its second.
  Stream* near(PageNumber page) {
    Stream* best = nullptr;
    uint64_t distance = static_cast<uint64_t>(kReachPages) + 1;
    for (Stream& stream : streams_) {
      const int64_t away = delta(stream.last, page);
      if (stream.length == 0 || stream.length >= kConfirmed || away == 0) continue;
      if (away > kReachPages || away < -kReachPages) continue;
      const auto size = static_cast<uint64_t>(away < 0 ? -away : away);
      if (size < distance) {
        best = &stream;
        distance = size;
      }
    }
    return best;
  }

  std::array<Stream, 16> streams_{};
  uint64_t clock_ = 0;
  uint32_t ids_ = 0;
};

enum class Label : uint8_t { kNone, kSequential, kStride };

std::vector<Label> label_streams(std::span<const PageNumber> accesses) {
  std::vector<Label> labels(accesses.size(), Label::kNone);
  std::unordered_map<uint32_t, std::array<size_t, Streams::kConfirmed>> begun;  // by stream
  std::unordered_map<uint32_t, size_t> counts;
  Streams streams;
  for (size_t i = 0; i < accesses.size(); ++i) {
    const Streams::Found found = streams.place(accesses[i]);
    const bool is_next = found.delta == 1 || found.delta == -1;
    const Label label = is_next ? Label::kSequential : Label::kStride;
    size_t& count = counts[found.id];
    if (found.is_confirmed) {
      // Those that led to it are of it too.
      for (size_t k = 0; k < std::min(count, Streams::kConfirmed - 1); ++k)
        labels[begun[found.id][k]] = label;
      count = 0;
      labels[i] = label;
      continue;
    }
    auto& positions = begun[found.id];
    if (count == Streams::kConfirmed - 1) {
      std::rotate(positions.begin(), positions.begin() + 1, positions.end());
      --count;
    }
    positions[count++] = i;
  }
  return labels;
}

// Follows an order that was seen before, in earlier windows.
class Orders {
 public:
  static constexpr uint32_t kAhead = 4;    // steps that interleaved accesses may take up
  static constexpr size_t kRecentMax = 4;  // accesses that this one may follow

  enum class Answer : uint8_t { kNew, kFollows, kStrays };

  void learn(PageNumber page) { positions_[page] = static_cast<uint32_t>(count_++); }

  // Returns whether `page` comes soon after one of the last accesses, as it did before.
  Answer look(PageNumber page) {
    const auto own = positions_.find(page);
    Answer answer = Answer::kNew;
    for (const uint32_t recent : recent_) {
      if (recent == kUnseen) continue;
      if (answer == Answer::kNew) answer = Answer::kStrays;
      if (own == positions_.end()) continue;
      if (own->second - recent - 1 < kAhead) answer = Answer::kFollows;
    }
    recent_[next_++ % kRecentMax] = own == positions_.end() ? kUnseen : own->second;
    return answer;
  }

 private:
  static constexpr uint32_t kUnseen = UINT32_MAX;
  std::unordered_map<PageNumber, uint32_t> positions_;
  std::array<uint32_t, kRecentMax> recent_{kUnseen, kUnseen, kUnseen, kUnseen};
  size_t next_ = 0, count_ = 0;
};

bool contains(const Pages& sorted, PageNumber page) {
  return std::binary_search(sorted.begin(), sorted.end(), page);
}

std::vector<Pattern> present_of(const PatternShares& shares) {
  std::pair<double, Pattern> sorted[] = {{shares.scan, Pattern::kScan},
                                         {shares.loop, Pattern::kLoop},
                                         {shares.stride, Pattern::kStride},
                                         {shares.chase, Pattern::kChase},
                                         {shares.random, Pattern::kRandom}};
  std::ranges::sort(sorted, std::greater{});
  std::vector<Pattern> present;
  for (const auto& [share, pattern] : sorted) {
    if (share >= AccessObserver::kPresentRatio) present.push_back(pattern);
  }
  return present;
}

}  // namespace

PatternShares AccessObserver::shares_of(std::span<const PageNumber> accesses,
                                        Window& window) const {
  const std::vector<Label> labels = label_streams(accesses);
  Orders orders;
  for (const Window& one : past_) {
    for (const PageNumber page : one.unordered) orders.learn(page);
  }
  Pages known;
  for (const Window& one : past_) known.insert(known.end(), one.set.begin(), one.set.end());
  std::sort(known.begin(), known.end());
  size_t scan = 0, loop = 0, stride = 0, chase = 0, strays = 0;
  for (size_t i = 0; i < accesses.size(); ++i) {
    if (labels[i] == Label::kStride) ++stride;
    if (labels[i] == Label::kSequential) ++(contains(known, accesses[i]) ? loop : scan);
    if (labels[i] != Label::kNone) continue;
    window.unordered.push_back(accesses[i]);
    const Orders::Answer answer = orders.look(accesses[i]);
    chase += answer == Orders::Answer::kFollows;
    strays += answer == Orders::Answer::kStrays;
  }
  const size_t left = window.unordered.size();
  // Without a past, what is left over may be a chase or chance: it is not told.
  const size_t told = chase + strays;
  const bool is_told = told >= 16 && told * 20 >= left;
  const double labelled = static_cast<double>(scan + loop + stride + (is_told ? left : 0));
  PatternShares shares;
  if (labelled < 1) return shares;
  shares.scan = static_cast<double>(scan) / labelled;
  shares.loop = static_cast<double>(loop) / labelled;
  shares.stride = static_cast<double>(stride) / labelled;
  if (!is_told) return shares;
  const double rest = static_cast<double>(left) / labelled;
  shares.chase = rest * static_cast<double>(chase) / static_cast<double>(told);
  shares.random = rest - shares.chase;
  return shares;
}

std::string_view pattern_name(Pattern pattern) {
  switch (pattern) {
    case Pattern::kUnknown:
      return "unknown";
    case Pattern::kScan:
      return "scan";
    case Pattern::kLoop:
      return "loop";
    case Pattern::kStride:
      return "stride";
    case Pattern::kChase:
      return "chase";
    case Pattern::kRandom:
      return "random";
  }
  return "unknown";
}

AccessFeatures set_features(std::span<const PageNumber> pages) {
  AccessFeatures features;
  add_set_features(sorted_set(pages), features);
  return features;
}

void AccessObserver::forget() { past_.clear(); }

void AccessObserver::remember(Window window) {
  past_.push_back(std::move(window));
  size_t kept = 0, accesses = 0;
  while (kept < past_.size() && accesses < kRememberedMin) {
    ++kept;
    accesses += past_[past_.size() - kept].accesses;
  }
  past_.erase(past_.begin(), past_.end() - static_cast<std::ptrdiff_t>(kept));
}

AccessObserver::Reading AccessObserver::observe(std::span<const PageNumber> accesses) {
  accesses = accesses.first(std::min(accesses.size(), kSamplesMax));
  Reading reading;
  Window window;
  window.accesses = accesses.size();
  window.set = sorted_set(accesses);
  std::vector<int64_t> deltas;
  for (size_t i = 1; i < accesses.size(); ++i)
    deltas.push_back(delta(accesses[i - 1], accesses[i]));
  const Mode mode = mode_of(deltas);
  reading.features.delta_entropy_bits = mode.entropy_bits;
  reading.features.delta_mode = mode.value;
  reading.features.delta_mode_ratio = mode.ratio;
  if (!deltas.empty())
    reading.features.plus_one_ratio =
        static_cast<double>(std::ranges::count(deltas, 1)) / static_cast<double>(deltas.size());
  add_set_features(window.set, reading.features);
  reading.features.jaccard_ratio = jaccard(window.set, past_.empty() ? Pages() : past_.back().set);

  if (accesses.size() >= kSamplesMin) {
    reading.shares = shares_of(accesses, window);
    reading.present = present_of(reading.shares);
    if (!reading.present.empty()) reading.dominant = reading.present.front();
  }
  remember(std::move(window));
  return reading;
}

}  // namespace forerun::telemetry
