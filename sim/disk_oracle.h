// What one guest knows of its disk, and so what a read may return: the image where it never wrote,
// else the latest of its own writes; after a power cut, of each sector, any write from the last one
// that a flush covered to the last one sent (floor ≤ found ≤ sent).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/rng.h"

namespace forerun::sim {

inline constexpr uint64_t kOracleSector = 512;

// One thread.
class DiskOracle {
 public:
  // `image` is the disk's content before any write.
  DiskOracle(uint32_t vm, std::shared_ptr<const Buffer> image);

  // Returns the number of a write about to be sent, and its data. REQUIRES: whole sectors, and no
  // other write to one of them under way.
  struct Write {
    uint64_t sequence = 0;
    ByteRange range;
    bool is_zeroes = false;
    Buffer data;  // empty for zeroes
  };
  Write begin_write(ByteRange range, bool is_zeroes);
  // It was acknowledged; `is_durable`: with force unit access.
  void acknowledge(const Write& write, bool is_durable);
  // It failed: some of it may have happened.
  void fail(const Write& write);

  // Returns what a flush sent now will cover.
  struct Flush {
    uint64_t sequence = 0;
  };
  Flush begin_flush();
  void acknowledge(const Flush& flush);
  void fail(const Flush& flush);

  // Returns what a read sent now may see at the earliest.
  struct Read {
    ByteRange range;
    uint64_t number = 0;
    std::vector<uint64_t> earliest;  // by sector
  };
  Read begin_read(ByteRange range);
  // Returns what is wrong with the answer, if anything is.
  std::optional<std::string> check(const Read& read, ByteView answer);
  void abandon(const Read& read);

  // The host lost its power: what is under way is neither acknowledged nor failed.
  void lose_power();
  // Returns the sectors whose content is not certain, or that were ever written: worth a look after
  // a restart.
  std::vector<ByteRange> written_ranges() const;

  uint64_t size_bytes() const { return image_->size(); }
  uint64_t sectors_at_floor() const { return sectors_at_floor_; }
  uint64_t sectors_rolled_back() const { return sectors_rolled_back_; }

 private:
  struct Version {
    uint64_t sequence = 0;  // 0: the image
    bool is_zeroes = false;
  };
  struct Sector {
    std::vector<Version> versions;  // that may be found, oldest first; never empty
    uint64_t visible = 0;           // reads show this or a later one
    uint64_t floor = 0;             // a power cut leaves this or a later one
    bool is_written_now = false;
    bool is_uncertain = false;  // since a power cut: the next look tells what is there, for good
  };
  Sector& sector(uint64_t number);
  bool matches(uint64_t number, const Version& version, ByteView content, uint64_t from) const;
  void fill(uint64_t number, const Version& version, MutableByteView out) const;
  void forget_below_floor(Sector& sector);

  uint32_t vm_;
  std::shared_ptr<const Buffer> image_;
  std::map<uint64_t, Sector> sectors_;  // those ever written
  uint64_t next_sequence_ = 1;
  uint64_t reads_under_way_ = 0;
  std::map<uint64_t, std::vector<std::pair<uint64_t, uint64_t>>> flushes_;  // sector, visible
  std::map<uint64_t, uint64_t> dirty_;  // sectors with something above the floor, and it
  uint64_t sectors_at_floor_ = 0;
  uint64_t sectors_rolled_back_ = 0;
};

}  // namespace forerun::sim
