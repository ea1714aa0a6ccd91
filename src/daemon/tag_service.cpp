// What the API asks about names: who signed what they mean, and copies of what they lead to.
#include <fmt/format.h>

#include "daemon/service.h"
#include "image/component_tag.h"
#include "image/repository_kinds.h"
#include "image/signed_tag.h"
#include "net/directory_store.h"
#include "os/file.h"
#include "repository/export.h"
#include "repository/image_index.h"

namespace forerun::daemon {
namespace {

constexpr std::string_view kPartial = ".partial";

api::TagInfo info_of(const std::string& path, const Result<image::TagClaim>& claim,
                     const repository::TrustPolicy& trust) {
  if (!claim) return {.path = path, .refused = claim.error().message};
  api::TagInfo info{.path = path, .digest = claim->index.hex(), .created = claim->created};
  if (claim->signature) info.key = claim->signature->key.hex();
  if (const auto trusted = repository::check_trust(trust, claim->statement(), claim->signature);
      !trusted)
    info.refused = trusted.error().message;
  return info;
}

Result<image::TagClaim> fetch_claim(repository::Store& store, const std::string& path) {
  FR_TRY(const Buffer tag, store.fetch(path, repository::kTagBytesMax));
  return image::read_claim(path, tag);
}

repository::ExportOptions options_of(std::vector<std::string> roots,
                                     Operations::Progress& progress) {
  repository::ExportOptions options;
  options.roots = std::move(roots);
  options.on_progress = [&progress](const repository::ExportProgress& now) -> Status {
    progress.update(now.bytes_done, 0,
                    fmt::format("{} of {} objects", now.objects_done, now.objects_total));
    if (!progress.should_stop()) return {};
    return fail(ErrorCode::kUnavailable, "the daemon is stopping; export again to go on");
  };
  return options;
}

api::ExportOutcome outcome_of(const repository::ExportProgress& done) {
  return {.objects = done.objects_done,
          .bytes = done.bytes_done,
          .objects_reused = done.objects_reused,
          .objects_linked = done.objects_linked};
}

// `near`: the part of the store whose files can be linked to.
Result<std::string> export_folder(const std::string& folder, repository::Store& store,
                                  repository::Store& near, std::vector<std::string> roots,
                                  Operations::Progress& progress) {
  FR_TRY(const auto target,
         net::DirectoryStore::open(folder, net::DirectoryStore::Mode::kReadWrite));
  auto options = options_of(std::move(roots), progress);
  options.link_from = &near;
  FR_TRY(const auto done,
         repository::export_tree(store, *target, image::repository_kinds(), options));
  progress.report(outcome_of(done));
  return fmt::format("{} objects in {}: {} linked, {} were there", done.objects_done, folder,
                     done.objects_linked, done.objects_reused);
}

// Under another name until it is whole.
Result<std::string> export_archive(const std::string& path, repository::Store& store,
                                   std::vector<std::string> roots, Operations::Progress& progress) {
  const size_t slash = path.rfind('/');
  const std::string leaf = path.substr(slash + 1);
  const std::string partial = leaf + std::string(kPartial);
  if (leaf.empty()) return fail(ErrorCode::kInvalid, fmt::format("{} names no file", path));
  FR_TRY(const auto folder, os::PosixFolder::open(slash == 0 ? "/" : path.substr(0, slash)));
  FR_TRY(const auto file, folder->open(partial, true));
  const auto write = [&]() -> Result<repository::ExportedCar> {
    FR_CHECK(file->resize(0));
    FR_TRY(auto done, repository::export_car(store, *file, image::repository_kinds(),
                                             options_of(std::move(roots), progress)));
    FR_CHECK(file->flush());
    FR_CHECK(folder->replace(partial, leaf));
    return done;
  };
  const auto done = write();
  if (!done) {
    FR_CHECK(folder->remove(partial));
    return std::unexpected(done.error());
  }
  api::ExportOutcome outcome = outcome_of(done->totals);
  outcome.root = done->root.text();
  progress.report(std::move(outcome));
  return fmt::format("{} objects, {} bytes, root {}", done->totals.objects_done, done->size_bytes,
                     done->root.text());
}

}  // namespace

Result<std::vector<std::string>> DaemonService::tags_of(const std::vector<std::string>& names) {
  std::vector<std::string> paths;
  if (names.empty()) {
    for (const repository::ObjectKind& kind : image::repository_kinds()) {
      if (!kind.list_roots) continue;
      FR_TRY(const auto roots, kind.list_roots(*parts_.plain_store));
      paths.insert(paths.end(), roots.begin(), roots.end());
    }
    std::sort(paths.begin(), paths.end());
    return paths;
  }
  for (const std::string& name : names) {
    const size_t before = paths.size();
    for (const auto& path : {repository::image_path(name), image::component_tag_path(name)})
      if (parts_.plain_store->contains(path)) paths.push_back(path);
    if (paths.size() == before)
      return fail(ErrorCode::kNotFound,
                  fmt::format("{} has no image or component {}", parts_.plain_store->name(), name));
  }
  return paths;
}

Result<api::OperationInfo> DaemonService::export_repository(const api::ExportRequest& request) {
  FR_TRY(const auto roots, tags_of(request.names));
  if (roots.empty()) return fail(ErrorCode::kNotFound, "there is nothing to export");
  return operations_.start_alone(
      "repository_export", "repository", [this, request, roots](Operations::Progress& progress) {
        repository::Store& all = parts_.plain_repositories;
        return request.car_file.empty()
                   ? export_folder(request.folder, all, *parts_.plain_store, roots, progress)
                   : export_archive(request.car_file, all, roots, progress);
      });
}

Result<std::vector<api::TagInfo>> DaemonService::list_tags() {
  std::vector<api::TagInfo> tags;
  FR_TRY(const auto paths, tags_of({}));
  for (const std::string& path : paths) {
    const auto claim = fetch_claim(*parts_.plain_store, path);
    if (!claim && claim.error().code == ErrorCode::kNotFound) continue;  // removed meanwhile
    tags.push_back(info_of(path, claim, parts_.trust));
  }
  return tags;
}

Result<api::TagInfo> DaemonService::sign_tag(const api::SignRequest& request) {
  FR_TRY(const auto signature, repository::parse_signature(request.key, request.value));
  const std::lock_guard lock(tags_mutex_);
  FR_TRY(const Buffer tag, parts_.plain_store->fetch(request.path, repository::kTagBytesMax));
  FR_TRY(const auto claim, image::read_claim(request.path, tag));
  if (claim.index.hex() != request.digest)
    return fail(ErrorCode::kExists,
                fmt::format("{} means {} by now; sign that", request.path, claim.index.hex()));
  if (!repository::is_signed(signature, as_bytes(claim.statement())))
    return fail(ErrorCode::kDenied,
                fmt::format("this is no signature of {} as it is", request.path));
  FR_TRY(const std::string signed_tag, image::with_signature(request.path, tag, signature));
  FR_CHECK(parts_.plain_store->put(request.path, as_bytes(signed_tag)));
  FR_CHECK(parts_.plain_store->flush());
  return info_of(request.path, image::read_claim(request.path, as_bytes(signed_tag)), parts_.trust);
}

}  // namespace forerun::daemon
