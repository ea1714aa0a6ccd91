#include "repository/gc.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace forerun::repository {
namespace {

constexpr auto kChunkFolders = std::to_array<std::string_view>({"chunks", "deltas"});

// Chunks that something needs. Only the first 8 bytes of each name: two that begin alike keep each
// other, which is one in 2^40 at a million chunks and harms nothing.
class ChunkMarks {
 public:
  void add(const std::vector<ChunkRef>& chunks) {
    for (const ChunkRef& chunk : chunks)
      if (!chunk.is_zero()) marks_.push_back(chunk.id.prefix());
    if (marks_.size() > 2 * sorted_ + 100'000) sort();
  }
  // REQUIRES: sort() since the last add().
  bool contains(const ChunkId& id) const { return std::ranges::binary_search(marks_, id.prefix()); }
  void sort() {
    std::ranges::sort(marks_);
    marks_.erase(std::unique(marks_.begin(), marks_.end()), marks_.end());
    sorted_ = marks_.size();
  }

 private:
  std::vector<uint64_t> marks_;
  size_t sorted_ = 0;
};

class Collector {
 public:
  Collector(Store& store, const ObjectKinds& kinds, const GcOptions& options)
      : store_(store), kinds_(kinds), options_(options), walk_(store, kinds_) {}

  Result<GcProgress> run() {
    FR_TRY(const StoreTime now, store_.now());
    newest_ = now - options_.grace;
    FR_CHECK(mark_roots());
    FR_CHECK(find_garbage());
    if (options_.is_dry_run) return progress_;
    FR_CHECK(remove_objects());
    FR_CHECK(store_.flush());  // a crash must not bring an index back whose chunks then go
    FR_CHECK(remove_chunks());
    FR_CHECK(store_.flush());
    return progress_;
  }

 private:
  struct OldObject {
    std::string path;
    uint64_t size_bytes = 0;
  };
  struct OldChunk {
    ChunkId id;
    uint32_t size_bytes = 0;
    bool is_delta = false;
    std::string path() const { return is_delta ? delta_path(id) : chunk_path(id); }
  };

  // Marks what the roots lead to that no earlier call has marked. Tags are read anew each time:
  // they change.
  Status mark_roots() {
    for (const ObjectKind& kind : kinds_) {
      if (!kind.list_roots) continue;
      FR_TRY(const std::vector<std::string> roots, kind.list_roots(store_));
      for (const std::string& root : roots) FR_CHECK(mark_root(kind, root));
    }
    if (options_.in_use) {
      FR_TRY(const Needs in_use, options_.in_use());
      FR_CHECK(mark(in_use, true));
    }
    chunks_.sort();
    return {};
  }

  Status mark_root(const ObjectKind& kind, const std::string& path) {
    const auto data = store_.fetch(path, kind.size_max);
    if (!data && data.error().code == ErrorCode::kNotFound) return {};  // removed meanwhile
    if (!data) return std::unexpected(data.error());
    auto needs = kind.needs(std::string_view(path).substr(kind.folder.size() + 1), *data);
    if (!needs) return std::unexpected(needs.error().within(path));
    return mark(*needs, false);
  }

  // `may_be_missing`: whether the objects that `needs` names itself may be.
  Status mark(const Needs& needs, bool may_be_missing) {
    chunks_.add(needs.chunks);
    return walk_.from(
        needs,
        [&](const std::string& path, const Result<Needs>& below,
            const std::string& needed_by) -> Status {
          if (below) {
            chunks_.add(below->chunks);
            return {};
          }
          if (may_be_missing && needed_by.empty() && below.error().code == ErrorCode::kNotFound) {
            walk_.forget(path);
            return {};
          }
          return std::unexpected(
              below.error().within(fmt::format("cannot tell garbage from what {} needs", path)));
        });
  }

  Status find_garbage() {
    for (const ObjectKind& kind : kinds_) {
      if (kind.is_named_by_digest) FR_CHECK(find_objects(kind));
    }
    chunks_.sort();  // young objects have marked more
    for (const std::string_view folder : kChunkFolders) FR_CHECK(find_chunks(std::string(folder)));
    return {};
  }

