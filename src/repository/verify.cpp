#include "repository/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "repository/fetch.h"

namespace forerun::repository {
namespace {

constexpr size_t kNeededByMax = 16;

// Whether the error tells about the link of now, not about what is stored.
bool is_passing(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kTimedOut;
}

// What an index says of a chunk. Two indexes that say different sizes are two claims, of which one
// is wrong. How many bytes are stored is no claim: packing the same content again may change it.
struct Claim {
  ChunkId id;
  uint32_t size = 0;
  bool is_delta = false;
  std::string path() const { return is_delta ? delta_path(id) : chunk_path(id); }
  auto operator<=>(const Claim&) const = default;
};

struct Checked {
  Status status;
  uint64_t bytes_read = 0;
};

class Verifier {
 public:
  Verifier(Source& source, const ObjectKinds& kinds, const VerifyOptions& options)
      : source_(source), kinds_(kinds), options_(options) {}

  Result<VerifyReport> run() {
    FR_CHECK(list_roots());
    FR_CHECK(walk());
    FR_CHECK(options_.reads_chunks ? check_chunks() : look_for_chunks());
    FR_CHECK(find_who_needs());
    return std::move(report_);
  }

 private:
  Status list_roots() {
    for (const ObjectKind& kind : kinds_) {
      if (!kind.list_roots) continue;
      FR_TRY(std::vector<std::string> paths, kind.list_roots(source_));
      roots_.insert(roots_.end(), paths.begin(), paths.end());
    }
    return {};
  }

  // Reads everything but the chunks.
  Status walk() {
    ReferenceWalk walk(objects(), kinds_);
    for (const std::string& root : roots_) {
      FR_CHECK(walk.from(root,
                         [&](const std::string& path, const Result<Needs>& needs,
                             const std::string& needed_by) -> Status {
                           // Removed since the list was read.
                           if (!needs && needed_by.empty() &&
                               needs.error().code == ErrorCode::kNotFound)
                             return {};
                           ++report_.totals.objects_checked;
                           if (!needs) return add_problem(path, needs.error());
                           if (is_here(path)) collect(needs->chunks);
                           return {};
                         }));
      FR_CHECK(tell_progress());
    }
    sort_claims();
    report_.totals.chunks_total = claims_.size();
    return {};
  }

  Source& objects() const { return options_.objects_from ? *options_.objects_from : source_; }
  bool is_here(const std::string& path) const {
    auto* store = dynamic_cast<Store*>(&source_);
    return options_.objects_from == nullptr || (store != nullptr && store->contains(path));
  }

  void collect(const std::vector<ChunkRef>& chunks) {
    for (const ChunkRef& chunk : chunks)
      if (!chunk.is_zero()) claims_.push_back({chunk.id, chunk.size, chunk.is_delta});
    // Many images of one base name the same chunks: keep the list near what is distinct.
    if (claims_.size() > 2 * claims_sorted_ + 100'000) sort_claims();
  }

  void sort_claims() {
    std::ranges::sort(claims_);
    claims_.erase(std::unique(claims_.begin(), claims_.end()), claims_.end());
    claims_sorted_ = claims_.size();
  }

  Status check_chunks() {
    size_t next = 0;
    if (!options_.cursor.empty()) {
      FR_TRY(const ChunkId last, parse_digest(options_.cursor));
      next = static_cast<size_t>(std::ranges::upper_bound(claims_, last, {}, &Claim::id) -
                                 claims_.begin());
      report_.totals.cursor = options_.cursor;
    }
    report_.totals.chunks_checked = next;
    while (next < claims_.size()) {
      size_t end = std::min(claims_.size(), next + std::max<size_t>(options_.batch_chunks, 1));
      while (end < claims_.size() && claims_[end].id == claims_[end - 1].id) ++end;
      FR_CHECK(check_batch(next, end));
      next = end;
      FR_CHECK(tell_progress());
    }
    return {};
  }

  // Checks that each chunk is there, with a size that can be its own.
  Status look_for_chunks() {
    auto* store = dynamic_cast<Store*>(&source_);
    if (store == nullptr) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{} cannot list its chunks", source_.name()));
    }
    std::vector<uint64_t> stored_bytes(claims_.size(), kMissing);
    const auto note = [&](const ObjectInfo& object) -> Status {
      const auto id = digest_of_path(object.path);
      if (!id) return {};  // not ours
      const bool is_delta = object.path == delta_path(*id);
      for (auto claim = std::ranges::lower_bound(claims_, *id, {}, &Claim::id);
           claim != claims_.end() && claim->id == *id; ++claim) {
        // A delta may be there whole instead, but not the other way round.
        uint64_t& bytes = stored_bytes[static_cast<size_t>(claim - claims_.begin())];
        if (claim->is_delta == is_delta || (claim->is_delta && bytes == kMissing))
          bytes = object.size_bytes;
      }
      return {};
    };
    FR_CHECK(store->list("chunks", note));
    FR_CHECK(store->list("deltas", note));
    for (size_t i = 0; i < claims_.size(); ++i) {
      const std::string path = claims_[i].path();
      if (stored_bytes[i] == kMissing) {
        FR_CHECK(add_problem(path, {ErrorCode::kNotFound, fmt::format("no object {}", path)}));
      } else if (stored_bytes[i] == 0 || stored_bytes[i] > claims_[i].size + kStoredHeaderSize) {
        FR_CHECK(add_problem(
            path, {ErrorCode::kCorrupt, fmt::format("{} has {} bytes, its content {}", path,
                                                    stored_bytes[i], claims_[i].size)}));
      }
    }
    report_.totals.chunks_checked = claims_.size();
    return tell_progress();
  }

