#include "predict/vm_history.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "predict/component_history.h"
#include "predict/registry.h"
#include "predict/saved_form.h"
#include "predict/successor.h"

namespace forerun::predict {
namespace {

constexpr uint32_t kVersion = 1;

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("saved history of a VM: {}", what));
}

void put(ByteWriter& out, ByteView bytes) {
  out.u32(static_cast<uint32_t>(bytes.size()));
  out.bytes(bytes);
}

void put(ByteWriter& out, const Digest& digest) {
  out.bytes({reinterpret_cast<const std::byte*>(digest.bytes.data()), digest.bytes.size()});
}

Buffer take_bytes(ByteReader& in) {
  const ByteView bytes = in.bytes(in.u32());
  return {bytes.begin(), bytes.end()};
}

Digest take_digest(ByteReader& in) {
  Digest digest;
  const ByteView bytes = in.bytes(digest.bytes.size());
  if (!bytes.empty()) std::memcpy(digest.bytes.data(), bytes.data(), bytes.size());
  return digest;
}

// Each state is given to a model of its name that knows nothing.
Status check(const SavedModels& models) {
  std::vector<ComponentId> components;
  for (uint32_t i = 0; i < models.components.size(); ++i) components.push_back(ComponentId{i});
  for (const SavedModels::One& one : models.models) {
    FR_TRY(const auto model, make_model(one.name, {}));
    FR_CHECK(model->restore(one.state, components));
  }
  return {};
}

Status check(const VmHistory::Part& part) {
  if (!part.replay.empty()) FR_CHECK(parse_component_history(part.replay));
  if (!part.successors.empty())
    FR_CHECK(parse_successor_table(part.successors, SuccessorStatistics::Options{}.blocks_max));
  return {};
}

}  // namespace

Result<Buffer> serialize(const VmHistory& history) {
  ByteWriter out = begin_saved(SavedKind::kVmHistory, kVersion);
  put(out, as_bytes(history.vm));
  put(out, as_bytes(history.tenant));
  put(out, history.disk);
  put(out, serialize(history.models));
  out.u32(static_cast<uint32_t>(history.parts.size()));
  for (const VmHistory::Part& part : history.parts) {
    put(out, part.component);
    put(out, part.replay);
    put(out, part.successors);
  }
  Buffer saved = seal(std::move(out));
  if (saved.size() > VmHistory::kBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("the history of VM {} takes {} bytes, over {}",
                                                  history.vm, saved.size(), VmHistory::kBytesMax));
  return saved;
}

Result<VmHistory> parse_vm_history(ByteView saved) {
  FR_TRY(const auto form, open_saved(saved, SavedKind::kVmHistory, VmHistory::kBytesMax, kVersion));
  ByteReader in(form.body);
  VmHistory history;
  history.vm = as_text(take_bytes(in));
  history.tenant = as_text(take_bytes(in));
  history.disk = take_digest(in);
  const Buffer models = take_bytes(in);
  const uint32_t parts = in.u32();
  if (!in.good()) return corrupt("it ends within its head");
  if (!history.tenant.empty() && !is_valid_name(history.tenant))
    return corrupt("the tenant's name is none");
  if (!is_valid_name(history.vm)) return corrupt("the VM's name is none");
  if (parts > SavedModels::kComponentsMax) return corrupt(fmt::format("{} components", parts));
  auto parsed = parse_saved_models(models);
  if (parsed) {
    if (const Status good = check(*parsed); !good) parsed = std::unexpected(good.error());
  }
  if (!parsed) return std::unexpected(std::move(parsed.error()).within("its models"));
  history.models = std::move(*parsed);
  std::set<Digest> known;
  for (uint32_t i = 0; i < parts; ++i) {
    VmHistory::Part part;
    part.component = take_digest(in);
    part.replay = take_bytes(in);
    part.successors = take_bytes(in);
    if (!in.good()) return corrupt("it ends within a component");
    if (!known.insert(part.component).second)
      return corrupt(fmt::format("component {} twice", part.component.short_hex()));
    if (const Status good = check(part); !good)
      return std::unexpected(
          Error(good.error()).within(fmt::format("component {}", part.component.short_hex())));
    history.parts.push_back(std::move(part));
  }
  if (in.left() != 0) return corrupt(fmt::format("{} bytes are left over", in.left()));
  return history;
}

}  // namespace forerun::predict
