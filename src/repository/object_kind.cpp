#include "repository/object_kind.h"

#include <fmt/format.h>

#include <algorithm>

#include "repository/image_index.h"

namespace forerun::repository {
namespace {

constexpr std::string_view kTagSuffix = ".json";
constexpr size_t kPriorBytesMax = 2 * 1024 * 1024;

std::string_view leaf_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

Result<Needs> needs_of_tag(std::string_view leaf, ByteView data) {
  FR_TRY(const ImageTag tag, parse_tag(as_text(data)));
  if (image_path(tag.name) != fmt::format("images/{}", leaf))
    return fail(ErrorCode::kCorrupt, fmt::format("the tag {} names image {}", leaf, tag.name));
  return Needs{.objects = {index_path(tag.index)}};
}

Result<Needs> needs_of_index(std::string_view leaf, ByteView data) {
  FR_TRY(const Digest name, parse_digest(leaf));
  if (sha256(data) != name)
    return fail(ErrorCode::kCorrupt, fmt::format("index {} is not what its name says", leaf));
  FR_TRY(ImageIndex index, parse_index(data));
  return Needs{.optional = {fmt::format("priors/{}", leaf)}, .chunks = std::move(index.chunks)};
}

Result<std::vector<std::string>> list_images_of(Source& source) {
  FR_TRY(const std::vector<std::string> names, source.list_images());
  std::vector<std::string> paths;
  for (const std::string& name : names) paths.push_back(image_path(name));
  return paths;
}

}  // namespace

ObjectKinds image_kinds() {
  return {{.folder = "images",
           .size_max = kTagBytesMax,
           .needs = needs_of_tag,
           .list_roots = list_images_of},
          {.folder = "indexes",
           .size_max = kIndexBytesMax,
           .needs = needs_of_index,
           .is_named_by_digest = true},
          {.folder = "priors", .size_max = kPriorBytesMax, .is_named_by_digest = true}};
}

Result<std::vector<std::string>> list_tags(Source& source, const std::string& folder) {
  auto* store = dynamic_cast<Store*>(&source);
  if (store == nullptr) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} cannot list what is in {}", source.name(), folder));
  }
  std::vector<std::string> paths;
  FR_CHECK(store->list(folder, [&](const ObjectInfo& object) {
    std::string_view leaf = std::string_view(object.path).substr(folder.size() + 1);
    if (!leaf.ends_with(kTagSuffix)) return Status{};
    leaf.remove_suffix(kTagSuffix.size());
    if (is_valid_name(leaf)) paths.push_back(object.path);
    return Status{};
  }));
  std::ranges::sort(paths);
  return paths;
}

const ObjectKind* kind_of(std::span<const ObjectKind> kinds, std::string_view path) {
  const std::string_view folder = path.substr(0, path.find('/'));
  const auto found = std::ranges::find(kinds, folder, &ObjectKind::folder);
  return found == kinds.end() ? nullptr : &*found;
}

Result<Digest> digest_of_path(std::string_view path) {
  FR_TRY(const Digest digest, parse_digest(leaf_of(path)));
  const std::string_view folder = path.substr(0, path.find('/'));
  if (path == chunk_path(digest) || path == fmt::format("{}/{}", folder, digest.hex()))
    return digest;
  return fail(ErrorCode::kInvalid, fmt::format("'{}' is not named by a digest", path));
}

Status ReferenceWalk::from(const std::string& path, const Visit& visit) {
  return run({{.path = path}}, visit);
}

Status ReferenceWalk::from(const Needs& needs, const Visit& visit) {
  std::vector<Step> steps;
  for (const std::string& path : needs.objects) steps.push_back({.path = path});
  for (const std::string& path : needs.optional)
    steps.push_back({.path = path, .is_optional = true});
  return run(std::move(steps), visit);
}

Status ReferenceWalk::run(std::vector<Step> steps, const Visit& visit) {
  while (!steps.empty()) {
    const Step step = std::move(steps.back());
    steps.pop_back();
    if (!visited_.insert(step.path).second) continue;
    const Result<Needs> needs = read(step.path);
    if (!needs && step.is_optional && needs.error().code == ErrorCode::kNotFound) {
      visited_.erase(step.path);
      continue;
    }
    FR_CHECK(visit(step.path, needs, step.needed_by));
    if (!needs) continue;
    for (const std::string& path : needs->objects)
      steps.push_back({.path = path, .needed_by = step.path});
    for (const std::string& path : needs->optional)
      steps.push_back({.path = path, .needed_by = step.path, .is_optional = true});
  }
  return {};
}

Result<Needs> ReferenceWalk::read(const std::string& path) {
  const ObjectKind* kind = kind_of(kinds_, path);
  if (kind == nullptr)
    return fail(ErrorCode::kUnsupported, fmt::format("{} is of no known kind", path));
  FR_TRY(const Buffer data, source_.fetch(path, kind->size_max));
  if (!kind->needs) return Needs{};
  auto needs = kind->needs(leaf_of(path), data);
  if (!needs) return std::unexpected(needs.error().within(path));
  return needs;
}

}  // namespace forerun::repository