  Status check_batch(size_t begin, size_t end) {
    std::vector<Checked> outcomes(end - begin);
    const std::function<void(size_t)> body = [&](size_t i) {
      outcomes[i] = check_chunk(claims_[begin + i]);
    };
    if (options_.parallel_for) {
      options_.parallel_for(outcomes.size(), body);
    } else {
      for (size_t i = 0; i < outcomes.size(); ++i) body(i);
    }
    for (size_t i = 0; i < outcomes.size(); ++i) {
      const auto& [status, bytes_read] = outcomes[i];
      if (!status) FR_CHECK(add_problem(claims_[begin + i].path(), status.error()));
      report_.totals.bytes_read += bytes_read;
    }
    report_.totals.chunks_checked = end;
    report_.totals.cursor = claims_[end - 1].id.hex();
    return {};
  }

  // Runs on the caller's threads, many at once.
  Checked check_chunk(const Claim& claim) const {
    ChunkRef ref{claim.id, claim.size, claim.size + kStoredHeaderSize};
    uint64_t bytes_read = 0;
    if (claim.is_delta) {
      const auto delta = source_.fetch(delta_path(claim.id), kStoredSizeMax);
      if (delta || delta.error().code != ErrorCode::kNotFound) {
        if (!delta) return {std::unexpected(delta.error())};
        bytes_read = delta->size();
        const auto told = complete_delta(source_, ref, *delta, {}, &bytes_read);
        return {told ? Status{} : std::unexpected(told.error()), bytes_read};
      }
    }
    const auto chunk = fetch_chunk(source_, ref, {}, &bytes_read);
    return {chunk ? Status{} : std::unexpected(chunk.error()), bytes_read};
  }

  Status add_problem(const std::string& path, const Error& error) {
    if (is_passing(error))
      return std::unexpected(error.within(fmt::format("cannot check {}", path)));
    ++report_.totals.problems;
    if (report_.problems.size() < options_.problems_max)
      report_.problems.push_back({.path = path, .error = error});
    return {};
  }

  Status tell_progress() const {
    return options_.on_progress ? options_.on_progress(report_.totals) : Status{};
  }

  // Walks each root once more, if anything is wrong, and tells each problem who meets it.
  Status find_who_needs() {
    std::unordered_map<std::string, std::vector<Problem*>> by_path;
    std::unordered_map<Digest, std::vector<Problem*>> by_chunk;
    for (Problem& problem : report_.problems) {
      by_path[problem.path].push_back(&problem);
      if (const auto id = digest_of_path(problem.path);
          id && (problem.path == chunk_path(*id) || problem.path == delta_path(*id)))
        by_chunk[*id].push_back(&problem);
    }
    if (by_path.empty()) return {};
    for (const std::string& root : roots_) {
      std::unordered_set<Problem*> met;
      ReferenceWalk walk(objects(), kinds_);
      FR_CHECK(walk.from(
          root,
          [&](const std::string& path, const Result<Needs>& needs, const std::string&) -> Status {
            if (const auto found = by_path.find(path); found != by_path.end())
              met.insert(found->second.begin(), found->second.end());
            if (!needs) return {};
            for (const ChunkRef& chunk : needs->chunks) {
              const auto found = by_chunk.find(chunk.id);
              if (chunk.is_zero() || found == by_chunk.end()) continue;
              const Claim claim{chunk.id, chunk.size, chunk.is_delta};
              for (Problem* problem : found->second)
                if (problem->path == claim.path()) met.insert(problem);
            }
            return {};
          }));
      for (Problem* problem : met) {
        if (problem->needed_by.size() < kNeededByMax) problem->needed_by.push_back(root);
        ++problem->needed_by_count;
      }
    }
    return {};
  }

  static constexpr uint64_t kMissing = UINT64_MAX;
  Source& source_;
  const ObjectKinds& kinds_;
  const VerifyOptions& options_;
  std::vector<std::string> roots_;
  std::vector<Claim> claims_;
  size_t claims_sorted_ = 0;  // of them at the last sort
  VerifyReport report_;
};

}  // namespace

Result<VerifyReport> verify(Source& source, const ObjectKinds& kinds,
                            const VerifyOptions& options) {
  return Verifier(source, kinds, options).run();
}

}  // namespace forerun::repository
