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

bool ImageCatalog::is_kept(const Digest& digest) {
  return cache_.contains(image::composition_path(digest)) ||
         cache_.contains(repository::index_path(digest));
}

std::vector<ComponentId> ImageCatalog::Layout::components() const {
  std::vector<ComponentId> ids;
  for (const auto& component : table.components()) ids.push_back(component->id);
  return ids;
}

predict::Priors ImageCatalog::Layout::priors() const {
  const std::lock_guard lock(mutex_);
  return priors_;
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

bool ImageCatalog::add_priors(const Layout& layout) {
  {
    const std::shared_lock lock(mutex_);
    if (expected_priors_.contains(layout.digest)) return false;
  }
  predict::Priors priors;
  const auto add = [&](ComponentId component, const std::string& path) {
    auto prior = load_prior(path);
    if (prior && *prior) priors.emplace(component, std::move(*prior));
    return prior.has_value();
  };
  const auto components = layout.components();
  if (layout.parts.empty()) {
    add(components.front(), image::prior_path(layout.digest));
  } else {
    for (const auto& [component, part] : layout.parts) {
      // No repository answers: do not wait for one again and again.
      if (!add(component, image::part_prior_path(layout.digest, part.number))) break;
    }
  }
  const std::lock_guard lock(layout.mutex_);
  layout.priors_ = std::move(priors);
  return true;
}

void ImageCatalog::expect_priors(const Digest& digest) {
  const std::unique_lock lock(mutex_);
  expected_priors_.insert(digest);
}

void ImageCatalog::load_priors(const Digest& digest) {
  LayoutPtr layout;
  {
    const std::unique_lock lock(mutex_);
    expected_priors_.erase(digest);
    if (const auto found = layouts_.find(digest); found != layouts_.end()) layout = found->second;
  }
  if (layout) add_priors(*layout);  // otherwise whoever opens it will
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
  return know(part.digest, std::move(data), std::move(function));
}

image::ComponentPtr ImageCatalog::know(const Digest& digest, repository::ImageIndex data,
                                       std::optional<std::string> function) {
  const std::unique_lock lock(mutex_);
  if (const auto found = by_digest_.find(digest); found != by_digest_.end()) return found->second;
  auto component = std::make_shared<image::Component>();
  component->id = ComponentId{static_cast<uint32_t>(by_id_.size())};
  component->digest = digest;
  component->index = std::move(data);
  by_id_.push_back(component);
  by_digest_.emplace(digest, component);
  if (function) functions_.emplace(component->id, std::move(*function));
  return component;
}

void ImageCatalog::add_component(const Digest& digest, const repository::ImageIndex& data,
                                 const std::string& function) {
  {
    const std::shared_lock lock(mutex_);
    if (by_digest_.contains(digest)) return;
  }
  know(digest, data, function);
}

void ImageCatalog::keep_component(const Digest& digest) {
  const std::string path = image::component_path(digest);
  if (cache_.contains(path)) return;
  [[maybe_unused]] const auto kept =
      load<bool>(path, digest, image::kComponentIndexBytesMax, [](ByteView) -> Result<bool> {
        return true;  // its digest is the one that was parsed
      });
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
  auto layout = std::make_shared<Layout>(digest, std::move(table));
  for (uint32_t i = 0; i < parts.size(); ++i) {
    const std::shared_lock lock(mutex_);
    const auto function = functions_.find(parts[i]->id);
    layout->parts.emplace(
        parts[i]->id, Part{i, composition.parts[i].name,
                           composition.parts[i].kind == image::CompositionPart::Kind::kComponent,
                           function == functions_.end() ? "" : function->second});
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
    layout = std::make_shared<Layout>(digest, image::MappingTable::whole(std::move(*whole)));
  } else if (whole.error().code == ErrorCode::kNotFound) {
    const auto composition = load_composition();
    if (!composition) return std::unexpected(std::move(whole.error()));
    FR_TRY(layout, compose(digest, *composition));
  } else {
    return std::unexpected(std::move(whole.error()));
  }
  const bool has_priors = add_priors(*layout);
  bool came_late = false;  // the priors, while the disk was opened without them
  {
    const std::unique_lock lock(mutex_);
    layout = layouts_.emplace(digest, std::move(layout)).first->second;
    came_late = !has_priors && !expected_priors_.contains(digest);
  }
  if (came_late) add_priors(*layout);
  return layout;
}

class ImageCatalog::Opening {
 public:
  Opening(ImageCatalog& catalog, const Digest& digest) : catalog_(catalog), digest_(digest) {
    const std::unique_lock lock(catalog_.mutex_);
    catalog_.opening_.insert(digest_);
  }
  ~Opening() {
    const std::unique_lock lock(catalog_.mutex_);
    catalog_.opening_.erase(catalog_.opening_.find(digest_));
  }
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

 private:
  ImageCatalog& catalog_;
  const Digest digest_;
};

std::set<Digest> ImageCatalog::open_disks() const {
  const std::unique_lock lock(mutex_);
  std::set<Digest> disks(opening_.begin(), opening_.end());
  for (const auto& [digest, layout] : layouts_)
    if (layout.use_count() > 1) disks.insert(digest);
  return disks;
}

bool ImageCatalog::add_needs(const Digest& digest, repository::Store& store,
                             repository::Needs& needs) {
  const auto add = [&](const Digest& object) {
    for (const std::string& path : {repository::index_path(object), image::component_path(object),
                                    image::composition_path(object)})
      if (store.contains(path)) needs.objects.push_back(path);
  };
  add(digest);
  LayoutPtr layout;
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = layouts_.find(digest); found != layouts_.end()) layout = found->second;
  }
  if (!layout && is_kept(digest)) {
    auto opened = open_digest(digest);
    if (!opened) return false;
    layout = std::move(*opened);
  }
  if (!layout) return false;
  for (const auto& component : layout->table.components()) {
    add(component->digest);
    for (const auto* chunks : {&component->index.chunks, &component->index.bases})
      needs.chunks.insert(needs.chunks.end(), chunks->begin(), chunks->end());
  }
  return true;
}

