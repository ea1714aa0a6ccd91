// Certificates of authorities: the bundle of all as a set, and the links by which OpenSSL finds one
// by the hash of its subject. SOURCE: update-ca-certificates(8), openssl-rehash(1).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "image/kind_context.h"

namespace forerun::image {
namespace {

constexpr std::string_view kFolder = "/etc/ssl/certs";
constexpr std::string_view kBundle = "/etc/ssl/certs/ca-certificates.crt";
constexpr uint64_t kBundleBytesMax = 16 * kMiB;

// Returns "5ed36f99" for "5ed36f99.0"; empty if it is not the name of such a link.
std::string_view hash_of(std::string_view name) {
  const size_t dot = name.find('.');
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (dot != 8 || name.size() == dot + 1 || name.size() > dot + 5 ||
      !std::all_of(name.begin(), name.begin() + 8, is_hex) ||
      !std::all_of(name.begin() + 9, name.end(), is_digit))
    return {};
  return name.substr(0, dot);
}

// What each component has of one hash: the links' targets in the order of their numbers.
using Targets = std::vector<std::string>;

Targets targets_of(const ComponentFiles& files, const std::vector<std::string>& names) {
  Targets targets;
  for (const std::string& name : names) {
    const TreeInode* inode = files.find(fmt::format("{}/{}", kFolder, name));
    if (inode != nullptr && inode->kind == InodeKind::kSymlink) targets.push_back(inode->target);
  }
  return targets;
}

// `names`: all links of one hash, by number. Where two components have different targets under one
// name, all are united and numbered anew.
void merge_links(KindContext& context, std::string_view hash,
                 const std::vector<std::string>& names) {
  const bool collides = std::ranges::any_of(names, [&](const std::string& name) {
    const std::string path = fmt::format("{}/{}", kFolder, name);
    return context.siblings_with(path).size() > 1;
  });
  if (!collides) return;
  Targets all = targets_of(context.components()[0], names);
  const size_t of_base = all.size();
  std::set<std::string> removed;
  for (size_t i = 1; i < context.components().size(); ++i) {
    const ComponentFiles& files = context.components()[i];
    for (const std::string& name : names) {
      const std::string path = fmt::format("{}/{}", kFolder, name);
      const TreeInode* now = files.find(path);
      const TreeInode* before = context.components()[0].find(path);
      if (now != nullptr && before != nullptr && now->target != before->target)
        removed.insert(before->target);
    }
    const Targets targets = targets_of(files, names);
    all.insert(all.end(), targets.begin(), targets.end());
  }
  // What one renumbered is still there.
  for (size_t i = of_base; i < all.size(); ++i) removed.erase(all[i]);
  std::sort(all.begin() + static_cast<ptrdiff_t>(of_base), all.end());
  std::set<std::string> seen = removed;
  size_t number = 0;
  for (const std::string& name : names) context.drop(fmt::format("{}/{}", kFolder, name));
  for (const std::string& target : all) {
    if (seen.insert(target).second)
      context.link(fmt::format("{}/{}.{}", kFolder, hash, number++), target);
  }
}

}  // namespace

void add_certificates(const KindContext& context, std::vector<std::string>& paths) {
  if (context.siblings_with(kBundle).size() > 1) paths.emplace_back(kBundle);
}

Status merge_certificates(KindContext& context) {
  if (context.siblings_with(kBundle).size() > 1) {
    FR_TRY(const auto versions, context.versions_of(kBundle, kBundleBytesMax));
    std::vector<TextVersion> siblings;
    for (const uint32_t sibling : context.siblings_with(kBundle))
      siblings.push_back(versions[sibling]);
    auto merged = merge_records(versions.front(), siblings, {.kind = RecordKind::kPem});
    if (!merged)
      return std::unexpected(std::move(merged.error()).within(fmt::format("merging {}", kBundle)));
    context.generate(kBundle, std::move(*merged));
  }
  std::map<std::string, std::vector<std::string>, std::less<>> names_by_hash;
  for (const std::string& name : context.names_in(kFolder)) {
    if (const auto hash = hash_of(name); !hash.empty()) {
      auto& names = names_by_hash[std::string(hash)];
      names.push_back(name);
    }
  }
  for (auto& [hash, names] : names_by_hash) {
    std::ranges::sort(names, [](const std::string& a, const std::string& b) {
      return std::pair(a.size(), a) < std::pair(b.size(), b);  // "x.2" before "x.10"
    });
    merge_links(context, hash, names);
  }
  return {};
}

}  // namespace forerun::image
