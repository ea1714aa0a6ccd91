// Which images were launched and stopped here, and when: a text file that only grows, in the form
// of docs/launches.md, so that it can be replayed offline and traces can be learned from. Bounded:
// the oldest lines leave first.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "os/file.h"
#include "trace/launch_trace.h"

namespace forerun::daemon {

// One thread.
class LaunchHistory {
 public:
  struct Options {
    size_t lines_max = 100'000;       // half of them stay when there are more
    size_t names_max = 256;           // half of the lines stay when there are more
    uint64_t future_seconds = 86400;  // a line later than now by more is refused
  };
  // What became of the lines of a file.
  struct Reading {
    uint64_t lines = 0, known = 0, refused = 0;  // known: were here already
    std::string first_refusal;
  };

  // Opens the file, which is made if there is none. A line that makes no sense is left out with a
  // log line of its own (the first few), and the file is kept beside as PATH.damaged; a last line
  // that was cut off by a crash is cut off. `now`: seconds since the epoch.
  // ERRORS: only those of the file system.
  static Result<std::unique_ptr<LaunchHistory>> open(std::string path, uint64_t now,
                                                     Options options);

  // Notes what happens now, on disk when it returns. A clock that went back counts as standing.
  Status append(uint64_t now, std::vector<trace::LaunchBatch> batches);
  // Adds the lines of another file. Those that are here already stay single, so the same file may
  // be given again. A file that says nowhere that nothing was launched was watched throughout: its
  // gaps are quiet, and noted so. ERRORS: as LaunchTraceReader; kInvalid if it holds no launch.
  // Nothing is added then.
  Result<Reading> import(const std::string& path, uint64_t now);

  // Returns the lines in the order of their time; append and import change them.
  const std::vector<trace::LaunchBin>& bins() const { return bins_; }
  const trace::LaunchNames& names() const { return *names_; }
  // Returns the number of a name, a new one if needed. Numbers change when `epoch` does.
  uint32_t number_of(std::string_view name) { return names_->number_of(name); }
  uint64_t epoch() const { return epoch_; }
  const Reading& opened() const { return opened_; }
  uint64_t file_bytes() const { return size_; }

 private:
  LaunchHistory(std::string path, Options options)
      : path_(std::move(path)), options_(options), names_(std::make_unique<trace::LaunchNames>()) {}
  Status cut_torn_line();
  Status read_own(uint64_t now);
  Status rewrite();
  bool knows(const trace::LaunchBin& bin) const;
  // Drops the oldest lines if there are too many lines or names. Returns whether there were.
  bool shrink();

  const std::string path_;
  const Options options_;
  std::unique_ptr<trace::LaunchNames> names_;
  std::vector<trace::LaunchBin> bins_;
  std::unique_ptr<os::PosixFile> file_;
  uint64_t size_ = 0;
  uint64_t epoch_ = 0;
  Reading opened_;
};

}  // namespace forerun::daemon
