#include "predict/sequential.h"

#include <algorithm>
#include <bit>

namespace forerun::predict {
namespace {

constexpr uint32_t kRunClasses = 6;                   // 1, 2, 3–4, 5–8, 9–16, more
constexpr uint32_t kSizeClasses = 3;                  // an access of 1, 2–3, 4 and more blocks
constexpr uint32_t kDistanceClasses = 4;              // the next block, 2, 3–4, more
constexpr uint32_t kStepClasses = 8, kFineSizes = 6;  // of the fine kind
constexpr uint32_t kStepsGrown = 4;                   // requests over which the degree doubles

// What is said of the next block after a run of each class, by the size of the access that made it,
// and how that fades with each block further. Measured on boots: a window of 128 KiB (3 blocks) is
// one of many; an access of two blocks that begins a run is mostly a whole small file, and one of
// four and more a whole large one. The arbiter calibrates the rest.
constexpr float kNext[kRunClasses][kSizeClasses] = {{0.62f, 0.62f, 0.35f}, {0.5f, 0.35f, 0.35f},
                                                    {0.62f, 0.7f, 0.35f},  {0.7f, 0.73f, 0.35f},
                                                    {0.75f, 0.85f, 0.4f},  {0.8f, 0.95f, 0.6f}};
constexpr float kFade[kRunClasses] = {0.75f, 0.85f, 0.97f, 0.98f, 0.98f, 0.99f};

uint32_t log_class(uint32_t value, uint32_t classes) {
  return std::min(static_cast<uint32_t>(std::bit_width(value - 1)), classes - 1);
}

}  // namespace

SequentialModel::Options SequentialModel::for_blocks(uint32_t block_bytes) {
  if (block_bytes >= 64 * 1024) return {};
  return {.streams_max = 128,
          .gap_max = 0,
          .degree_first = 1,
          .degree_max = 256 * 1024 / block_bytes,
          .is_fine = true};
}

SequentialModel::SequentialModel() : SequentialModel(Options{}) {}
SequentialModel::SequentialModel(Options options) : options_(options) {
  streams_.reserve(options_.streams_max);
  nexts_.reserve(options_.streams_max);
}

void SequentialModel::on_start(Time, std::vector<Candidate>&) {}
void SequentialModel::on_end(Time) {}

SequentialModel::Stream* SequentialModel::match(const trace::Access& access) {
  const uint64_t end = access.first_block + access.block_count;
  const uint64_t low =
      access.first_block - std::min<uint64_t>(options_.gap_max, access.first_block);
  Stream* best = nullptr;
  for (size_t i = 0; i < nexts_.size(); ++i) {
    if (nexts_[i] - low > end + 1 - low) continue;  // neither overlapped nor followed
    Stream& stream = streams_[i];
    if (stream.component != access.component) continue;
    const bool overlaps = access.first_block < stream.next && end + 1 >= stream.next &&
                          stream.next - access.first_block <= stream.run;
    const bool follows =
        access.first_block >= stream.next && access.first_block - stream.next <= options_.gap_max;
    if (!overlaps && !follows) continue;
    if (!best || stream.next > best->next) best = &stream;
  }
  return best;
}

void SequentialModel::advance(Stream& stream, const trace::Access& access) {
  const uint64_t end = access.first_block + access.block_count;
  const auto blocks = static_cast<uint32_t>(end - stream.next);
  const bool has_gap = access.first_block > stream.next;
  const bool was_said = end <= stream.ahead;
  const float step_s =
      static_cast<float>(to_seconds(access.at - stream.last_at)) / static_cast<float>(blocks);
  stream.pace_s = stream.steps == 0 ? step_s : stream.pace_s + (step_s - stream.pace_s) * 0.25f;
  ++stream.steps;
  stream.run += blocks;
  stream.next = end;
  stream.last_at = access.at;
  if (has_gap) {
    stream.degree = std::max(1u, stream.degree - stream.degree / 4);
  } else if (was_said && end == stream.ahead) {  // the last of those said was used
    stream.degree = std::min(options_.degree_max, stream.degree + std::max(1u, stream.degree / 2));
  }
  if (options_.is_fine) {
    const uint32_t grown = access.block_count << std::min(stream.steps, kStepsGrown);
    stream.degree = std::min(options_.degree_max, std::max(2u, std::min(stream.run, grown)));
    stream.trigger = stream.degree / 2;
    stream.ahead = std::max(stream.ahead, stream.next);
    return;
  }
  // The guest waited for what had been said: say it sooner next time.
  const bool was_late = was_said && access.served_from == trace::ServedFrom::kRepository;
  if (was_late) {
    stream.degree = std::min(options_.degree_max, stream.degree + 1);
    stream.trigger = std::min(stream.degree / 2 + 1, stream.trigger + 1);
  }
  stream.ahead = std::max(stream.ahead, stream.next);
}

void SequentialModel::say_fine(Stream& stream, const trace::Access& access,
                               std::vector<Candidate>& out) {
  const uint64_t until = stream.next + std::max(1u, stream.degree);
  if (stream.ahead + stream.trigger > until) return;
  const uint32_t steps = std::min(stream.steps, kStepClasses - 1);
  const uint32_t size = std::min(log_class(access.block_count, kFineSizes), kFineSizes - 1);
  while (stream.ahead < until) {
    const uint64_t distance = stream.ahead - stream.next;
    const uint32_t far = distance == 0 ? 0 : distance < 4 ? 1 : distance < 16 ? 2 : 3;
    const uint64_t of_class = far == 0   ? 1
                              : far == 1 ? 4 - distance
                              : far == 2 ? 16 - distance
                                         : until;
    const auto blocks = static_cast<uint32_t>(std::min(until - stream.ahead, of_class));
    const auto context =
        static_cast<uint16_t>((steps * kFineSizes + size) * kDistanceClasses + far);
    const Time due = access.at + from_seconds(static_cast<double>(stream.pace_s) *
                                              static_cast<double>(distance + 1));
    out.push_back({access.component, stream.ahead, blocks, steps == 0 ? 0.3f : 0.7f, context, due});
    stream.ahead += blocks;
  }
}

void SequentialModel::say(Stream& stream, const trace::Access& access,
                          std::vector<Candidate>& out) {
  if (options_.is_fine) return say_fine(stream, access, out);
  if (stream.ahead > stream.next + stream.trigger) return;
  const uint32_t run = log_class(stream.run, kRunClasses);
  const uint32_t size = access.block_count == 1 ? 0 : access.block_count < 4 ? 1 : 2;
  float said = kNext[run][size];
  for (uint64_t block = stream.next; block < stream.next + stream.degree + stream.trigger;
       ++block) {
    const auto distance = static_cast<uint32_t>(block - stream.next + 1);
    const uint32_t far = log_class(distance, kDistanceClasses);
    const auto context =
        static_cast<uint16_t>((run * kSizeClasses + size) * kDistanceClasses + far);
    if (block >= stream.ahead) {
      const Time due = access.at + from_seconds(static_cast<double>(stream.pace_s) * distance);
      out.push_back({access.component, block, 1, said, context, due});
    }
    said *= kFade[run];
  }
  stream.ahead = std::max(stream.ahead, stream.next + stream.degree + stream.trigger);
}

void SequentialModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || access.block_count == 0) return;
  const uint64_t end = access.first_block + access.block_count;
  if (Stream* stream = match(access)) {
    const auto place = static_cast<uint32_t>(stream - streams_.data());
    touch(place, true);
    if (end <= stream->next) return;  // again in the block it ended in
    advance(*stream, access);
    nexts_[place] = stream->next;
    say(*stream, access, out);
    return;
  }
  Stream fresh{.component = access.component,
               .next = end,
               .ahead = end,
               .run = access.block_count,
               .degree = options_.degree_first,
               .last_at = access.at};
  fresh.pace_s = 0.05f;  // between the blocks of a stream; a boot's median, until its own is known
  uint32_t place = oldest_;
  if (streams_.size() < options_.streams_max) {
    place = static_cast<uint32_t>(streams_.size());
    streams_.push_back(fresh);
    nexts_.push_back(end);
    touch(place, false);
  } else {
    touch(place, true);
    fresh.older = streams_[place].older;
    fresh.newer = streams_[place].newer;
    streams_[place] = fresh;
    nexts_[place] = end;
  }
  say(streams_[place], access, out);
}

void SequentialModel::touch(uint32_t place, bool is_linked) {
  Stream& stream = streams_[place];
  if (streams_.size() == 1) {
    stream.older = stream.newer = oldest_ = place;
    return;
  }
  if (is_linked) {
    if (place == oldest_) {  // the ring turns
      oldest_ = stream.newer;
      return;
    }
    streams_[stream.older].newer = stream.newer;
    streams_[stream.newer].older = stream.older;
  }
  const uint32_t newest = streams_[oldest_].older;
  stream.older = newest;
  stream.newer = oldest_;
  streams_[newest].newer = place;
  streams_[oldest_].older = place;
}

}  // namespace forerun::predict
