// `repository verify`: reads all that a repository's tags lead to, and says what is missing or not
// what its name says, and what needs it.
//
// Tags and indexes first, then the chunks in the order of their names. That order is the same in
// every run, so a scrub that was stopped goes on after the last chunk that it checked; tags and
// indexes are read again, they are small.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/result.h"
#include "repository/object_kind.h"

namespace forerun::repository {

struct VerifyProgress {
  uint64_t objects_checked = 0;  // tags, indexes and what else they lead to, without chunks
  uint64_t chunks_checked = 0;   // those before the cursor of an earlier run too
  uint64_t chunks_total = 0;     // distinct; 0 until all indexes are read
  uint64_t bytes_read = 0;       // of chunks, in this run
  uint64_t problems = 0;
  std::string cursor;  // options.cursor to go on from here

  bool operator==(const VerifyProgress&) const = default;
};

struct Problem {
  std::string path;
  Error error;                         // kNotFound: missing; else what is wrong with it
  std::vector<std::string> needed_by;  // paths of tags (or what else is a start); at most 16
  uint64_t needed_by_count = 0;
};

struct VerifyOptions {
  // Where objects may be instead that those of this repository need; it has them all itself, too.
  // Chunks of an object that is only there are not looked for. REQUIRES: the source is a Store.
  Source* objects_from = nullptr;
  // Whether chunks are read and their content checked; otherwise only that they are there, with a
  // size that can be theirs, which needs a Store that can list.
  bool reads_chunks = true;
  std::string cursor;  // empty: from the beginning
  // Chunks in one batch: between two progress reports, 64 KiB of memory each.
  size_t batch_chunks = 256;
  size_t problems_max = 1000;  // of the report; more are only counted
  // Calls body(0) … body(count - 1), in any order and on any threads; empty: one after the other.
  std::function<void(size_t count, const std::function<void(size_t)>& body)> parallel_for;
  // Called after each batch. An error stops the run and is returned.
  std::function<Status(const VerifyProgress&)> on_progress;
};

struct VerifyReport {
  VerifyProgress totals;
  std::vector<Problem> problems;  // in order of discovery
};

// Returns what is wrong with the repository `source`. Memory: 36 bytes per distinct chunk, one
// index at a time. A problem is not an error; that the source does not answer (kUnavailable,
// kTimedOut) is: it says nothing about the data. REQUIRES: source is thread-safe if parallel_for
// uses threads.
Result<VerifyReport> verify(Source& source, const ObjectKinds& kinds, const VerifyOptions& options);

}  // namespace forerun::repository
