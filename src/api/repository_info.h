// What is asked of the repository as a whole, and what comes of it. Part of service.h.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace forerun::api {

struct VerifyRequest {
  bool deep = false;    // read every chunk, not only look that it is there
  bool resume = false;  // deep: go on after the last chunk that the last run checked
};

struct RepositoryProblem {
  std::string path;  // of the object
  Error error;
  std::vector<std::string> needed_by;  // paths of tags, some of them
  uint64_t needed_by_count = 0;
};

struct VerifyOutcome {
  bool deep = false;
  uint64_t objects_checked = 0, chunks_checked = 0, chunk_count = 0, bytes_read = 0;
  uint64_t problem_count = 0;
  std::vector<RepositoryProblem> problems;  // the first of them
};

struct GcRequest {
  bool dry_run = false;
  Nanos grace = std::chrono::hours(24);  // what is younger stays
};

struct GcOutcome {
  bool dry_run = false;
  uint64_t objects_seen = 0, objects_young = 0;
  uint64_t garbage_objects = 0, garbage_bytes = 0;
  uint64_t removed_objects = 0, removed_bytes = 0;
  uint64_t saved_objects = 0;  // came into use meanwhile
};

// What a name means, and who says so.
struct TagInfo {
  std::string path;     // "images/debian.json"
  std::string digest;   // of the index it names
  std::string created;  // RFC 3339
  // The key of its signature, whether or not that is right; empty: it has none.
  std::string key;
  std::string refused;  // why this host does not believe it; empty: it does
};

struct SignRequest {
  std::string path;
  std::string digest;      // what was signed, in case the name means another by now
  std::string key, value;  // 64 and 128 hex digits
};

struct ExportRequest {
  std::string folder;              // absolute, on the daemon's host; a static tree; or …
  std::string car_file;            // … an archive
  std::vector<std::string> names;  // of images and components; empty: all
};

struct ExportOutcome {
  uint64_t objects = 0, bytes = 0;
  uint64_t objects_reused = 0, objects_linked = 0;
  std::string root;  // CID, of an archive
};

// What came of an operation, besides its message, for those that say more.
using OperationResult = std::variant<std::monostate, VerifyOutcome, GcOutcome, ExportOutcome>;

}  // namespace forerun::api
