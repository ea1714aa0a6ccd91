#include "daemon/image_catalog.h"

#include <set>

#include "core/log.h"
#include "image/boot_prior.h"
#include "image/component_index.h"
#include "image/component_tag.h"
#include "repository/fetch.h"

namespace forerun::daemon {

namespace {

// Returns the first source's answer that is one; otherwise the most telling error: "not found" only
// if all said so.
template <typename T, typename Ask>
Result<T> ask_each(const std::vector<repository::Source*>& sources, const Ask& ask) {
  std::optional<Error> worst;
  for (repository::Source* source : sources) {
    Result<T> answer = ask(*source);
    if (answer) return answer;
    if (answer.error().code != ErrorCode::kNotFound)
      log::warn("repository {}: {}", source->name(), answer.error().message);
    if (!worst || worst->code == ErrorCode::kNotFound) worst = answer.error();
  }
  if (!worst) return fail(ErrorCode::kNotFound, "no repository is configured");
  return std::unexpected(*worst);
}

}  // namespace

std::vector<ComponentId> ImageCatalog::Layout::components() const {
  std::vector<ComponentId> ids;
  for (const auto& component : table.components()) ids.push_back(component->id);
  return ids;
}

template <typename T, typename Parse>
Result<T> ImageCatalog::load(const std::string& path, const Digest& digest, size_t size_max,
                             const Parse& parse) {
  const auto fetch = [&](repository::Source& source) -> Result<std::pair<Buffer, T>> {
    FR_TRY(Buffer data, source.fetch(path, size_max));
    if (sha256(data) != digest)
      return fail(ErrorCode::kCorrupt, fmt::format("{} has another digest", path));
    FR_TRY(T value, parse(data));
    return std::pair{std::move(data), std::move(value)};
  };
  if (cache_.contains(path)) {
    auto cached = fetch(cache_);
    if (cached) return std::move(cached->second);
    log::warn("the kept {} is of no use: {}", path, cached.error().message);
  }
  auto found = ask_each<std::pair<Buffer, T>>(sources_, fetch);
  if (!found) return std::unexpected(std::move(found.error()));
  Status kept = cache_.put(path, found->first);
  if (kept) kept = cache_.flush();
  if (!kept) log::warn("{} cannot be kept: {}", path, kept.error().message);
  return std::move(found->second);
}

Result<ImageCatalog::PriorPtr> ImageCatalog::load_prior(const std::string& path) {
  if (const auto kept = image::fetch_prior(cache_, path)) return *kept;
  auto prior = ask_each<PriorPtr>(
      sources_, [&](repository::Source& source) { return image::fetch_prior(source, path); });
  if (!prior && prior.error().code == ErrorCode::kNotFound) return PriorPtr();
  if (!prior) return prior;
  if (auto kept = cache_.put(path, predict::serialize(**prior)); !kept)
    log::warn("{} cannot be kept: {}", path, kept.error().message);
  return prior;
}

Result<image::ComponentPtr> ImageCatalog::open_part(const image::CompositionPart& part) {
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = by_digest_.find(part.digest); found != by_digest_.end())
      return found->second;
  }
  repository::ImageIndex data;
  std::optional<std::string> function;
  if (part.kind == image::CompositionPart::Kind::kIndex) {
    FR_TRY(data, load<repository::ImageIndex>(
                     repository::index_path(part.digest), part.digest, repository::kIndexBytesMax,
                     [](ByteView bytes) { return repository::parse_index(bytes); }));
  } else {
    FR_TRY(auto index, load<image::ComponentIndex>(image::component_path(part.digest), part.digest,
                                                   image::kComponentIndexBytesMax,
                                                   image::parse_component_index));
    data = std::move(index.data);
    function = std::move(index.info.function);
  }
  const std::unique_lock lock(mutex_);
  if (const auto found = by_digest_.find(part.digest); found != by_digest_.end())
    return found->second;
  auto component = std::make_shared<image::Component>();
  component->id = ComponentId{static_cast<uint32_t>(by_id_.size())};
  component->digest = part.digest;
  component->index = std::move(data);
  by_id_.push_back(component);
  by_digest_.emplace(part.digest, component);
  if (function) functions_.emplace(component->id, std::move(*function));
  return image::ComponentPtr(component);
}

