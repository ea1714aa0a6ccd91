// `repository export`: what some tags lead to, copied to where any web server or IPFS gateway can
// serve it. Everything is verified on the way; what is missing or damaged ends the export.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/storage_file.h"
#include "repository/car.h"
#include "repository/object_kind.h"

namespace forerun::repository {

struct ExportProgress {
  uint64_t objects_done = 0;  // chunks too
  uint64_t objects_total = 0;
  uint64_t bytes_done = 0;      // of all objects that are there
  uint64_t objects_reused = 0;  // were there already, and sound
  uint64_t objects_linked = 0;  // share their data with the source
  bool operator==(const ExportProgress&) const = default;
};

struct ExportOptions {
  std::vector<std::string> roots;  // paths of tags
  // Of a tree: where objects are that need not be copied (LinkTarget); the source itself, or the
  // part of it that is near. Null: all are copied.
  Source* link_from = nullptr;
  // Called after every 256 objects. An error stops the export and is returned.
  std::function<Status(const ExportProgress&)> on_progress;
};

// Copies what the roots lead to, and them last, into `target`. What is there already is verified
// and kept, so a stopped export is taken up by being run again. ERRORS: those of both; kCorrupt,
// kNotFound: what an object is or misses.
Result<ExportProgress> export_tree(Source& source, Store& target, const ObjectKinds& kinds,
                                   const ExportOptions& options);

struct ExportedCar {
  ExportProgress totals;
  Cid root;
  uint64_t size_bytes = 0;
};
// Writes the same as an archive, with the list of images. The same objects give the same bytes.
Result<ExportedCar> export_car(Source& source, StorageFile& file, const ObjectKinds& kinds,
                               const ExportOptions& options);

}  // namespace forerun::repository