  // What needs a chunk keeps both of its forms, so neither hangs on what the other's bases are.
  Status find_chunks(const std::string& folder) {
    return store_.list(folder, [&](const ObjectInfo& object) -> Status {
      const auto id = digest_of_path(object.path);
      if (!id) return {};  // not ours
      FR_CHECK(count_seen());
      if (chunks_.contains(*id) || !is_garbage(object)) return {};
      const uint64_t size_bytes = std::min<uint64_t>(object.size_bytes, UINT32_MAX);
      old_chunks_.push_back(
          {*id, static_cast<uint32_t>(size_bytes), object.path == delta_path(*id)});
      return {};
    });
  }

  Status find_objects(const ObjectKind& kind) {
    std::vector<std::string> young;
    FR_CHECK(store_.list(kind.folder, [&](const ObjectInfo& object) -> Status {
      if (!is_named_by_digest(object.path)) return {};
      FR_CHECK(count_seen());
      if (walk_.has_visited(object.path)) return {};
      if (is_garbage(object)) {
        old_objects_.push_back({object.path, object.size_bytes});
      } else if (object.renewed > newest_) {
        young.push_back(object.path);
      }
      return {};
    }));
    for (const std::string& path : young) FR_CHECK(mark_young(path));
    return {};
  }

  // What a young object leads to is as good as marked: its tag may come any moment. A young object
  // that is broken, or names what is not there, leads nowhere.
  Status mark_young(const std::string& path) {
    return walk_.from(
        path,
        [&](const std::string& below, const Result<Needs>& needs, const std::string&) -> Status {
          if (needs) {
            chunks_.add(needs->chunks);
            return {};
          }
          walk_.forget(below);  // it may be put again, whole
          const ErrorCode code = needs.error().code;
          if (code == ErrorCode::kNotFound || code == ErrorCode::kCorrupt) return {};
          return std::unexpected(needs.error());
        });
  }

  bool is_garbage(const ObjectInfo& object) {
    if (object.renewed > newest_) {
      ++progress_.objects_young;
      return false;
    }
    if (old_objects_.size() + old_chunks_.size() >= options_.garbage_max) return false;
    ++progress_.garbage_objects;
    progress_.garbage_bytes += object.size_bytes;
    return true;
  }

  Status count_seen() {
    return ++progress_.objects_seen % options_.batch_objects == 0 ? tell_progress() : Status{};
  }

  Status remove_objects() {
    for (size_t i = 0; i < old_objects_.size(); ++i) {
      if (i % options_.batch_objects == 0) FR_CHECK(mark_roots());
      const auto& [path, size_bytes] = old_objects_[i];
      if (walk_.has_visited(path)) {
        ++progress_.saved_objects;
        continue;
      }
      FR_TRY(const bool is_removed, remove(path, size_bytes));
      if (is_removed) continue;
      // Renewed since it was found: somebody is about to use it, and what it leads to.
      FR_CHECK(mark_young(path));
    }
    return {};
  }

  Status remove_chunks() {
    for (size_t i = 0; i < old_chunks_.size(); ++i) {
      if (i % options_.batch_objects == 0) {
        FR_CHECK(mark_roots());
        FR_CHECK(tell_progress());
      }
      if (chunks_.contains(old_chunks_[i].id)) {
        ++progress_.saved_objects;
        continue;
      }
      FR_CHECK(remove(old_chunks_[i].path(), old_chunks_[i].size_bytes));
    }
    return tell_progress();
  }

  Result<bool> remove(const std::string& path, uint64_t size_bytes) {
    FR_TRY(const bool is_removed, store_.remove(path, newest_));
    if (is_removed) {
      ++progress_.removed_objects;
      progress_.removed_bytes += size_bytes;
    } else {
      ++progress_.saved_objects;
    }
    return is_removed;
  }

  Status tell_progress() const {
    return options_.on_progress ? options_.on_progress(progress_) : Status{};
  }

  Store& store_;
  const ObjectKinds& kinds_;
  const GcOptions& options_;
  StoreTime newest_{};  // what was renewed later is young
  ReferenceWalk walk_;  // visited: marked
  ChunkMarks chunks_;
  std::vector<OldObject> old_objects_;
  std::vector<OldChunk> old_chunks_;
  GcProgress progress_;
};

}  // namespace

Result<GcProgress> collect_garbage(Store& store, const ObjectKinds& kinds,
                                   const GcOptions& options) {
  if (options.batch_objects == 0 || options.grace < Nanos(0))
    return fail(ErrorCode::kInvalid, "garbage collection needs a batch and a grace");
  return Collector(store, kinds, options).run();
}

}  // namespace forerun::repository
