// Where chunks and indexes come from. Floor 4 implements it (a directory in os terms, http in
// net/), sim/ with a link that delays, drops and parts.
//
// Layout of a repository, the same in a directory and behind a web server
// (docs/format_repository.md):
//   chunks/ab/ab12…            a stored chunk, named by the SHA-256 of its content
//   deltas/ab/ab12…            the same chunk told by others (delta.h); may be there instead
//   indexes/<sha256>           an image index, named by the SHA-256 of its bytes
//   priors/<sha256>            what a first boot of that index will read; may be missing
//   images/<name>.json         {"name","index","size_bytes",…}: the tag that names an index
//   components/<sha256>        a component's index (image/component_tag.h), by the SHA-256 of it
//   component-tags/<name>.json the tag that names one
//   images.json                the names of the images: a static web server lists nothing by itself
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "core/time.h"

namespace forerun::repository {

// Thread-safe: several transport threads fetch at once. Nothing returned is verified yet.
class Source {
 public:
  virtual ~Source() = default;

  // Returns the object at `path` (relative, as in the layout above).
  // ERRORS: kNotFound; kTooLarge if it has more than `size_max` bytes; kUnavailable, kTimedOut: try
  // again later.
  virtual Result<Buffer> fetch(const std::string& path, size_t size_max) = 0;
  // Returns the names of the images here, sorted. ERRORS: kUnsupported where the driver cannot
  // list.
  virtual Result<std::vector<std::string>> list_images() = 0;
  // Returns what to call it in logs: "http://repo.example/forerun".
  virtual std::string_view name() const = 0;
};

// A moment by a store's own clock (of a folder on a file server: the server's), since an arbitrary
// start.
using StoreTime = Nanos;

struct ObjectInfo {
  std::string path;
  uint64_t size_bytes = 0;
  StoreTime renewed{};  // when it was last put or renewed
};

// A repository that can be written to: importers use it.
class Store : public Source {
 public:
  // Returns whether `path` exists.
  virtual bool contains(const std::string& path) = 0;
  // Puts `data` at `path`, atomically: a reader sees all of it or nothing. Not durable before
  // flush().
  virtual Status put(const std::string& path, ByteView data) = 0;
  virtual Status flush() = 0;

  // The rest serves garbage collection (gc.h). A driver without it answers kUnsupported.

  virtual Result<StoreTime> now();
  // Calls `visit` for each object in `folder` ("chunks") and the folders in it, in any order, until
  // it returns an error. What is put or removed meanwhile may be visited or not.
  using Visit = std::function<Status(const ObjectInfo&)>;
  virtual Status list(const std::string& folder, const Visit& visit);
  // Makes the object as young as if it had just been put. Who relies on an object that it finds
  // renews it first, then relies on it. ERRORS: kNotFound: it has gone, put it.
  virtual Status renew(const std::string& path);
  // Removes the object if it was last put or renewed at `newest` or before, and returns whether.
  // Beside put and renew it is atomic: either they find it gone, or it stays.
  virtual Result<bool> remove(const std::string& path, StoreTime newest);
};

inline constexpr std::string_view kImageListPath = "images.json";
inline constexpr size_t kObjectPathMax = 200;
inline constexpr size_t kObjectPathDepthMax = 3;

std::string chunk_path(const ChunkId& id);
std::string delta_path(const ChunkId& id);
std::string index_path(const Digest& digest);
// REQUIRES: is_valid_name(image_name).
std::string image_path(std::string_view image_name);

// Returns whether `path` may be asked of a Source: up to three components of [a-zA-Z0-9._-], none
// starting with '.' or '-'. So it can neither leave the repository nor mean anything to a URL.
bool is_valid_object_path(std::string_view path);

}  // namespace forerun::repository
