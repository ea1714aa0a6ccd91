#include "image/dependencies.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "image/component_tag.h"

namespace forerun::image {
namespace {

constexpr size_t kTagsMax = 10'000;
constexpr std::string_view kBaseFunction = "base";

std::unexpected<Error> about(std::string_view name, const Error& error) {
  return std::unexpected(Error(error).within(fmt::format("component {}", name)));
}

void each(size_t count, const ParallelFor& parallel_for, const std::function<void(size_t)>& body) {
  if (parallel_for) return parallel_for(count, body);
  for (size_t i = 0; i < count; ++i) body(i);
}

Status pin_one(ComponentWish& wish, repository::Source& source) {
  if (wish.digest) return {};
  const auto tag = fetch_component_tag(source, wish.name);
  if (!tag) return about(wish.name, tag.error());
  wish.digest = tag->index;
  return {};
}

bool answers_to(const ComponentWish& wish, const ComponentInfo& info, std::string_view name) {
  return wish.name == name || info.name == name ||
         std::find(info.provides.begin(), info.provides.end(), name) != info.provides.end();
}

class Resolver {
 public:
  Resolver(const Manifest& manifest, repository::Store& store)
      : manifest_(manifest), store_(store) {}

  Result<std::vector<ResolvedComponent>> run(const ParallelFor& parallel_fetch) {
    std::vector<ComponentWish> wishes{manifest_.base};
    wishes.insert(wishes.end(), manifest_.components.begin(), manifest_.components.end());
    std::vector<Result<ComponentIndex>> indexes(wishes.size());
    each(wishes.size(), parallel_fetch, [&](size_t i) { indexes[i] = fetch(wishes[i]); });
    for (size_t i = 0; i < wishes.size(); ++i) FR_CHECK(add(wishes[i], std::move(indexes[i])));
    order_ = {0};
    state_.assign(loaded_.size(), State::kNew);
    state_[0] = State::kDone;
    for (uint32_t i = 1; i <= manifest_.components.size(); ++i) FR_CHECK(visit(i));
    return in_order();
  }

 private:
  enum class State { kNew, kOpen, kDone };

  // REQUIRES: it is pinned.
  Result<ComponentIndex> fetch(const ComponentWish& wish) const {
    // What is here stays while it is relied upon (repository/gc.h); what is elsewhere is not ours.
    const std::string path = component_path(*wish.digest);
    if (store_.contains(path)) [[maybe_unused]]
      const Status renewed = store_.renew(path);  // gone meanwhile: the fetch says so
    return fetch_component_index(store_, *wish.digest);
  }

  Status add(const ComponentWish& wish, Result<ComponentIndex> index) {
    for (const ResolvedComponent& other : loaded_) {
      if (other.wish.digest == wish.digest)
        return fail(ErrorCode::kInvalid, fmt::format("component {} is given twice, also as {}",
                                                     wish.name, other.wish.name));
    }
    if (!index) return about(wish.name, index.error());
    loaded_.push_back({wish, std::move(*index), {}, false});
    needs_.emplace_back();
    return {};
  }

  // "app needs web needs redis".
  std::string chain(std::string_view last) const {
    std::string text;
    for (const uint32_t i : open_) text += loaded_[i].wish.name + " needs ";
    return text.append(last);
  }

  Status visit(uint32_t i) {
    if (state_[i] == State::kDone) return {};
    if (state_[i] == State::kOpen)
      return fail(ErrorCode::kInvalid, fmt::format("components depend on one another in a circle: "
                                                   "{}",
                                                   chain(loaded_[i].wish.name)));
    state_[i] = State::kOpen;
    open_.push_back(i);
    const std::vector<std::string> depends = loaded_[i].index.info.depends;
    for (const std::string& name : depends) {
      FR_TRY(const uint32_t needed, find(name));
      if (needed == 0) {
        loaded_[i].knows_base = true;
        continue;
      }
      needs_[i].push_back(needed);
      FR_CHECK(visit(needed));
    }
    open_.pop_back();
    state_[i] = State::kDone;
    order_.push_back(i);
    return {};
  }

  // Returns which of the loaded ones is meant, after loading it if need be.
  Result<uint32_t> find(const std::string& name) {
    for (uint32_t i = 0; i < loaded_.size(); ++i) {
      if (answers_to(loaded_[i].wish, loaded_[i].index.info, name)) return i;
    }
    FR_TRY(const ComponentWish wish, search(name));
    if (loaded_.size() > kManifestComponentsMax)
      return fail(ErrorCode::kTooLarge,
                  fmt::format("{}: over {} components", chain(wish.name), kManifestComponentsMax));
    const auto known = std::find_if(loaded_.begin(), loaded_.end(), [&](const auto& component) {
      return component.wish.digest == wish.digest;  // under another tag
    });
    if (known != loaded_.end()) return static_cast<uint32_t>(known - loaded_.begin());
    if (auto status = add(wish, fetch(wish)); !status)
      return std::unexpected(std::move(status.error()).within(chain(name)));
    state_.push_back(State::kNew);
    const auto added = static_cast<uint32_t>(loaded_.size() - 1);
    if (loaded_[added].index.info.function != kBaseFunction) return added;
    if (manifest_.allow_other_base) {
      loaded_.pop_back(), needs_.pop_back(), state_.pop_back();
      return 0;
    }
    return fail(ErrorCode::kInvalid,
                fmt::format("{}, which is a base, but the manifest's base is {}: build it on that, "
                            "or set allow_other_base",
                            chain(wish.name), manifest_.base.name));
  }