Result<ImageCatalog::FoundTag> ImageCatalog::find_tag(const std::string& name) {
  return ask_each<FoundTag>(sources_, [&](repository::Source& source) -> Result<FoundTag> {
    FR_TRY(auto tag, repository::fetch_tag(source, name));
    return FoundTag{std::move(tag), &source};
  });
}

Result<ImageCatalog::Image> ImageCatalog::open(const std::string& name) {
  auto found = find_tag(name);
  std::optional<Opening> opening;
  // A garbage collection that read the tags before this was known to be opened has seen the tag
  // if it is there now: then it spares what the tag leads to.
  for (int attempt = 0; found; ++attempt) {
    constexpr int kAttemptsMax = 8;  // the name changes all the time: let it be
    const Digest digest = found->tag.index;
    opening.emplace(*this, digest);
    const bool is_collected_here = dynamic_cast<repository::Store*>(found->source) != nullptr;
    if (!is_collected_here || attempt >= kAttemptsMax) break;
    found = find_tag(name);
    if (found && found->tag.index == digest) break;
  }
  if (!found)
    return std::unexpected(
        std::move(found.error()).within(fmt::format("cannot open image {}", name)));
  repository::ImageTag& tag = found->tag;
  auto layout = open_digest(tag.index);
  if (!layout)
    return std::unexpected(
        std::move(layout.error()).within(fmt::format("cannot open image {}", name)));
  return Image{std::move(tag), std::move(*layout)};
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

std::optional<ComponentId> ImageCatalog::find(const Digest& component) const {
  const std::shared_lock lock(mutex_);
  const auto known = by_digest_.find(component);
  if (known == by_digest_.end()) return std::nullopt;
  return known->second->id;
}

Digest ImageCatalog::digest_of(ComponentId component) const {
  const std::shared_lock lock(mutex_);
  return component.value < by_id_.size() ? by_id_[component.value]->digest : Digest{};
}

}  // namespace forerun::daemon
