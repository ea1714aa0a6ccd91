// What kinds of objects a repository holds, which of them are roots (tags), and what each names:
// the graph that verification and garbage collection walk. Rooms above add their own kinds.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/result.h"
#include "repository/chunk.h"
#include "repository/source.h"

namespace forerun::repository {

// What an object needs to be of use.
struct Needs {
  std::vector<std::string> objects;   // paths
  std::vector<std::string> optional;  // paths of objects that may be missing
  // Of each group one: a tag names a digest, and what there is of it tells what it is. Paths of
  // unknown kinds are overlooked, but for the first.
  std::vector<std::vector<std::string>> one_of;
  // Zero chunks are overlooked. With the bases of deltas: what is reachable is known without
  // reading a chunk.
  std::vector<ChunkRef> chunks;
};

struct ObjectKind {
  std::string folder;  // "indexes"
  size_t size_max = 0;
  // Returns what the object needs; `leaf` is its path without the folder. Checks all that can be
  // checked of the object alone. ERRORS: kCorrupt and others of a parser. Empty: it needs nothing
  // and is not checked.
  std::function<Result<Needs>(std::string_view leaf, ByteView data)> needs;
  // Of a root only (what nothing needs to name): returns the paths of all there are.
  std::function<Result<std::vector<std::string>>(Source&)> list_roots;
  // Whether objects of the kind are named by a digest, alone or with a number: see
  // is_named_by_digest(). Others are never removed.
  bool is_named_by_digest = false;
};
// A kind stands before those that its objects need.
using ObjectKinds = std::vector<ObjectKind>;

// Returns images, indexes and priors. Chunks are no kind: they are named by ChunkRefs.
ObjectKinds image_kinds();
// Returns the paths of the tags in `folder` whose names are valid. For list_roots. ERRORS:
// kUnsupported for a Source that is no Store.
Result<std::vector<std::string>> list_tags(Source& source, const std::string& folder);
// Returns the kind of the object at `path`, or null.
const ObjectKind* kind_of(std::span<const ObjectKind> kinds, std::string_view path);
// Returns the leaf's digest if `path` is "<folder>/<64 hex digits>", a chunk's or a delta's.
Result<Digest> digest_of_path(std::string_view path);

// Returns whether `path` is "<folder>/<64 hex digits>", or the same with ".<number>" after it.
bool is_named_by_digest(std::string_view path);

// Reads objects and what they need, each once. One thread.
class ReferenceWalk {
 public:
  // `needed_by`: the object that led here, empty for a start.
  using Visit = std::function<Status(const std::string& path, const Result<Needs>& needs,
                                     const std::string& needed_by)>;

  // The kinds must outlive it.
  ReferenceWalk(Source& source, std::span<const ObjectKind> kinds)
      : source_(source), kinds_(kinds) {}

  // Calls `visit` for the object at `path` and all it needs that this walk has not visited, until
  // it returns an error. An object that cannot be read or understood is visited with that error.
  // Optional objects are visited only if they are there.
  Status from(const std::string& path, const Visit& visit);
  // The same for what `needs` names, which no object holds.
  Status from(const Needs& needs, const Visit& visit);
  bool has_visited(const std::string& path) const { return visited_.contains(path); }
  // Lets the object be visited again.
  void forget(const std::string& path) { visited_.erase(path); }

 private:
  struct Step {
    std::vector<std::string> paths;  // one of them
    std::string needed_by;
    bool is_optional = false;
  };
  static void add_steps(const Needs& needs, const std::string& needed_by, std::vector<Step>& steps);
  Status run(std::vector<Step> steps, const Visit& visit);
  Result<Needs> read(const std::string& path);

  Source& source_;
  const std::span<const ObjectKind> kinds_;
  std::unordered_set<std::string> visited_;
};

}  // namespace forerun::repository