  // Returns the component in the repository that has the name, or the only one that provides it.
  Result<ComponentWish> search(const std::string& name) {
    if (is_valid_name(name)) {
      const auto tag = fetch_component_tag(store_, name);
      if (tag) return ComponentWish{name, tag->index};
      if (tag.error().code != ErrorCode::kNotFound)
        return std::unexpected(Error(tag.error()).within(chain(name)));
    }
    FR_TRY(const std::vector<ComponentWish> providers, providers_of(name));
    if (providers.size() == 1) return providers.front();
    if (providers.empty())
      return fail(ErrorCode::kNotFound,
                  fmt::format("{}, which the repository does not have", chain(name)));
    std::vector<std::string> names;
    for (const ComponentWish& wish : providers) names.push_back(wish.name);
    return fail(ErrorCode::kInvalid,
                fmt::format("{}, which several components provide: name one of {} in the manifest",
                            chain(name), fmt::join(names, ", ")));
  }

  Result<std::vector<ComponentWish>> providers_of(const std::string& name) {
    constexpr std::string_view kEnd = ".json";
    std::vector<std::string> tags;
    const auto listed =
        store_.list("component-tags", [&](const repository::ObjectInfo& object) -> Status {
          std::string_view tag = object.path;
          tag.remove_prefix(std::min(tag.rfind('/') + 1, tag.size()));
          if (!tag.ends_with(kEnd)) return {};
          if (tags.size() >= kTagsMax)
            return fail(ErrorCode::kTooLarge,
                        fmt::format("over {} components are too many to search", kTagsMax));
          tags.emplace_back(tag.substr(0, tag.size() - kEnd.size()));
          return {};
        });
    // A far repository may not be able to: there a component has to have the name.
    if (!listed && listed.error().code != ErrorCode::kUnsupported)
      return std::unexpected(listed.error());
    std::sort(tags.begin(), tags.end());
    std::vector<ComponentWish> providers;
    for (const std::string& tag_name : tags) {
      const auto tag = fetch_component_tag(store_, tag_name);
      if (!tag) continue;  // removed meanwhile, or damaged: verify says so
      const auto index = fetch_component_index(store_, tag->index);
      const ComponentWish wish{tag_name, tag->index};
      if (!index || !answers_to(wish, index->info, name)) continue;
      // Two tags of one component are one candidate.
      if (std::none_of(providers.begin(), providers.end(),
                       [&](const ComponentWish& other) { return other.digest == wish.digest; }))
        providers.push_back(wish);
    }
    return providers;
  }

  std::vector<ResolvedComponent> in_order() {
    std::vector<uint32_t> place(loaded_.size());
    std::vector<ResolvedComponent> ordered;
    for (const uint32_t i : order_) {
      place[i] = static_cast<uint32_t>(ordered.size());
      std::vector<uint32_t> built_on;
      for (const uint32_t needed : needs_[i]) {
        const auto& below = ordered[place[needed]].built_on;
        built_on.push_back(place[needed]);
        built_on.insert(built_on.end(), below.begin(), below.end());
        loaded_[i].knows_base |= ordered[place[needed]].knows_base;
      }
      std::sort(built_on.begin(), built_on.end());
      built_on.erase(std::unique(built_on.begin(), built_on.end()), built_on.end());
      ordered.push_back(std::move(loaded_[i]));
      ordered.back().built_on = std::move(built_on);
    }
    return ordered;
  }

  const Manifest& manifest_;
  repository::Store& store_;
  std::vector<ResolvedComponent> loaded_;     // the base, those named, those added
  std::vector<std::vector<uint32_t>> needs_;  // by loaded: which of them it depends on
  std::vector<State> state_;
  std::vector<uint32_t> open_, order_;
};

}  // namespace

Result<Manifest> pin_manifest(Manifest manifest, repository::Source& source,
                              const ParallelFor& parallel_fetch) {
  std::vector<Status> pinned(1 + manifest.components.size());
  each(pinned.size(), parallel_fetch, [&](size_t i) {
    pinned[i] = pin_one(i == 0 ? manifest.base : manifest.components[i - 1], source);
  });
  for (Status& status : pinned) FR_CHECK(std::move(status));
  return manifest;
}

Result<std::vector<ResolvedComponent>> resolve_components(const Manifest& pinned,
                                                          repository::Store& store,
                                                          const ParallelFor& parallel_fetch) {
  return Resolver(pinned, store).run(parallel_fetch);
}

}  // namespace forerun::image
