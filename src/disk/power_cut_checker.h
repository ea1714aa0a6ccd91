// For tests: what an overlay may hold after a power cut. Of each block the checker keeps the
// content at the last acknowledged flush (the floor) and every content that was written since.
// After a cut each sector must be one of these: floor ≤ found ≤ sent; after a mere kill it must be
// the last.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/rng.h"
#include "disk/overlay.h"

namespace forerun::disk {

// The image's content: every 8 bytes name their place, so that misplaced data is recognised.
inline Status read_stamped_base(ByteRange range, MutableByteView out) {
  for (uint64_t i = 0; i < range.length; ++i) {
    const uint64_t stamp = 0xba5e000000000000 | (range.offset + i) / 8;
    out[i] = static_cast<std::byte>(stamp >> ((range.offset + i) % 8 * 8));
  }
  return {};
}

// Returns what a guest would read.
inline Buffer read_through(Overlay& overlay, ByteRange range) {
  Buffer content(range.length);
  std::vector<OverlayRun> runs;
  overlay.look_up(range, runs);
  for (const OverlayRun& run : runs) {
    const MutableByteView part =
        MutableByteView(content).subspan(run.range.offset - range.offset, run.range.length);
    if (run.state == BlockState::kBase) FR_ASSERT(read_stamped_base(run.range, part).has_value());
    if (run.state == BlockState::kData) {
      FR_ASSERT(overlay.read(run.range.offset, part).has_value());
    }
  }
  return content;
}

class PowerCutChecker {
 public:
  struct Options {
    uint64_t size_bytes = 0;
    uint64_t seed = 0;
    double flush_chance = 1.0 / 37;
    bool keeps_history = false;  // a block may hold anything that it ever held: for damaged files
    // For a pulled overlay: what the disk holds at first, what brings the blocks that a write will
    // need, and what a guest would read. Unset: over the stamped base, all here.
    Overlay::ReadBase read_first = read_stamped_base;
    std::function<Status(Overlay&, ByteRange)> prepare_write;
    std::function<Buffer(Overlay&, ByteRange)> read = read_through;
  };
  explicit PowerCutChecker(Options options) : options_(std::move(options)), rng_(options_.seed) {
    for (uint64_t offset = 0; offset < options_.size_bytes; offset += kOverlayBlockSize) {
      const ByteRange block = intersect({offset, kOverlayBlockSize}, {0, options_.size_bytes});
      Buffer content(block.length);
      FR_ASSERT(options_.read_first(block, content).has_value());
      versions_.push_back({std::move(content)});
    }
  }

  // Does one random write, write of zeroes, trim or flush.
  Status step(Overlay& overlay) {
    if (rng_.chance(options_.flush_chance)) {
      FR_CHECK(overlay.flush());
      ++flushes_;
      if (!options_.keeps_history) keep_last();
      return {};
    }
    const ByteRange range = random_range();
    if (options_.prepare_write) FR_CHECK(options_.prepare_write(overlay, range));
    if (rng_.chance(0.25)) {
      const bool may_punch = rng_.chance(0.7);
      const Buffer zeroes(range.length);
      note(range.offset, zeroes);
      return overlay.write_zeroes(range, may_punch, read_stamped_base);
    }
    const Buffer data = stamped_data(range);
    note(range.offset, data);
    return overlay.write(range.offset, data, read_stamped_base);
  }

  // Returns the number of sectors that break the law; then takes what was found as the new floor.
  uint64_t verify_after_cut(Overlay& overlay) { return verify(overlay, false); }
  // Returns the number of sectors that are not as last written.
  uint64_t verify_now(Overlay& overlay) { return verify(overlay, true); }

  uint64_t flushes() const { return flushes_; }
  uint64_t writes() const { return writes_; }
  const std::string& first_problem() const { return first_problem_; }

 private:
  static constexpr uint64_t kSector = 512;

  ByteRange random_range() {
    const uint64_t size = options_.size_bytes;
    if (rng_.chance(0.5)) {
      return intersect({round_down(rng_.below(size), kOverlayBlockSize), kOverlayBlockSize},
                       {0, size});
    }
    const uint64_t length_max = rng_.chance(0.5) ? 600 : 5 * kOverlayBlockSize;
    return intersect({rng_.below(size), rng_.between(1, length_max)}, {0, size});
  }
  Buffer stamped_data(ByteRange range) {
    Buffer data(range.length);
    const uint64_t sequence = ++writes_;
    for (uint64_t i = 0; i < data.size(); ++i) {
      const uint64_t at = range.offset + i;
      const uint64_t stamp = sequence << 24 | at / 8;
      data[i] = static_cast<std::byte>(stamp >> (at % 8 * 8));
    }
    return data;
  }
  void note(uint64_t offset, ByteView data) {
    while (!data.empty()) {
      auto& versions = versions_[offset / kOverlayBlockSize];
      const uint64_t at = offset % kOverlayBlockSize;
      const size_t length = std::min<uint64_t>(data.size(), kOverlayBlockSize - at);
      Buffer content = versions.back();
      std::copy_n(data.begin(), length, content.begin() + static_cast<ptrdiff_t>(at));
      versions.push_back(std::move(content));
      data = data.subspan(length);
      offset += length;
    }
  }
  void keep_last() {
    for (auto& versions : versions_) versions.erase(versions.begin(), versions.end() - 1);
  }
  uint64_t verify(Overlay& overlay, bool only_last) {
    const Buffer found = options_.read(overlay, {0, options_.size_bytes});
    uint64_t bad = 0;
    for (size_t block = 0; block < versions_.size(); ++block) {
      auto& versions = versions_[block];
      const ByteView now =
          ByteView(found).subspan(block * kOverlayBlockSize, versions.front().size());
      for (uint64_t at = 0; at < now.size(); at += kSector) {
        const size_t length = std::min<uint64_t>(kSector, now.size() - at);
        const auto is_found = [&](const Buffer& version) {
          return std::memcmp(version.data() + at, now.data() + at, length) == 0;
        };
        const bool right = only_last ? is_found(versions.back())
                                     : std::any_of(versions.rbegin(), versions.rend(), is_found);
        if (!right) note_problem(block, at, now.subspan(at, length), bad++);
      }
      if (!only_last && !options_.keeps_history) {
        versions.assign(1, Buffer(now.begin(), now.end()));
      }
    }
    return bad;
  }
  void note_problem(uint64_t block, uint64_t at, ByteView found, uint64_t count) {
    if (count > 0 || !first_problem_.empty()) return;
    uint64_t stamp = 0;
    std::memcpy(&stamp, found.data(), std::min<size_t>(found.size(), sizeof stamp));
    first_problem_ = "block " + std::to_string(block) + " byte " + std::to_string(at) +
                     ": found stamp " + std::to_string(stamp) + " of " +
                     std::to_string(versions_[block].size()) + " possible contents";
  }

  const Options options_;
  Rng rng_;
  std::vector<std::vector<Buffer>> versions_;  // of each block, oldest first
  uint64_t flushes_ = 0;
  uint64_t writes_ = 0;
  std::string first_problem_;
};

}  // namespace forerun::disk
