// The blocks of a tar archive: ustar, its PAX records, and GNU's fields. Pure functions over bytes;
// tar_reader.h makes entries of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "image/file_tree.h"

namespace forerun::image {

inline constexpr size_t kTarBlock = 512;

// The fields of one header block, as they are: no name in it is trusted yet.
struct TarHeader {
  std::string name;  // prefix included
  std::string link;
  char type = '0';
  bool is_gnu = false;
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t size = 0;  // of what follows in the archive
  int64_t mtime_s = 0;
  uint32_t device_major = 0, device_minor = 0;
};

// Returns the header in `block`. ERRORS: kCorrupt: a wrong checksum, a field that is no number or
// out of range; names the entry where it can. REQUIRES: kTarBlock bytes.
Result<TarHeader> parse_tar_header(ByteView block);

// A run of data of a sparse file.
struct TarRun {
  uint64_t offset = 0;
  uint64_t length = 0;
  bool operator==(const TarRun&) const = default;
};

// What the PAX header before an entry says of it. Absent: the header's own field holds.
struct PaxRecords {
  std::optional<std::string> path, link;
  std::optional<uint64_t> size;
  std::optional<uint32_t> uid, gid;
  std::optional<std::pair<int64_t, uint32_t>> mtime;  // seconds, nanoseconds
  std::vector<Xattr> xattrs;                          // SCHILY.xattr.*
  // GNU.sparse.*
  bool is_sparse = false;
  uint32_t sparse_major = 0, sparse_minor = 0;
  std::optional<std::string> sparse_name;
  std::optional<uint64_t> sparse_size;
  std::vector<TarRun> sparse_map;  // of versions 0.0 and 0.1
};

// Returns what a PAX header's body says. Unknown keys are passed over: they change nothing of a
// file that a component keeps. ERRORS: kCorrupt: lengths that do not fit, values that are none.
Result<PaxRecords> parse_pax(ByteView body);
// Returns whether a global PAX header changes nothing: one that did would do so to every entry.
bool is_harmless(const PaxRecords& global);

// The runs in an old GNU sparse header (`count` pairs from `at`), up to the first empty one.
// ERRORS: kCorrupt.
Status append_gnu_runs(ByteView block, size_t at, size_t count, std::vector<TarRun>& runs);
// Whether another block of runs follows, and the file's size.
bool has_more_gnu_runs(ByteView block, size_t at);
Result<uint64_t> gnu_real_size(ByteView header);

// Returns a decimal number of digits only. ERRORS: kCorrupt.
Result<uint64_t> parse_decimal(std::string_view text);
// Returns `path` as a component names it: "usr/bin/env", "" for the root. Drops "./", doubled and
// trailing slashes. ERRORS: kInvalid: absolute, "..", NUL, parts or paths too long, nothing.
Result<std::string> plain_path(std::string_view path);
// Returns `text` fit for a message: short, without control characters.
std::string printable(std::string_view text);

}  // namespace forerun::image
