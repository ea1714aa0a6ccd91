#include "predict/successor.h"

#include <algorithm>

#include "predict/saved_form.h"

namespace forerun::predict {
namespace {

constexpr uint16_t kCountMax = 1000;  // beyond, all of a block's counts are halved
constexpr uint64_t kNearBlocks = 2;   // a read that begins this close behind another is no jump
// Outcomes against a successor that its counts are believed to have missed: once seen says 0.33,
// twice 0.5, four times 0.67.
constexpr float kDoubts = 2;
constexpr uint16_t kContextsMax = 7;
constexpr float kPaceWeight = 0.1f;
constexpr size_t kPartsMax = 64;

constexpr uint32_t kVersion = 1;
constexpr size_t kBlockBytes = 8 + 2 + Successors::kMax * (8 + 2);

}  // namespace

void Successors::count(uint64_t block) { add({.jumps = 1, .targets = {{{block, 1}}}}); }

void Successors::add(const Successors& other) {
  const auto sum = [](uint16_t a, uint16_t b) {
    return static_cast<uint16_t>(std::min<uint32_t>(uint32_t{a} + b, UINT16_MAX));
  };
  jumps = sum(jumps, other.jumps);
  for (const Target& from : other.targets) {
    if (from.count == 0) continue;
    auto to = std::find_if(targets.begin(), targets.end(), [&](const Target& known) {
      return known.count > 0 && known.block == from.block;
    });
    if (to == targets.end()) {
      to = std::min_element(targets.begin(), targets.end(),
                            [](const Target& a, const Target& b) { return a.count < b.count; });
      if (to->count > from.count) {
        --to->count;  // one that comes again and again gets its place
        continue;
      }
      *to = {from.block, 0};
    }
    to->count = sum(to->count, from.count);
  }
  if (jumps <= kCountMax) return;
  jumps /= 2;
  for (Target& target : targets) target.count /= 2;
}

std::shared_ptr<const SuccessorTable> SuccessorStatistics::table(ComponentId component) const {
  if (is_common(component)) return common_->table(component);
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(component);
  return known == known_.end() ? nullptr : known->second.table;
}

void SuccessorStatistics::put(ComponentId component, SuccessorTable table) {
  known_[component] = {std::make_shared<const SuccessorTable>(std::move(table)), ++learned_};
  if (known_.size() <= options_.components_max) return;
  known_.erase(std::min_element(known_.begin(), known_.end(), [](const auto& a, const auto& b) {
    return a.second.learned_at < b.second.learned_at;
  }));
}

void SuccessorStatistics::learn(ComponentId component, const SuccessorTable& counted) {
  if (counted.empty()) return;
  if (is_common(component)) return common_->learn(component, counted);
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(component);
  SuccessorTable table = known == known_.end() ? SuccessorTable{} : *known->second.table;
  for (const auto& [block, successors] : counted) table[block].add(successors);
  if (table.size() > options_.blocks_max) {
    std::vector<std::pair<uint16_t, uint64_t>> by_jumps;
    for (const auto& [block, successors] : table) by_jumps.emplace_back(successors.jumps, block);
    std::sort(by_jumps.begin(), by_jumps.end());
    by_jumps.resize(table.size() - options_.blocks_max);
    for (const auto& [jumps, block] : by_jumps) table.erase(block);
  }
  put(component, std::move(table));
}

Buffer SuccessorStatistics::save(ComponentId component) const {
  const auto known = table(component);
  return known ? serialize(*known) : Buffer{};
}

Status SuccessorStatistics::merge_saved(ComponentId component, ByteView saved) {
  FR_TRY(const SuccessorTable table, parse_successor_table(saved, options_.blocks_max));
  learn(component, table);
  return {};
}

Status SuccessorStatistics::load(ComponentId component, ByteView saved) {
  if (is_common(component)) return common_->load(component, saved);
  FR_TRY(SuccessorTable table, parse_successor_table(saved, options_.blocks_max));
  const std::lock_guard lock(mutex_);
  put(component, std::move(table));
  return {};
}

Buffer serialize(const SuccessorTable& table) {
  ByteWriter out = begin_saved(SavedKind::kSuccessors, kVersion);
  out.u32(static_cast<uint32_t>(table.size()));
  for (const auto& [block, successors] : table) {
    out.u64(block);
    out.u16(successors.jumps);
    for (const Successors::Target& target : successors.targets) {
      out.u64(target.block);
      out.u16(target.count);
    }
  }
  return seal(std::move(out));
}

Result<SuccessorTable> parse_successor_table(ByteView saved, uint32_t blocks_max) {
  const uint64_t bytes_max =
      kSavedHeadBytes + 4 + uint64_t{blocks_max} * kBlockBytes + kSavedDigestBytes;
  FR_TRY(const OpenedForm form, open_saved(saved, SavedKind::kSuccessors, bytes_max, kVersion));
  ByteReader in(form.body);
  const uint32_t count = in.u32();
  if (!in.good() || in.left() != uint64_t{count} * kBlockBytes)
    return fail(ErrorCode::kCorrupt,
                fmt::format("saved successors: {} blocks do not fill them", count));
  SuccessorTable table;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t block = in.u64();
    if (!table.empty() && block <= table.rbegin()->first)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("saved successors: block {} is out of order", block));
    Successors& successors = table[block];
    successors.jumps = in.u16();
    for (Successors::Target& target : successors.targets) {
      target.block = in.u64();
      target.count = in.u16();
    }
  }
  return table;
}

