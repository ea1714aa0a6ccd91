// A CARv1 archive that holds files under a UnixFS directory tree: what an IPFS node imports and a
// gateway then serves as /ipfs/<root>/chunks/ab/….
//
// Files of up to 1 MiB are one block of the raw codec; of a larger one each MiB is, below a node
// that lists them. Directories are DAG-PB nodes with all their entries, not sharded. Equal files
// are one block; the same files added in the same order give the same bytes.
// SOURCE: IPLD's CARv1, DAG-PB and UnixFS v1 specifications; multiformats' CID.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "core/storage_file.h"

namespace forerun::repository {

// A CIDv1 by SHA-256.
struct Cid {
  enum class Codec : uint8_t { kRaw = 0x55, kDagPb = 0x70 };
  Codec codec = Codec::kRaw;
  Digest digest;

  auto operator<=>(const Cid&) const = default;
  Buffer bytes() const;
  std::string text() const;  // base32: "bafy…"
};

// One thread. After an error only destruction.
class CarWriter {
 public:
  static constexpr size_t kLeafBytesMax = 1 << 20;
  // More would want a sharded directory, and blocks over 1 MiB are not carried everywhere.
  static constexpr size_t kDirectoryEntriesMax = 5000;

  // Writes from the beginning of `file`, which outlives this.
  explicit CarWriter(StorageFile& file);
  ~CarWriter();
  CarWriter(const CarWriter&) = delete;
  CarWriter& operator=(const CarWriter&) = delete;

  // Adds a file. `path`: "chunks/ab/ab12…", every component non-empty. ERRORS: those of the file;
  // kExists: the path, or a file where it has a folder; kTooLarge: too many entries in one folder.
  Status add(std::string_view path, ByteView data);
  // Adds the directories and returns the root. Then the file is whole, and not durable yet.
  Result<Cid> finish();
  uint64_t size_bytes() const { return end_; }

 private:
  struct Link {
    Cid cid;
    uint64_t total_bytes = 0;  // of the block and all below it
  };
  struct Directory;
  using NamedLinks = std::vector<std::pair<std::string_view, Link>>;

  static Buffer node(const NamedLinks& links, ByteView unix_fs);
  Result<Link> put_block(Cid::Codec codec, ByteView data);
  Result<Link> put_file(ByteView data);
  Result<Link> put_directory(const Directory& directory);

  StorageFile& file_;
  uint64_t end_ = 0;
  std::unordered_set<Digest> leaves_;  // raw blocks so far: 32 bytes and a little for each
  std::unique_ptr<Directory> root_;
};

}  // namespace forerun::repository
