#include "image/oci_blobs.h"

#include <fmt/format.h>

#include "image/tar_reader.h"

namespace forerun::image {
namespace {

class TarBlobs final : public OciBlobs {
 public:
  explicit TarBlobs(ReadFrom read_from) : read_from_(std::move(read_from)) {}

  Status index() {
    FR_TRY(const ByteStream stream, read_from_(0));
    uint64_t at = 0;
    TarOptions options;
    options.limits.entries_max = kOciArchiveNamesMax;
    // The reader takes no more than it gives: behind a header, the content begins.
    TarReader archive(
        [&](MutableByteView out) -> Result<size_t> {
          FR_TRY(const size_t count, stream(out));
          at += count;
          return count;
        },
        options);
    for (;;) {
      FR_TRY(const auto entry, archive.next());
      if (!entry) return {};
      FR_CHECK(add(*entry, at));
    }
  }

  Result<std::optional<uint64_t>> size(const std::string& path) override {
    const Place* place = find(path);
    if (place == nullptr) return std::nullopt;
    return place->size;
  }

  Result<ByteStream> open(const std::string& path) override {
    const Place* place = find(path);
    if (place == nullptr) return fail(ErrorCode::kNotFound, fmt::format("no file '{}'", path));
    FR_TRY(ByteStream stream, read_from_(place->offset));
    return [stream = std::move(stream),
            left = place->size](MutableByteView out) mutable -> Result<size_t> {
      if (left == 0) return size_t{0};
      FR_TRY(const size_t count, stream(out.first(std::min<uint64_t>(out.size(), left))));
      if (count == 0) return fail(ErrorCode::kCorrupt, "the archive became shorter");
      left -= count;
      return count;
    };
  }

 private:
  struct Place {
    uint64_t offset = 0;
    uint64_t size = 0;
    std::string link;  // plain; empty if it is a file
  };

  Status add(const TarEntry& entry, uint64_t at) {
    if (entry.kind == TarEntry::Kind::kInode && entry.inode.kind == InodeKind::kDirectory)
      return {};
    Place place;
    if (entry.kind == TarEntry::Kind::kHardLink) {
      place.link = entry.link_target;
    } else if (entry.inode.kind == InodeKind::kSymlink) {
      place.link = link_target(entry.path, entry.inode.target);
      if (place.link.empty())
        return fail(ErrorCode::kInvalid,
                    fmt::format("'{}' is a link out of the archive", printable(entry.path)));
    } else if (entry.inode.kind == InodeKind::kRegular) {
      place.offset = at;
      place.size = entry.inode.size;
    } else {
      return fail(ErrorCode::kInvalid,
                  fmt::format("'{}' is no file that an image may have", printable(entry.path)));
    }
    if (!places_.emplace(entry.path, std::move(place)).second)
      return fail(ErrorCode::kInvalid, fmt::format("'{}' is there twice", printable(entry.path)));
    return {};
  }

  // "a/layer.tar" → "../b/layer.tar": "b/layer.tar". Empty if it leads elsewhere.
  static std::string link_target(const std::string& path, std::string_view target) {
    std::string folder = path.substr(0, std::min(path.rfind('/'), path.size()));
    if (path.find('/') == std::string::npos) folder.clear();
    while (target.starts_with("../")) {
      if (folder.empty()) return {};
      const size_t slash = folder.rfind('/');
      folder.resize(slash == std::string::npos ? 0 : slash);
      target.remove_prefix(3);
    }
    const auto rest = plain_path(target);
    if (!rest || rest->empty()) return {};
    return folder.empty() ? *rest : folder + "/" + *rest;
  }

  const Place* find(const std::string& path) const {
    auto found = places_.find(path);
    if (found != places_.end() && !found->second.link.empty())
      found = places_.find(found->second.link);
    const bool is_file = found != places_.end() && found->second.link.empty();
    return is_file ? &found->second : nullptr;
  }

  const ReadFrom read_from_;
  std::map<std::string, Place> places_;
};

}  // namespace

Result<std::unique_ptr<OciBlobs>> index_oci_archive(ReadFrom read_from) {
  auto blobs = std::make_unique<TarBlobs>(std::move(read_from));
  if (Status status = blobs->index(); !status)
    return std::unexpected(std::move(status.error()).within("the image's archive"));
  return blobs;
}

}  // namespace forerun::image
