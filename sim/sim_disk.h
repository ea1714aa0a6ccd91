// A disk in memory that fails the way disks do: what was not flushed may be lost at a power cut, in
// any subset, down to the 512-byte sector; reads, writes and flushes may fail; bits rot; writes
// land elsewhere. Seeded: one seed, one run.
//
// The model. Each file has a volatile cache over its durable content. A flush makes the whole cache
// durable. A power cut keeps, of each sector, either the durable content or any one of the versions
// written since. Resizes and punches are metadata: the file system journals them in order, so a cut
// keeps a prefix of them, and what was in a sector before a surviving punch or truncation does not
// come back.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/rng.h"
#include "core/storage_file.h"

namespace forerun::sim {

inline constexpr size_t kSectorSize = 512;

struct DiskFaults {
  // Probabilities of one call.
  double read_error = 0;
  double write_error = 0;  // some of its sectors may have been written
  double flush_error = 0;
  double misdirected_write = 0;  // the data lands in another place of the same file
  double bit_rot = 0;            // a read finds one bit flipped, for good

  double torn_sector = 0;  // of a surviving sector at a power cut: only its first part is new
  bool failed_flush_loses =
      true;  // as Linux does: pages of a failed fsync count as clean; later flushes skip them
  uint64_t capacity_bytes = UINT64_MAX;  // of all files together

  uint32_t lie_one_flush_in = 0;  // the planted bug: 1 flush in N does nothing and says ok. 0: none
};

struct DiskStats {
  uint64_t reads = 0, writes = 0, flushes = 0;
  uint64_t cuts = 0, sectors_lost = 0;
  uint64_t flushes_failed = 0;
  uint64_t errors_injected = 0, bits_rotted = 0, writes_misdirected = 0, flush_lies = 0;
};

class SimFile;

// One disk with one folder on it. Not thread-safe. Outlives the files opened from it.
class SimFolder final : public StorageFolder {
 public:
  explicit SimFolder(uint64_t seed, DiskFaults faults = {});
  ~SimFolder() override;

  Result<std::unique_ptr<StorageFile>> open(const std::string& name, bool create) override;
  bool exists(const std::string& name) override;
  Status replace(const std::string& from, const std::string& to) override;
  Status remove(const std::string& name) override;

  // Loses power now: what was not flushed survives in part, files opened before answer kIo for
  // ever.
  void power_cut();
  // Loses power inside the `operations`-th write, flush or name change from now. From then on
  // everything fails with kIo, until the caller, who sees is_off(), calls power_cut().
  void cut_after(uint64_t operations) { cut_countdown_ = operations; }
  bool is_off() const { return is_off_; }

  // Flips one random bit of a file that has content, in its cache and on the disk. Returns whether
  // there was one.
  bool rot_one_bit(const std::string& name);

  DiskFaults& faults() { return faults_; }
  const DiskStats& stats() const { return stats_; }
  std::vector<std::string> names() const;

 private:
  friend class SimFile;
  struct Inode;
  using InodePtr = std::shared_ptr<Inode>;

  // Counts one operation that changes the disk. ERRORS: kIo while the power is off.
  Status change(const char* what, const std::string& name);
  Status do_write(Inode& inode, uint64_t offset, ByteView data);
  Status do_flush(const InodePtr& inode);
  Status do_read(Inode& inode, uint64_t offset, MutableByteView out);
  void cut_file(Inode& inode);
  std::unexpected<Error> injected(const char* what, const std::string& name);

  Rng rng_;
  DiskFaults faults_;
  DiskStats stats_;
  std::map<std::string, InodePtr> names_;  // as the running system sees them
  std::map<std::string, InodePtr>
      durable_names_;   // as they are after a cut, for those that do not differ
  uint64_t epoch_ = 0;  // counts power cuts; a file of an older one is dead
  uint64_t sectors_used_ = 0;
  std::optional<uint64_t> cut_countdown_;
  bool is_off_ = false;
};

}  // namespace forerun::sim