Result<ImageCatalog::LayoutPtr> ImageCatalog::compose(const Digest& digest,
                                                      const image::Composition& composition) {
  std::vector<image::ComponentPtr> parts;
  for (const image::CompositionPart& part : composition.parts) {
    auto component = open_part(part);
    if (!component)
      return std::unexpected(
          std::move(component.error()).within(fmt::format("cannot open part {}", part.name)));
    parts.push_back(std::move(*component));
  }
  std::vector<image::Extent> extents;
  for (const image::CompositionExtent& extent : composition.extents)
    extents.push_back({extent.range, parts[extent.part], extent.part_offset});
  FR_TRY(auto table, image::MappingTable::create(composition.size_bytes, std::move(extents)));
  auto layout = std::make_shared<Layout>(digest, std::move(table), predict::Priors{},
                                         std::map<ComponentId, Part>{});
  for (uint32_t i = 0; i < parts.size(); ++i) {
    const std::shared_lock lock(mutex_);
    const auto function = functions_.find(parts[i]->id);
    layout->parts.emplace(
        parts[i]->id, Part{composition.parts[i].name,
                           composition.parts[i].kind == image::CompositionPart::Kind::kComponent,
                           function == functions_.end() ? "" : function->second});
  }
  for (uint32_t part = 0; part < parts.size(); ++part) {
    auto prior = load_prior(image::part_prior_path(digest, part));
    if (!prior) break;  // no repository answers: do not wait for one again and again
    if (*prior) layout->priors.emplace(parts[part]->id, std::move(*prior));
  }
  return layout;
}

Result<ImageCatalog::LayoutPtr> ImageCatalog::open_digest(const Digest& digest) {
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = layouts_.find(digest); found != layouts_.end()) return found->second;
  }
  LayoutPtr layout;
  const auto load_composition = [&] {
    return load<image::Composition>(image::composition_path(digest), digest,
                                    image::kCompositionBytesMax, image::parse_composition);
  };
  // What is kept is opened as what it is, whether or not a repository answers.
  if (cache_.contains(image::composition_path(digest))) {
    FR_TRY(const auto composition, load_composition());
    FR_TRY(layout, compose(digest, composition));
  } else if (auto whole = open_part({image::CompositionPart::Kind::kIndex, digest, "image"})) {
    predict::Priors priors;
    if (auto prior = load_prior(image::prior_path(digest)); prior && *prior)
      priors.emplace((*whole)->id, std::move(*prior));
    layout = std::make_shared<Layout>(digest, image::MappingTable::whole(std::move(*whole)),
                                      std::move(priors), std::map<ComponentId, Part>{});
  } else if (whole.error().code == ErrorCode::kNotFound) {
    const auto composition = load_composition();
    if (!composition) return std::unexpected(std::move(whole.error()));
    FR_TRY(layout, compose(digest, *composition));
  } else {
    return std::unexpected(std::move(whole.error()));
  }
  const std::unique_lock lock(mutex_);
  return layouts_.emplace(digest, std::move(layout)).first->second;
}

Result<ImageCatalog::Image> ImageCatalog::open(const std::string& name) {
  auto tag = ask_each<repository::ImageTag>(
      sources_, [&](repository::Source& source) { return repository::fetch_tag(source, name); });
  if (!tag)
    return std::unexpected(
        std::move(tag.error()).within(fmt::format("cannot open image {}", name)));
  auto layout = open_digest(tag->index);
  if (!layout)
    return std::unexpected(
        std::move(layout.error()).within(fmt::format("cannot open image {}", name)));
  return Image{std::move(*tag), std::move(*layout)};
}

Result<std::vector<std::string>> ImageCatalog::names() {
  std::set<std::string> all;
  std::optional<Error> failed;
  bool answered = false;
  for (repository::Source* source : sources_) {
    auto names = source->list_images();
    if (names) {
      answered = true;
      all.insert(names->begin(), names->end());
    } else if (names.error().code != ErrorCode::kNotFound) {
      log::warn("repository {} cannot be listed: {}", source->name(), names.error().message);
      failed = names.error();
    }
  }
  if (!answered && failed) return std::unexpected(*failed);
  return std::vector<std::string>(all.begin(), all.end());
}

repository::ChunkRef ImageCatalog::resolve(ComponentId component, uint64_t block) const {
  const std::shared_lock lock(mutex_);
  if (component.value >= by_id_.size()) return {};
  const auto& chunks = by_id_[component.value]->index.chunks;
  return block < chunks.size() ? chunks[block] : repository::ChunkRef{};
}

uint64_t ImageCatalog::name_of(ComponentId component) const {
  const std::shared_lock lock(mutex_);
  if (component.value >= by_id_.size() || !functions_.contains(component)) return 0;
  return by_id_[component.value]->digest.prefix();
}

Digest ImageCatalog::digest_of(ComponentId component) const {
  const std::shared_lock lock(mutex_);
  return component.value < by_id_.size() ? by_id_[component.value]->digest : Digest{};
}

}  // namespace forerun::daemon
