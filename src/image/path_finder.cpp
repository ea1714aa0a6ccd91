#include "image/path_finder.h"

#include <fmt/format.h>

namespace forerun::image {
namespace {

constexpr int kLinksMax = 40;  // as Linux
constexpr size_t kPathBytesMax = 4096;

struct Step {
  FileId directory = 0;
  std::string name;
};

}  // namespace

Result<const PathFinder::Listing*> PathFinder::list(FileId directory) {
  if (const auto known = listings_.find(directory); known != listings_.end()) return &known->second;
  FR_TRY(auto entries, files_.list(directory));
  listed_ += entries.size();
  if (listed_ > kListedMax)
    return fail(ErrorCode::kTooLarge, fmt::format("over {} directory entries", kListedMax));
  Listing listing;
  for (DirectoryEntry& entry : entries) listing.emplace(std::move(entry.name), entry.file);
  return &listings_.emplace(directory, std::move(listing)).first->second;
}

Result<PathFinder::Found> PathFinder::find(std::string_view path) {
  if (!path.starts_with('/'))
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no absolute path", path));
  std::string rest(path);
  std::vector<Step> way;  // from the root to where we are
  Found found;
  found.file = files_.root();
  FR_TRY(found.info, files_.info(found.file));
  for (int links = 0; !rest.empty();) {
    if (rest.size() > kPathBytesMax) return fail(ErrorCode::kTooLarge, "a path is too long");
    const size_t end = std::min(rest.find('/'), rest.size());
    const std::string name = rest.substr(0, end);
    rest.erase(0, std::min(end + 1, rest.size()));
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      if (!way.empty()) {
        found.file = way.back().directory;
        way.pop_back();
        FR_TRY(found.info, files_.info(found.file));
      }
      continue;
    }
    if (found.info.kind != FileKind::kDirectory)
      return fail(ErrorCode::kNotFound, fmt::format("no file {}", path));
    FR_TRY(const Listing* entries, list(found.file));
    const auto entry = entries->find(name);
    if (entry == entries->end()) return fail(ErrorCode::kNotFound, fmt::format("no file {}", path));
    FR_TRY(const FileInfo info, files_.info(entry->second));
    found.passed.push_back(found.file);
    if (info.kind != FileKind::kSymlink) {
      way.push_back({found.file, name});
      found.file = entry->second;
      found.info = info;
      continue;
    }
    if (++links > kLinksMax)
      return fail(ErrorCode::kTooLarge, fmt::format("{} passes over {} links", path, kLinksMax));
    found.passed.push_back(entry->second);
    FR_TRY(const std::string target, files_.link_target(entry->second));
    rest = rest.empty() ? target : target + "/" + rest;
    if (target.starts_with('/')) {
      way.clear();
      found.file = files_.root();
      FR_TRY(found.info, files_.info(found.file));
    }
  }
  for (const Step& step : way) found.path += "/" + step.name;
  if (found.path.empty()) found.path = "/";
  return found;
}

}  // namespace forerun::image
