#include <fmt/core.h>

#include <cmath>

#include "predict/rnn.h"
#include "predict/saved_form.h"

namespace forerun::predict {
namespace {

constexpr uint32_t kVersion = 1;
constexpr uint64_t kBytesMax = 1 << 20;
constexpr float kNumberMax = 1e4f;  // no trained number comes near

}  // namespace

Buffer serialize(const RnnNet& net) {
  ByteWriter out = begin_saved(SavedKind::kNetwork, kVersion);
  out.u32(kGruUnits);
  out.u32(kGruTokens);
  out.u32(kGruFeatures);
  for (const float number : net.numbers()) out.u32(to_bits(number));
  return seal(std::move(out));
}

Result<std::shared_ptr<RnnNet>> parse_rnn(ByteView saved) {
  FR_TRY(const auto form, open_saved(saved, SavedKind::kNetwork, kBytesMax, kVersion));
  ByteReader in(form.body);
  const uint32_t units = in.u32(), tokens = in.u32(), features = in.u32();
  if (!in.good()) return fail(ErrorCode::kCorrupt, "a saved network ends within its head");
  if (units != kGruUnits || tokens != kGruTokens || features != kGruFeatures)
    return fail(ErrorCode::kUnsupported,
                fmt::format("a saved network of {} units, {} tokens and {} features; this version "
                            "has {}, {} and {}",
                            units, tokens, features, kGruUnits, kGruTokens, kGruFeatures));
  auto net = std::make_shared<RnnNet>();
  for (float& number : net->numbers()) {
    number = from_bits(in.u32());
    if (!in_range(number, -kNumberMax, kNumberMax))
      return fail(ErrorCode::kCorrupt, "a saved network holds a number out of range");
  }
  if (!in.good() || in.left() != 0)
    return fail(ErrorCode::kCorrupt, "a saved network is of a wrong length");
  return net;
}

}  // namespace forerun::predict
