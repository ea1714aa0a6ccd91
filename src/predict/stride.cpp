#include "predict/stride.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

namespace forerun::predict {
namespace {

constexpr uint32_t kConfirmedMin = 3;  // equal distances: four accesses

}  // namespace

StrideModel::StrideModel() : StrideModel(Options{}) {}
StrideModel::StrideModel(Options options) : options_(options) {
  streams_.reserve(options_.streams_max);
}

void StrideModel::on_start(Time, std::vector<Candidate>&) {}
void StrideModel::on_end(Time) {}
size_t StrideModel::state_bytes() const {
  return sizeof *this + streams_.capacity() * sizeof(Stream);
}

StrideModel::Stream* StrideModel::match(const trace::Access& access) {
  for (Stream& stream : streams_) {
    if (stream.last.component == access.component && stream.last.size == access.block_count &&
        stream.last.block + static_cast<uint64_t>(stream.delta) == access.first_block)
      return &stream;
  }
  return nullptr;
}

// Looks for two recent accesses that make an even row with this one.
void StrideModel::suspect(const trace::Access& access) {
  const auto fits = [&](const Touch& touch) {
    return touch.size == access.block_count && touch.component == access.component;
  };
  // A run without holes also makes even rows, of every second access and so on: it is the
  // sequential model's.
  for (const Touch& touch : recent_) {
    if (touch.size == 0 || touch.component != access.component) continue;
    const bool adjoins = touch.block <= access.first_block + access.block_count &&
                         access.first_block <= touch.block + touch.size;
    if (adjoins) return;
  }
  for (size_t i = 0; i < kRecent; ++i) {
    const Touch& middle = recent_[(next_recent_ + kRecent - 1 - i) % kRecent];  // newest first
    if (!fits(middle)) continue;
    const auto delta = static_cast<int64_t>(access.first_block - middle.block);
    if (std::llabs(delta) < 2 || std::llabs(delta) > options_.stride_max) continue;
    for (size_t j = i + 1; j < kRecent; ++j) {
      const Touch& first = recent_[(next_recent_ + kRecent - 1 - j) % kRecent];
      if (!fits(first) || first.block + static_cast<uint64_t>(delta) != middle.block) continue;
      Stream found{.last = {access.component, access.first_block, access.block_count},
                   .delta = delta,
                   .confirmed = 2,
                   .used_at = accesses_,
                   .last_at = access.at};
      if (streams_.size() < options_.streams_max) {
        streams_.push_back(found);
      } else {
        *std::min_element(streams_.begin(), streams_.end(), [](const Stream& a, const Stream& b) {
          return a.used_at < b.used_at;
        }) = found;
      }
      return;
    }
  }
}

void StrideModel::say(const Stream& stream, Time now, std::vector<Candidate>& out) const {
  const uint32_t ahead = std::min(options_.ahead_max, stream.confirmed - kConfirmedMin + 1);
  const auto context = static_cast<uint16_t>(std::bit_width(std::min(stream.confirmed, 63u)));
  uint64_t block = stream.last.block;
  float said = static_cast<float>(stream.confirmed) / static_cast<float>(stream.confirmed + 1);
  for (uint32_t i = 1; i <= ahead; ++i) {
    const uint64_t next = block + static_cast<uint64_t>(stream.delta);
    if ((stream.delta > 0) != (next > block)) return;  // past either end
    block = next;
    const Time due = now + from_seconds(static_cast<double>(stream.pace_s) * i);
    out.push_back({stream.last.component, block, stream.last.size, said, context, due});
    said *= static_cast<float>(stream.confirmed) / static_cast<float>(stream.confirmed + 1);
  }
}

void StrideModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || access.block_count == 0) return;
  ++accesses_;
  const Touch& newest = recent_[(next_recent_ + kRecent - 1) % kRecent];
  const bool repeats = newest.size == access.block_count && newest.component == access.component &&
                       newest.block == access.first_block;
  if (repeats) return;  // small reads within one block
  if (Stream* stream = match(access)) {
    const auto step_s = static_cast<float>(to_seconds(access.at - stream->last_at));
    stream->pace_s =
        stream->confirmed == 2 ? step_s : stream->pace_s + (step_s - stream->pace_s) * 0.25f;
    stream->last.block = access.first_block;
    stream->last_at = access.at;
    stream->used_at = accesses_;
    ++stream->confirmed;
    say(*stream, access.at, out);
  } else {
    suspect(access);
  }
  recent_[next_recent_] = {access.component, access.first_block, access.block_count};
  next_recent_ = (next_recent_ + 1) % kRecent;
}

}  // namespace forerun::predict
