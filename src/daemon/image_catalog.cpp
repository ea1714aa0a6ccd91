#include "daemon/image_catalog.h"

#include <set>

#include "core/log.h"
#include "image/boot_prior.h"
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

Result<repository::ImageIndex> ImageCatalog::load(const Digest& digest) {
  if (cache_.contains(repository::index_path(digest))) {
    auto cached = repository::fetch_index(cache_, digest);
    if (cached) return cached;
    log::warn("the kept index {} is of no use: {}", digest.short_hex(), cached.error().message);
  }
  auto index = ask_each<repository::ImageIndex>(sources_, [&](repository::Source& source) {
    return repository::fetch_index(source, digest);
  });
  if (!index) return index;
  Status kept = cache_.put(repository::index_path(digest), repository::serialize(*index));
  if (kept) kept = cache_.flush();
  if (!kept) log::warn("index {} cannot be kept: {}", digest.short_hex(), kept.error().message);
  return index;
}

std::shared_ptr<const predict::BlockSequence> ImageCatalog::load_prior(const Digest& digest) {
  if (const auto kept = image::fetch_prior(cache_, digest)) return *kept;
  const auto prior = ask_each<std::shared_ptr<const predict::BlockSequence>>(
      sources_, [&](repository::Source& source) { return image::fetch_prior(source, digest); });
  if (!prior) return nullptr;
  if (auto kept = cache_.put(image::prior_path(digest), predict::serialize(**prior)); !kept)
    log::warn("prior {} cannot be kept: {}", digest.short_hex(), kept.error().message);
  return *prior;
}

Result<image::ComponentPtr> ImageCatalog::open_digest(const Digest& digest) {
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = by_digest_.find(digest); found != by_digest_.end()) return found->second;
  }
  FR_TRY(auto index, load(digest));
  auto prior = load_prior(digest);
  const std::unique_lock lock(mutex_);
  if (const auto found = by_digest_.find(digest); found != by_digest_.end()) return found->second;
  auto component = std::make_shared<image::Component>();
  component->id = ComponentId{static_cast<uint32_t>(by_id_.size())};
  component->digest = digest;
  component->index = std::move(index);
  by_id_.push_back(component);
  priors_.push_back(std::move(prior));
  by_digest_.emplace(digest, component);
  return image::ComponentPtr(component);
}

Result<ImageCatalog::Image> ImageCatalog::open(const std::string& name) {
  auto tag = ask_each<repository::ImageTag>(
      sources_, [&](repository::Source& source) { return repository::fetch_tag(source, name); });
  if (!tag)
    return std::unexpected(
        std::move(tag.error()).within(fmt::format("cannot open image {}", name)));
  auto component = open_digest(tag->index);
  if (!component)
    return std::unexpected(
        std::move(component.error()).within(fmt::format("cannot open image {}", name)));
  return Image{std::move(*tag), std::move(*component)};
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

std::shared_ptr<const predict::BlockSequence> ImageCatalog::prior_of(ComponentId component) const {
  const std::shared_lock lock(mutex_);
  return component.value < priors_.size() ? priors_[component.value] : nullptr;
}

Digest ImageCatalog::digest_of(ComponentId component) const {
  const std::shared_lock lock(mutex_);
  return component.value < by_id_.size() ? by_id_[component.value]->digest : Digest{};
}

}  // namespace forerun::daemon
