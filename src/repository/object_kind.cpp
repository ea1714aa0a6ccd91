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
  return Needs{
      .one_of = {{index_path(tag.index), fmt::format("compositions/{}", tag.index.hex())}}};
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
  if (path == chunk_path(digest) || path == delta_path(digest) ||
      path == fmt::format("{}/{}", folder, digest.hex()))
    return digest;
  return fail(ErrorCode::kInvalid, fmt::format("'{}' is not named by a digest", path));
}

bool is_named_by_digest(std::string_view path) {
  const size_t dot = path.rfind('.');
  if (dot != std::string_view::npos) {
    const std::string_view number = path.substr(dot + 1);
    constexpr size_t kDigitsMax = 9;
    const bool is_number = !number.empty() && number.size() <= kDigitsMax &&
                           std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; });
    if (!is_number) return false;
    path = path.substr(0, dot);
  }
  return digest_of_path(path).has_value();
}

Status ReferenceWalk::from(const std::string& path, const Visit& visit) {
  return run({{.paths = {path}}}, visit);
}

Status ReferenceWalk::from(const Needs& needs, const Visit& visit) {
  std::vector<Step> steps;
  add_steps(needs, "", steps);
  return run(std::move(steps), visit);
}

void ReferenceWalk::add_steps(const Needs& needs, const std::string& needed_by,
                              std::vector<Step>& steps) {
  for (const std::string& path : needs.objects)
    steps.push_back({.paths = {path}, .needed_by = needed_by});
  for (const auto& paths : needs.one_of) steps.push_back({.paths = paths, .needed_by = needed_by});
  for (const std::string& path : needs.optional)
    steps.push_back({.paths = {path}, .needed_by = needed_by, .is_optional = true});
}

Status ReferenceWalk::run(std::vector<Step> steps, const Visit& visit) {
  const auto is_missing = [](const Result<Needs>& needs) {
    return !needs && needs.error().code == ErrorCode::kNotFound;
  };
  while (!steps.empty()) {
    const Step step = std::move(steps.back());
    steps.pop_back();
    const auto& paths = step.paths;
    if (std::ranges::any_of(paths, [&](const auto& path) { return visited_.contains(path); }))
      continue;
    const std::string* path = &paths[0];
    Result<Needs> needs = read(*path);
    for (size_t i = 1; i < paths.size() && is_missing(needs); ++i) {
      if (kind_of(kinds_, paths[i]) == nullptr) continue;
      Result<Needs> other = read(paths[i]);
      if (is_missing(other)) {
        needs.error().message += ", nor " + paths[i];
        continue;
      }
      path = &paths[i];
      needs = std::move(other);
    }
    if (is_missing(needs) && step.is_optional) continue;
    visited_.insert(*path);
    FR_CHECK(visit(*path, needs, step.needed_by));
    if (needs) add_steps(*needs, *path, steps);
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
