#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "predict/rnn.h"
#include "predict/saved_form.h"

namespace forerun::predict {
namespace {

constexpr uint32_t kVersion = 1;
constexpr uint32_t kRnnVersion = 1;
constexpr uint64_t kBytesMax = 1 << 20;
constexpr float kPaceMax = 1e6f;    // seconds between requests
constexpr float kNumberMax = 1e4f;  // no trained number comes near

void put_net(const RnnNet& net, ByteWriter& out) {
  out.u32(kGruUnits);
  out.u32(kGruTokens);
  out.u32(kGruFeatures);
  for (const float number : net.numbers()) out.u32(to_bits(number));
}

Result<std::shared_ptr<RnnNet>> take_net(ByteReader& in) {
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
  if (!in.good()) return fail(ErrorCode::kCorrupt, "a saved network is of a wrong length");
  return net;
}

}  // namespace

Buffer serialize(const RnnNet& net) {
  ByteWriter out = begin_saved(SavedKind::kNetwork, kVersion);
  put_net(net, out);
  return seal(std::move(out));
}

Result<std::shared_ptr<RnnNet>> parse_rnn(ByteView saved) {
  FR_TRY(const auto form, open_saved(saved, SavedKind::kNetwork, kBytesMax, kVersion));
  ByteReader in(form.body);
  FR_TRY(auto net, take_net(in));
  if (in.left() != 0) return fail(ErrorCode::kCorrupt, "a saved network is of a wrong length");
  return net;
}

// A network that learned nothing is not worth keeping; numbers out of range, as after a gradient
// that went astray, are not worth it either.
Buffer RnnModel::save(std::span<const ComponentId>) const {
  const RnnNetPtr net = trainer_->net();
  const auto numbers = net->numbers();
  if ((reads_ == 0 && !has_past_) || !std::all_of(numbers.begin(), numbers.end(), [](float number) {
        return in_range(number, -kNumberMax, kNumberMax);
      }))
    return {};
  ByteWriter out = begin_saved(SavedKind::kRnn, kRnnVersion);
  put_net(*net, out);
  out.u32(to_bits(std::clamp(pace_s_, 0.0f, kPaceMax)));
  tokens_.save(out);
  return seal(std::move(out));
}

Status RnnModel::restore(ByteView saved, std::span<const ComponentId>) {
  FR_TRY(const auto form, open_saved(saved, SavedKind::kRnn, kBytesMax, kRnnVersion));
  ByteReader in(form.body);
  FR_TRY(auto net, take_net(in));
  const float pace_s = from_bits(in.u32());
  if (!in_range(pace_s, 0, kPaceMax))
    return fail(ErrorCode::kCorrupt, "a saved network: its pace is out of range");
  FR_TRY(auto tokens, GapTokens::restore(in));
  if (in.left() != 0) return fail(ErrorCode::kCorrupt, "a saved network is of a wrong length");
  trainer_->resume(net);
  net_ = std::move(net);
  tokens_ = tokens;
  pace_s_ = pace_s;
  has_past_ = true;
  return {};
}

}  // namespace forerun::predict
