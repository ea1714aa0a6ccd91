// The saved form of associations: docs/format_history.md.
#include "predict/association.h"
#include "predict/saved_form.h"

namespace forerun::predict {
namespace {

constexpr uint32_t kVersion = 1;
constexpr float kPaceMax = 1e6f;  // seconds between first touches
constexpr uint64_t kHeadBytes = kSavedHeadBytes + 4 + 4 * ComponentNumbers::kMax + 4 + 4;

}  // namespace

Buffer AssociationModel::save(std::span<const ComponentId> components) const {
  if (requests_.size() == 0) return {};
  ByteWriter out = begin_saved(SavedKind::kAssociation, kVersion);
  numbers_.save(out, components);
  out.u32(reads_);
  out.u32(to_bits(std::clamp(pace_s_, 0.0f, kPaceMax)));
  requests_.save(out, [](ByteWriter& to, const Request& one) {
    to.u16(one.seen);
    for (const PackedRun& run : one.partners) to.u64(run.bits());
  });
  return seal(std::move(out));
}

Status AssociationModel::restore(ByteView saved, std::span<const ComponentId> components) {
  constexpr uint64_t kEntryBytes = 4 + 2 + 2 + kPartners * 8;
  const uint64_t bytes_max =
      kHeadBytes + 8 + requests_.entries_max() * kEntryBytes + kSavedDigestBytes;
  FR_TRY(const auto form, open_saved(saved, SavedKind::kAssociation, bytes_max, kVersion));
  ByteReader in(form.body);
  FR_TRY(auto numbers, ComponentNumbers::restore(in, components));
  const uint32_t reads = in.u32();
  const float pace_s = from_bits(in.u32());
  if (!in_range(pace_s, 0, kPaceMax))
    return fail(ErrorCode::kCorrupt, "saved associations: their pace is out of range");
  decltype(requests_) requests(options_.requests_max);
  FR_CHECK(requests.restore(in, [](ByteReader& from, Request& one) -> Status {
    one.seen = from.u16();
    bool is_good = one.seen > 0 && one.seen <= PackedRun::kCountMax;
    for (size_t i = 0; i < kPartners; ++i) {
      is_good = one.partners[i].set_bits(from.u64()) && is_good;
      for (size_t k = 0; k < i; ++k)
        is_good = is_good &&
                  (one.partners[i].count() == 0 || !one.partners[k].is(one.partners[i].block()));
    }
    if (is_good) return {};
    return fail(ErrorCode::kCorrupt, "saved associations: counts that cannot be");
  }));
  if (!in.good() || in.left() != 0)
    return fail(ErrorCode::kCorrupt, "saved associations are of a wrong length");
  numbers_ = std::move(numbers);
  requests_ = std::move(requests);
  reads_ = reads;
  pace_s_ = pace_s;
  return {};
}

}  // namespace forerun::predict