SuccessorModel::Part& SuccessorModel::part_of(ComponentId component) {
  for (Part& part : parts_) {
    if (part.component == component) return part;
  }
  if (parts_.size() >= kPartsMax) parts_.erase(parts_.begin());
  parts_.push_back({.component = component, .known = statistics_->table(component)});
  return parts_.back();
}

std::pair<uint64_t, float> SuccessorModel::next(const Part& part, uint64_t block) const {
  Successors all;
  if (part.known) {
    if (const auto known = part.known->find(block); known != part.known->end()) all = known->second;
  }
  if (const auto counted = part.counted.find(block); counted != part.counted.end())
    all.add(counted->second);
  const auto best =
      std::max_element(all.targets.begin(), all.targets.end(),
                       [](const auto& a, const auto& b) { return a.count < b.count; });
  return {best->block, static_cast<float>(best->count) / (static_cast<float>(all.jumps) + kDoubts)};
}

void SuccessorModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || access.block_count == 0) return;
  Part& part = part_of(access.component);
  const bool is_next =
      access.first_block >= part.first && access.first_block <= part.end + kNearBlocks;
  const Nanos pause = access.at - part.at;
  if (part.end > 0 && !is_next && pause <= options_.pause_max) {
    part.counted[part.first].count(access.first_block);
    ++counted_;
    part.pace_s += (static_cast<float>(to_seconds(pause)) - part.pace_s) * kPaceWeight;
  }
  if (!is_next || part.end == 0) part.first = access.first_block;
  part.end = access.first_block + access.block_count;
  part.at = access.at;
  float confidence = 1;
  uint64_t block = part.first;
  for (uint32_t step = 1; step <= options_.steps_max; ++step) {
    const auto [to, share] = next(part, block);
    confidence *= share;
    if (confidence < options_.confidence_min) break;
    const auto context = static_cast<uint16_t>(std::min<uint32_t>(step, kContextsMax));
    out.push_back({access.component, to, 1, confidence, context,
                   access.at + from_seconds(static_cast<double>(part.pace_s) * step)});
    block = to;
  }
  if (counted_ >= options_.blocks_max) hand_over();
}

// What was counted stands in the shared table from here on, where others' counts are too.
void SuccessorModel::hand_over() {
  for (Part& part : parts_) {
    statistics_->learn(part.component, part.counted);
    part.counted.clear();
    part.known = statistics_->table(part.component);
  }
  counted_ = 0;
}

size_t SuccessorModel::state_bytes() const {
  size_t bytes = 0;
  for (const Part& part : parts_)
    bytes += sizeof part + part.counted.size() * (sizeof(Successors) + sizeof(uint64_t));
  return bytes;
}

}  // namespace forerun::predict
