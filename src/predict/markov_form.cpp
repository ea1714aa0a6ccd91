// The saved form of a Markov chain: docs/format_history.md.
#include "predict/markov.h"
#include "predict/saved_form.h"

namespace forerun::predict {
namespace {

constexpr uint32_t kVersion = 1;
constexpr float kPaceMax = 1e6f;  // seconds between requests
constexpr uint64_t kEntryBytes = 4 + 2 + 2 + 3 * 8;
constexpr uint64_t kHeadBytes = kSavedHeadBytes + 4 + 4 * ComponentNumbers::kMax + 8 + 4;

}  // namespace

Buffer MarkovModel::save(std::span<const ComponentId> components) const {
  if (first_.size() == 0) return {};
  ByteWriter out = begin_saved(SavedKind::kMarkov, kVersion);
  numbers_.save(out, components);
  out.u64(reads_);
  out.u32(to_bits(std::clamp(pace_s_, 0.0f, kPaceMax)));
  const auto put = [](ByteWriter& to, const Successors& one) {
    to.u16(one.total);
    for (const PackedRun& run : one.all) to.u64(run.bits());
  };
  first_.save(out, put);
  second_.save(out, put);
  return seal(std::move(out));
}

Status MarkovModel::restore(ByteView saved, std::span<const ComponentId> components) {
  const uint64_t bytes_max =
      kHeadBytes + 2 * (8 + first_.entries_max() * kEntryBytes) + kSavedDigestBytes;
  FR_TRY(const auto form, open_saved(saved, SavedKind::kMarkov, bytes_max, kVersion));
  ByteReader in(form.body);
  FR_TRY(auto numbers, ComponentNumbers::restore(in, components));
  const uint64_t reads = in.u64();
  const float pace_s = from_bits(in.u32());
  if (!in_range(pace_s, 0, kPaceMax))
    return fail(ErrorCode::kCorrupt, "a saved Markov chain: its pace is out of range");
  // What followed cannot have come more often than all that did.
  const auto take = [](ByteReader& from, Successors& one) -> Status {
    one.total = from.u16();
    uint32_t sum = 0;
    bool is_good = one.total <= PackedRun::kCountMax;
    for (size_t i = 0; i < one.all.size(); ++i) {
      is_good = one.all[i].set_bits(from.u64()) && is_good;
      sum += one.all[i].count();
      for (size_t k = 0; k < i; ++k)
        is_good = is_good && (one.all[i].count() == 0 || !one.all[k].is(one.all[i].block()));
    }
    if (is_good && sum <= one.total) return {};
    return fail(ErrorCode::kCorrupt, "a saved Markov chain: counts that cannot be");
  };
  Order first(options_.contexts_max), second(options_.contexts_max);
  FR_CHECK(first.restore(in, take));
  FR_CHECK(second.restore(in, take));
  if (!in.good() || in.left() != 0)
    return fail(ErrorCode::kCorrupt, "a saved Markov chain is of a wrong length");
  numbers_ = std::move(numbers);
  first_ = std::move(first);
  second_ = std::move(second);
  reads_ = reads;
  pace_s_ = pace_s;
  return {};
}

}  // namespace forerun::predict
