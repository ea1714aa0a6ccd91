#include "repository/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "repository/fetch.h"
#include "repository/image_index.h"
#include "repository/link_target.h"

namespace forerun::repository {
namespace {

constexpr size_t kObjectsBetweenReports = 256;

// What is to be exported: all of it is known before the first byte is written.
class Selection {
 public:
  Selection(Source& source, const ObjectKinds& kinds, const std::vector<std::string>& roots)
      : source_(source), kinds_(kinds), roots_(roots) {}

  Status find() {
    ReferenceWalk walk(source_, kinds_);
    for (const std::string& root : roots_) {
      const ObjectKind* kind = kind_of(kinds_, root);
      if (kind == nullptr || !kind->list_roots)
        return fail(ErrorCode::kInvalid, fmt::format("{} is no tag", root));
      FR_TRY(Buffer tag, source_.fetch(root, kind->size_max));
      const auto below = kind->needs(leaf_of(root), tag);
      if (!below) return std::unexpected(below.error().within(root));
      tags_.insert_or_assign(root, std::move(tag));
      FR_CHECK(
          walk.from(*below,
                    [&](const std::string& path, const Result<Needs>& needs,
                        const std::string& needed_by) -> Status {
                      if (!needs)
                        return std::unexpected(needs.error().within(fmt::format(
                            "{}, which {} needs", path, needed_by.empty() ? root : needed_by)));
                      objects_.push_back(path);
                      for (const ChunkRef& chunk : needs->chunks)
                        if (!chunk.is_zero()) chunks_.push_back(chunk);
                      if (chunks_.size() > 2 * sorted_ + 100'000) sort_chunks();
                      return {};
                    }));
    }
    sort_chunks();
    std::ranges::sort(objects_);
    return {};
  }

  // Distinct; of the same content packed in two ways one.
  const std::vector<ChunkRef>& chunks() const { return chunks_; }
  // Sorted by path, without tags.
  const std::vector<std::string>& objects() const { return objects_; }
  // By path, as they were when what they lead to was found.
  const std::map<std::string, Buffer>& tags() const { return tags_; }
  size_t count() const { return chunks_.size() + objects_.size() + tags_.size(); }

  // Returns the object, verified by its kind.
  Result<Buffer> fetch(const std::string& path, Source& from) const {
    const ObjectKind* kind = kind_of(kinds_, path);
    FR_TRY(Buffer data, from.fetch(path, kind->size_max));
    if (kind->needs) {
      const auto needs = kind->needs(leaf_of(path), data);
      if (!needs) return std::unexpected(needs.error().within(path));
    }
    return data;
  }
  static Result<Buffer> fetch(const ChunkRef& ref, Source& from) {
    FR_TRY(Buffer stored, from.fetch(chunk_path(ref.id), kStoredSizeMax));
    FR_CHECK(decode_chunk(ref, stored));
    return stored;
  }
  // Its bases are exported as chunks of their own; here they are the source's, wherever it is.
  Result<Buffer> fetch_delta(const ChunkRef& ref, Source& from) const {
    FR_TRY(Buffer stored, from.fetch(delta_path(ref.id), kStoredSizeMax));
    FR_CHECK(complete_delta(source_, ref, stored));
    return stored;
  }
  // Calls copy(path, fetch) for the form in which the chunk is to be copied: as a delta if it may
  // be one and there is a sound one.
  template <typename Copy>
  Status each_form(const ChunkRef& ref, const Copy& copy) const {
    const auto copy_whole = [&] {
      return copy(chunk_path(ref.id), [&](Source& from) { return fetch(ref, from); });
    };
    if (!ref.is_delta) return copy_whole();
    Status told = copy(delta_path(ref.id), [&](Source& from) { return fetch_delta(ref, from); });
    if (told || told.error().code != ErrorCode::kNotFound) return told;
    return copy_whole() ? Status{} : told;
  }

 private:
  static std::string_view leaf_of(std::string_view path) {
    return path.substr(path.rfind('/') + 1);
  }
  void sort_chunks() {
    // Who may have a delta takes the whole chunk, too, but not the other way round.
    std::ranges::sort(chunks_, {}, [](const ChunkRef& ref) {
      return std::tuple<const ChunkId&, bool>(ref.id, ref.is_delta);
    });
    const auto last = std::ranges::unique(chunks_, {}, &ChunkRef::id);
    chunks_.erase(last.begin(), last.end());
    sorted_ = chunks_.size();
  }

  Source& source_;
  const ObjectKinds& kinds_;
  const std::vector<std::string>& roots_;
  std::map<std::string, Buffer> tags_;
  std::vector<std::string> objects_;
  std::vector<ChunkRef> chunks_;
  size_t sorted_ = 0;  // of the chunks at the last sort
};

class Reporter {
 public:
  Reporter(const ExportOptions& options, const Selection& selection) : options_(options) {
    totals.objects_total = selection.count();
  }
  Status count(uint64_t bytes) {
    totals.bytes_done += bytes;
    const bool is_time = ++totals.objects_done % kObjectsBetweenReports == 0;
    return is_time && options_.on_progress ? options_.on_progress(totals) : Status{};
  }

