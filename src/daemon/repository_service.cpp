// What the API asks about the repository as a whole: verification, garbage collection. The work is
// repository/'s; what is in use here is the daemon's to know.
#include <fmt/format.h>

#include <set>

#include "daemon/parallel.h"
#include "daemon/service.h"
#include "image/repository_kinds.h"
#include "os/clock.h"
#include "os/file.h"
#include "repository/gc.h"
#include "repository/image_index.h"
#include "repository/verify.h"

namespace forerun::daemon {
namespace {

constexpr std::string_view kSubject = "repository";
constexpr size_t kProblemsKept = 100;  // of one verification, in its operation
constexpr size_t kCursorBytesMax = 256;

Status go_on(Operations::Progress& progress) {
  if (!progress.should_stop()) return {};
  return fail(ErrorCode::kUnavailable, "the daemon is stopping; start it again to go on");
}

// Where a deep verification was when it last said so.
class Cursor {
 public:
  explicit Cursor(std::string path) : path_(std::move(path)) {}

  // Returns an empty one if there is none.
  Result<std::string> load() const {
    if (!os::path_exists(path_)) return std::string();
    FR_TRY(const Buffer text, os::read_file(path_, kCursorBytesMax));
    std::string_view digits = as_text(text);
    if (digits.ends_with('\n')) digits.remove_suffix(1);
    if (digits.empty()) return std::string();
    FR_CHECK(parse_digest(digits));
    return std::string(digits);
  }
  Status save(const std::string& cursor) const {
    return os::write_file_atomic(path_, as_bytes(cursor + "\n"));
  }

 private:
  const std::string path_;
};

api::VerifyOutcome outcome_of(bool deep, repository::VerifyReport report) {
  const repository::VerifyProgress& totals = report.totals;
  api::VerifyOutcome outcome{.deep = deep,
                             .objects_checked = totals.objects_checked,
                             .chunks_checked = totals.chunks_checked,
                             .chunk_count = totals.chunks_total,
                             .bytes_read = totals.bytes_read,
                             .problem_count = totals.problems};
  for (repository::Problem& problem : report.problems)
    outcome.problems.push_back({std::move(problem.path), std::move(problem.error),
                                std::move(problem.needed_by), problem.needed_by_count});
  return outcome;
}

// `all`: the same with the other repositories behind it.
Result<std::string> verify(const api::VerifyRequest& request, const Cursor& cursor,
                           repository::Store& store, repository::Source& all,
                           Operations::Progress& progress) {
  repository::VerifyOptions options;
  options.objects_from = &all;
  options.reads_chunks = request.deep;
  options.problems_max = kProblemsKept;
  options.parallel_for = on_all_processors;
  if (request.resume) {
    FR_TRY(options.cursor, cursor.load());
  }
  size_t batches = 0;
  options.on_progress = [&](const repository::VerifyProgress& now) -> Status {
    // Chunks stand for bytes: what they have stored is known only once they are read.
    progress.update(
        now.chunks_checked, now.chunks_total,
        fmt::format("{} objects, {} of {} chunks checked, {} problems", now.objects_checked,
                    now.chunks_checked, now.chunks_total, now.problems));
    constexpr size_t kBatchesBetweenNotes = 16;
    const bool is_stopping = progress.should_stop();
    if (request.deep && (is_stopping || ++batches % kBatchesBetweenNotes == 0))
      FR_CHECK(cursor.save(now.cursor));
    return go_on(progress);
  };
  FR_TRY(auto report, repository::verify(store, image::repository_kinds(), options));
  if (request.deep) FR_CHECK(cursor.save(""));
  api::VerifyOutcome outcome = outcome_of(request.deep, std::move(report));
  std::string message =
      fmt::format("{} objects and {} chunks {}, {} problems", outcome.objects_checked,
                  outcome.chunk_count, request.deep ? "read" : "looked at", outcome.problem_count);
  progress.report(std::move(outcome));
  return message;
}

std::string count_and_size(uint64_t objects, uint64_t bytes) {
  return fmt::format("{} objects, {:.1f} MiB", objects, static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

// What a pass of garbage collection must spare here: asked again and again during the pass, each
// disk's chunks are told once.
class DaemonService::InUse {
 public:
  InUse(ImageCatalog& catalog, VmManager& vms, repository::Store& store)
      : catalog_(catalog), vms_(vms), store_(store) {}

  Result<repository::Needs> ask() {
    FR_TRY(std::set<Digest> disks, vms_.disks());
    disks.merge(catalog_.open_disks());
    repository::Needs needs;
    for (const Digest& disk : disks) {
      if (told_.contains(disk)) continue;
      if (catalog_.add_needs(disk, store_, needs)) told_.insert(disk);
    }
    return needs;
  }

 private:
  ImageCatalog& catalog_;
  VmManager& vms_;
  repository::Store& store_;
  std::set<Digest> told_;
};

Result<api::OperationInfo> DaemonService::verify_repository(const api::VerifyRequest& request) {
  return operations_.start_alone(
      "repository_verify", std::string(kSubject), [this, request](Operations::Progress& progress) {
        return verify(request, Cursor(parts_.config.state_dir + "/verify.cursor"),
                      *parts_.plain_store, parts_.plain_repositories, progress);
      });
}

Result<std::string> DaemonService::collect(const api::GcRequest& request,
                                           Operations::Progress& progress) {
  repository::GcOptions options;
  options.is_dry_run = request.dry_run;
  // What an import of this daemon has put so far is young, however short the grace: one that begins
  // later puts or renews all after this moment. A few seconds, for clocks differ.
  constexpr Nanos kSlack = 5s;
  options.grace = std::max(request.grace, operations_.oldest_running() + kSlack);
  InUse in_use(parts_.catalog, parts_.vms, *parts_.plain_store);
  options.in_use = [&] { return in_use.ask(); };
  options.on_progress = [&](const repository::GcProgress& now) -> Status {
    progress.update(now.removed_bytes, request.dry_run ? 0 : now.garbage_bytes,
                    fmt::format("{} objects seen, {} garbage, {} removed", now.objects_seen,
                                now.garbage_objects, now.removed_objects));
    return go_on(progress);
  };
  const bool has_others = parts_.sources.size() > 1;
  FR_TRY(const auto done, repository::collect_garbage(
                              *parts_.plain_store, image::repository_kinds(has_others), options));
  progress.report(api::GcOutcome{.dry_run = request.dry_run,
                                 .objects_seen = done.objects_seen,
                                 .objects_young = done.objects_young,
                                 .garbage_objects = done.garbage_objects,
                                 .garbage_bytes = done.garbage_bytes,
                                 .removed_objects = done.removed_objects,
                                 .removed_bytes = done.removed_bytes,
                                 .saved_objects = done.saved_objects});
  return request.dry_run
             ? "would remove " + count_and_size(done.garbage_objects, done.garbage_bytes)
             : "removed " + count_and_size(done.removed_objects, done.removed_bytes);
}

Result<api::OperationInfo> DaemonService::collect_garbage(const api::GcRequest& request) {
  return operations_.start_alone(
      "repository_gc", std::string(kSubject),
      [this, request](Operations::Progress& progress) { return collect(request, progress); });
}

Status DaemonService::remove_image(const std::string& name) {
  FR_TRY(const bool is_removed, parts_.store->remove(repository::image_path(name), Nanos::max()));
  if (!is_removed)
    return fail(ErrorCode::kNotFound,
                fmt::format("{} has no image {}", parts_.store->name(), name));
  return parts_.store->flush();
}

}  // namespace forerun::daemon
