// What was seen and learned of one VM, as the API tells it: requests recorded (docs/replay.md), and
// histories.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace forerun::api {

struct RecordingInfo {
  std::string vm, id;
  uint64_t disk_bytes = 0;
};

struct CollectRequest {
  std::string id;
  bool ends = false;
};

struct RecordedRequest {
  uint64_t at_us = 0;  // since the recording's start
  bool is_write = false;
  uint64_t first_sector = 0;  // of 512 bytes
  uint32_t sectors = 0;
  bool operator==(const RecordedRequest&) const = default;
};

// What was asked since the last time.
struct RecordedRequests {
  std::string id;
  std::vector<RecordedRequest> requests;  // about in order
  uint64_t lost = 0;                      // since the start: they came faster than they were taken
  bool has_more = false;                  // there are more at once
  bool has_ended = false;                 // no request is noted any more
  std::string end_reason;
};

// ---- what was learned of a VM, taken to another host (docs/format_history.md)

struct HistoryExportRequest {
  std::string path;  // absolute, on the daemon's host
};

struct HistoryExportInfo {
  std::string vm, path;
  uint64_t size_bytes = 0;
  std::vector<std::string> models;  // whose state is in it
  uint64_t histories = 0;           // components of which something is in it
};

struct HistoryImportRequest {
  std::string source_path;  // likewise
};

struct HistoryImportInfo {
  std::string vm;
  std::vector<std::string> models_taken;
  std::vector<std::string> models_kept;  // as they were here: they had learned already
  uint64_t histories_merged = 0;
  uint64_t histories_ignored = 0;  // of components that the VM's disk here has not
};

}  // namespace forerun::api
