// Reads a trace of block requests of one disk.
//
// Format, one request per line: ts_us,op,start_sector,n_sectors: microseconds since the start, R or
// W, sectors of 512 bytes. Plain or compressed with zstd. A first line that begins with "ts_us" is
// a heading. A time before the one above counts as that one: recorders of several queues write so.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "core/storage_file.h"
#include "trace/access.h"
#include "trace/text_lines.h"

namespace forerun::trace {

inline constexpr uint32_t kSectorBytes = 512;

struct BlockRequest {
  uint64_t at_us = 0;
  Op op = Op::kRead;
  uint64_t first_sector = 0;
  uint32_t sectors = 0;  // at least 1
  bool operator==(const BlockRequest&) const = default;
};

// One thread. Reads in pieces.
class BlockTraceReader {
 public:
  struct Limits {
    uint64_t sector_max = uint64_t{1} << 41;  // 1 PiB
    uint32_t sectors_max = 1 << 16;           // 32 MiB a request
    uint64_t at_us_max = uint64_t{1} << 52;   // 142 years
  };
  // `file` must outlive the reader. `label` names the file in errors.
  BlockTraceReader(StorageFile& file, std::string label) : BlockTraceReader(file, label, {}) {}
  BlockTraceReader(StorageFile& file, std::string label, Limits limits);

  // Sets `request` to the next one. Returns false at the end.
  // ERRORS: kInvalid or kTooLarge with the line, kCorrupt for damaged compression, kIo.
  Result<bool> next(BlockRequest& request);

 private:
  Status parse(std::string_view line, BlockRequest& request) const;

  Limits limits_;
  TextLines lines_;
  std::string line_;
  uint64_t last_at_us_ = 0;
  bool is_first_ = true;
};

}  // namespace forerun::trace
