// Reads a trace of launches: which manifests were started together, and when.
//
// Format, one line per bin of time: seconds since the start, a blank, then the manifests that were
// launched since the line before, separated by commas; `|` ends a batch (VMs started together by
// one tenant). "300 b,b,|,g,|" is a batch of two b and one of one g. A line may hold no batch: it
// says that somebody watched. Lines of the same second add up. In a batch, "@node1" names the host
// it was launched on, "%tenant1" whom for, and "~b" says that a VM of b stopped there; all three
// may be absent, and are in traces that others publish. Plain or compressed with zstd. It is the
// form in which huaweicloud/trace_generation_rnn publishes arrivals of Azure's VMs (Cortez et al.,
// "Resource Central", SOSP 2017).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/storage_file.h"
#include "trace/text_lines.h"

namespace forerun::trace {

// Manifests by number, in the order in which they were first met. One thread.
class LaunchNames {
 public:
  // Returns the number of `name`, a new one if it was never met.
  uint32_t number_of(std::string_view name);
  const std::string& name_of(uint32_t number) const { return names_[number]; }
  size_t size() const { return names_.size(); }

 private:
  std::vector<std::string> names_;
  std::map<std::string, uint32_t, std::less<>> numbers_;
};

struct LaunchBatch {
  struct Part {
    uint32_t manifest = 0;  // by LaunchNames
    uint32_t launches = 0;
    bool operator==(const Part&) const = default;
  };
  std::vector<Part> parts;  // by manifest; each once
  std::vector<Part> stops;  // as parts: VMs that ended
  std::string host;         // empty: not said
  std::string tenant;       // empty: not said
  bool operator==(const LaunchBatch&) const = default;
};

struct LaunchBin {
  uint64_t second = 0;  // the bin's end
  std::vector<LaunchBatch> batches;
  bool operator==(const LaunchBin&) const = default;
};

// Returns the bin as a line of a trace, its end included. REQUIRES: no batch is empty; hosts and
// tenants are names (see is_launch_name).
std::string launch_line(const LaunchBin& bin, const LaunchNames& names);
// Returns whether `name` may stand in a trace: letters, digits and ._-:+, at least one.
bool is_launch_name(std::string_view name);

// One thread. Reads in pieces; holds one line.
class LaunchTraceReader {
 public:
  struct Limits {
    size_t line_bytes_max = size_t{4} << 20;
    size_t name_bytes_max = 64;
    size_t names_max = 1024;
    uint64_t text_bytes_max = uint64_t{4} << 30;  // decoded
    uint64_t second_max = uint64_t{1} << 40;
  };
  // `file` and `names` must outlive the reader. `label` names the file in errors.
  LaunchTraceReader(StorageFile& file, std::string label, LaunchNames& names, Limits limits);

  // Sets `bin` to the next line. Returns false at the end.
  // ERRORS: kInvalid or kTooLarge with the line, kCorrupt for damaged compression, kIo.
  Result<bool> next(LaunchBin& bin);
  // Returns whether next() may go on after an error with the line after the wrong one. Not so where
  // the file itself cannot be read on.
  bool can_go_on() const { return lines_.can_go_on(); }

 private:
  Status parse(std::string_view line, LaunchBin& bin);
  Status parse_batches(std::string_view list, LaunchBin& bin);
  Status parse_item(std::string_view item, LaunchBatch& batch);
  Result<uint32_t> parse_name(std::string_view name);
  Status check_name(std::string_view name) const;

  LaunchNames& names_;
  Limits limits_;
  TextLines lines_;
  uint64_t last_second_ = 0;
  bool any_ = false;
};

}  // namespace forerun::trace
