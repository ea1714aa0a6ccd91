#include "predict/saved_models.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "predict/saved_form.h"

namespace forerun::predict {
namespace {

constexpr uint32_t kVersion = 1;
constexpr size_t kNameBytesMax = 32;

template <typename... Args>
std::unexpected<Error> corrupt(fmt::format_string<Args...> text, Args&&... args) {
  return fail(ErrorCode::kCorrupt,
              "saved models: " + fmt::format(text, std::forward<Args>(args)...));
}

bool is_model_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

const SavedModels::One* find(const SavedModels& saved, std::string_view name) {
  const auto found = std::find_if(saved.models.begin(), saved.models.end(),
                                  [&](const auto& one) { return one.name == name; });
  return found == saved.models.end() ? nullptr : &*found;
}

}  // namespace

SavedModels save_models(ModelSpan models, std::span<const ComponentId> components,
                        std::span<const Digest> digests) {
  SavedModels saved;
  saved.components.assign(digests.begin(), digests.end());
  for (const auto& model : models) {
    if (Buffer state = model->save(components); !state.empty())
      saved.models.push_back({std::string(model->name()), std::move(state)});
  }
  return saved;
}

std::vector<std::string> restore_models(const SavedModels& saved,
                                        std::span<const ComponentId> components, ModelSpan models) {
  std::vector<std::string> complaints;
  for (const auto& model : models) {
    const auto* state = find(saved, model->name());
    if (state == nullptr) continue;
    if (const Status restored = model->restore(state->state, components); !restored)
      complaints.push_back(fmt::format("{}: {}", state->name, restored.error().message));
  }
  return complaints;
}

Buffer serialize(const SavedModels& saved) {
  ByteWriter out = begin_saved(SavedKind::kVmModels, kVersion);
  out.u32(static_cast<uint32_t>(saved.components.size()));
  for (const Digest& digest : saved.components)
    out.bytes({reinterpret_cast<const std::byte*>(digest.bytes.data()), digest.bytes.size()});
  out.u32(static_cast<uint32_t>(saved.models.size()));
  for (const SavedModels::One& model : saved.models) {
    out.u8(static_cast<uint8_t>(model.name.size()));
    out.bytes(as_bytes(model.name));
    out.u32(static_cast<uint32_t>(model.state.size()));
    out.bytes(model.state);
  }
  return seal(std::move(out));
}

Result<SavedModels> parse_saved_models(ByteView bytes) {
  FR_TRY(const auto form,
         open_saved(bytes, SavedKind::kVmModels, SavedModels::kBytesMax, kVersion));
  ByteReader in(form.body);
  SavedModels saved;
  const uint32_t components = in.u32();
  if (components > SavedModels::kComponentsMax) return corrupt("{} components", components);
  std::set<Digest> known;
  for (uint32_t i = 0; i < components; ++i) {
    const ByteView name = in.bytes(sizeof(Digest::bytes));
    if (!in.good()) return corrupt("they end within the components");
    Digest digest;
    std::memcpy(digest.bytes.data(), name.data(), name.size());
    if (!known.insert(digest).second) return corrupt("component {} twice", digest.short_hex());
    saved.components.push_back(digest);
  }
  const uint32_t models = in.u32();
  if (models > SavedModels::kModelsMax) return corrupt("{} models", models);
  for (uint32_t i = 0; i < models; ++i) {
    SavedModels::One model;
    model.name = as_text(in.bytes(in.u8()));
    const uint32_t length = in.u32();
    const ByteView state = in.bytes(length);
    if (!in.good()) return corrupt("they end within a model");
#ifndef FORERUN_PLANT_BUG_SAVED  // fuzz/histories/prove.sh
    if (!is_model_name(model.name)) return corrupt("a model's name is none");
#endif
    if (length == 0) return corrupt("of model {} nothing was saved", model.name);
    if (find(saved, model.name) != nullptr) return corrupt("model {} twice", model.name);
    model.state.assign(state.begin(), state.end());
    saved.models.push_back(std::move(model));
  }
  if (!in.good() || in.left() != 0) return corrupt("{} bytes are left over", in.left());
  return saved;
}

}  // namespace forerun::predict