  ExportProgress totals;

 private:
  const ExportOptions& options_;
};

// Puts the object at `path` unless it is there: `fetch` gets it, verified, from one or the other.
template <typename Fetch>
Status copy(const std::string& path, Source& source, Source* link_from, Store& target,
            const Fetch& fetch, Reporter& reporter) {
  if (target.contains(path)) {
    if (const auto there = fetch(target)) {
      ++reporter.totals.objects_reused;
      return reporter.count(there->size());
    }
  }
  FR_TRY(const Buffer data, fetch(source));
  bool is_linked = false;
  if (auto* linking = dynamic_cast<LinkTarget*>(&target); linking && link_from != nullptr) {
    FR_TRY(is_linked, linking->link(*link_from, path));
  }
  reporter.totals.objects_linked += is_linked;
  if (!is_linked) FR_CHECK(target.put(path, data));
  return reporter.count(data.size());
}

}  // namespace

Result<ExportProgress> export_tree(Source& source, Store& target, const ObjectKinds& kinds,
                                   const ExportOptions& options) {
  Selection selection(source, kinds, options.roots);
  FR_CHECK(selection.find());
  Reporter reporter(options, selection);
  for (const ChunkRef& ref : selection.chunks())
    FR_CHECK(selection.each_form(ref, [&](const std::string& path, const auto& fetch) {
      return copy(path, source, options.link_from, target, fetch, reporter);
    }));
  // What names others comes after them, a tag last.
  for (auto kind = kinds.rbegin(); kind != kinds.rend(); ++kind) {
    for (const std::string& path : selection.objects()) {
      if (kind_of(kinds, path) != &*kind) continue;
      FR_CHECK(copy(
          path, source, options.link_from, target,
          [&](Source& from) { return selection.fetch(path, from); }, reporter));
    }
  }
  FR_CHECK(target.flush());
  for (const auto& [path, tag] : selection.tags()) {
    FR_CHECK(target.put(path, tag));  // also where there is an older one
    FR_CHECK(reporter.count(tag.size()));
  }
  FR_CHECK(target.flush());
  return reporter.totals;
}

Result<ExportedCar> export_car(Source& source, StorageFile& file, const ObjectKinds& kinds,
                               const ExportOptions& options) {
  Selection selection(source, kinds, options.roots);
  FR_CHECK(selection.find());
  Reporter reporter(options, selection);
  CarWriter car(file);
  for (const ChunkRef& ref : selection.chunks()) {
    FR_CHECK(selection.each_form(ref, [&](const std::string& path, const auto& fetch) -> Status {
      FR_TRY(const Buffer data, fetch(source));
      FR_CHECK(car.add(path, data));
      return reporter.count(data.size());
    }));
  }
  for (const std::string& path : selection.objects()) {
    FR_TRY(const Buffer data, selection.fetch(path, source));
    FR_CHECK(car.add(path, data));
    FR_CHECK(reporter.count(data.size()));
  }
  std::vector<std::string> images;
  for (const auto& [path, data] : selection.tags()) {
    FR_CHECK(car.add(path, data));
    FR_CHECK(reporter.count(data.size()));
    if (!path.starts_with("images/")) continue;
    FR_TRY(const ImageTag tag, parse_tag(as_text(data)));
    images.push_back(tag.name);
  }
  std::ranges::sort(images);
  FR_CHECK(car.add(kImageListPath, as_bytes(serialize_image_list(images))));
  ExportedCar exported;
  FR_TRY(exported.root, car.finish());
  exported.totals = reporter.totals;
  exported.size_bytes = car.size_bytes();
  return exported;
}

}  // namespace forerun::repository
