#include "sim/disk_oracle.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/result.h"

namespace forerun::sim {
namespace {

using Stamp = std::array<std::byte, kOracleSector>;

uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// The content of one sector as one write left it: who, where, which, then a sequence of those, so
// that no part of it can stand for another.
Stamp stamp(uint32_t vm, uint64_t sector, uint64_t sequence) {
  Stamp content;
  uint64_t words[kOracleSector / 8];
  words[0] = vm;
  words[1] = sector;
  words[2] = sequence;
  const uint64_t seed = mix(vm * 0x9e3779b97f4a7c15 + mix(sector * 0x9e3779b97f4a7c15 + sequence));
  for (size_t i = 3; i < std::size(words); ++i) words[i] = seed + i * 0x9e3779b97f4a7c15;
  std::memcpy(content.data(), words, sizeof words);
  return content;
}

}  // namespace

DiskOracle::DiskOracle(uint32_t vm, std::shared_ptr<const Buffer> image)
    : vm_(vm), image_(std::move(image)) {}

DiskOracle::Sector& DiskOracle::sector(uint64_t number) {
  Sector& found = sectors_[number];
  if (found.versions.empty()) found.versions.push_back({});
  return found;
}

void DiskOracle::fill(uint64_t number, const Version& version, MutableByteView out) const {
  std::fill(out.begin(), out.end(), std::byte{0});
  if (version.is_zeroes) return;
  if (version.sequence > 0) {
    std::memcpy(out.data(), stamp(vm_, number, version.sequence).data(), out.size());
    return;
  }
  const uint64_t offset = number * kOracleSector;
  std::memcpy(out.data(), image_->data() + offset,
              std::min<uint64_t>(out.size(), image_->size() - offset));
}

bool DiskOracle::matches(uint64_t number, const Version& version, ByteView content,
                         uint64_t from) const {
  Stamp expected;
  fill(number, version, expected);
  return std::memcmp(expected.data() + from, content.data(), content.size()) == 0;
}

DiskOracle::Write DiskOracle::begin_write(ByteRange range, bool is_zeroes) {
  FR_ASSERT(range.offset % kOracleSector == 0 && range.length % kOracleSector == 0);
  Write write{next_sequence_++, range, is_zeroes, {}};
  if (!is_zeroes) write.data.resize(range.length);
  for (uint64_t at = range.offset; at < range.end(); at += kOracleSector) {
    const uint64_t number = at / kOracleSector;
    Sector& target = sector(number);
    FR_ASSERT(!target.is_written_now, "two writes to one sector under way");
    target.is_written_now = true;
    target.is_uncertain = false;
    target.versions.push_back({write.sequence, is_zeroes});
    if (!is_zeroes) {
      fill(number, target.versions.back(),
           MutableByteView(write.data).subspan(at - range.offset, kOracleSector));
    }
  }
  return write;
}

void DiskOracle::acknowledge(const Write& write, bool is_durable) {
  for (uint64_t at = write.range.offset; at < write.range.end(); at += kOracleSector) {
    const uint64_t number = at / kOracleSector;
    Sector& target = sector(number);
    target.is_written_now = false;
    target.visible = write.sequence;
    if (is_durable) {
      target.floor = write.sequence;
      target.is_uncertain = false;
      dirty_.erase(number);
      forget_below_floor(target);
    } else {
      dirty_[number] = write.sequence;
    }
  }
}

void DiskOracle::fail(const Write& write) {
  for (uint64_t at = write.range.offset; at < write.range.end(); at += kOracleSector) {
    sector(at / kOracleSector).is_written_now = false;
  }
}

void DiskOracle::forget_below_floor(Sector& target) {
  if (reads_under_way_ > 0) return;  // they may still see what was there when they were sent
  const uint64_t keep = std::min(target.floor, target.visible);
  std::erase_if(target.versions, [&](const Version& each) { return each.sequence < keep; });
}

DiskOracle::Flush DiskOracle::begin_flush() {
  const Flush flush{next_sequence_++};
  auto& covered = flushes_[flush.sequence];
  covered.assign(dirty_.begin(), dirty_.end());
  return flush;
}

void DiskOracle::acknowledge(const Flush& flush) {
  for (const auto& [number, visible] : flushes_.at(flush.sequence)) {
    Sector& target = sector(number);
    if (target.floor >= visible) continue;
    target.floor = visible;
    const auto dirty = dirty_.find(number);
    if (dirty != dirty_.end() && dirty->second == visible) dirty_.erase(dirty);
    forget_below_floor(target);
  }
  flushes_.erase(flush.sequence);
}

void DiskOracle::fail(const Flush& flush) { flushes_.erase(flush.sequence); }

DiskOracle::Read DiskOracle::begin_read(ByteRange range) {
  Read read{range, next_sequence_++, {}};
  const uint64_t first = range.offset / kOracleSector;
  const uint64_t end = round_up(range.end(), kOracleSector) / kOracleSector;
  for (uint64_t number = first; number < end; ++number) {
    const auto found = sectors_.find(number);
    read.earliest.push_back(found == sectors_.end() ? 0 : found->second.visible);
  }
  ++reads_under_way_;
  return read;
}

void DiskOracle::abandon(const Read&) { --reads_under_way_; }

std::optional<std::string> DiskOracle::check(const Read& read, ByteView answer) {
  --reads_under_way_;
  if (answer.size() != read.range.length) {
    return fmt::format("a read of {} bytes returned {}", read.range.length, answer.size());
  }
  const uint64_t first = read.range.offset / kOracleSector;
  for (size_t i = 0; i < read.earliest.size(); ++i) {
    const uint64_t number = first + i;
    const ByteRange part = intersect({number * kOracleSector, kOracleSector}, read.range);
    const ByteView content = answer.subspan(part.offset - read.range.offset, part.length);
    const uint64_t from = part.offset - number * kOracleSector;
    const auto found = sectors_.find(number);
    if (found == sectors_.end()) {
      if (matches(number, {}, content, from)) continue;
      return fmt::format("vm {} sector {}: never written, and not what the image has", vm_, number);
    }
    Sector& target = found->second;
    std::vector<Version> matching;
    for (const Version& version : target.versions) {
      if (version.sequence >= read.earliest[i] && matches(number, version, content, from)) {
        matching.push_back(version);
      }
    }
    if (matching.empty()) {
      uint64_t words[3] = {};
      std::memcpy(words, content.data(), std::min<size_t>(sizeof words, content.size()));
      std::string stale = "content of no write known";
      for (const Version& version : target.versions)
        if (matches(number, version, content, from))
          stale = fmt::format("an older write, {}", version.sequence);
      return fmt::format(
          "vm {} sector {}: expected write {} or later (floor {}, last sent {}), found {} "
          "(words: vm {} sector {} write {})",
          vm_, number, read.earliest[i], target.floor, target.versions.back().sequence, stale,
          words[0], words[1], words[2]);
    }
    if (target.is_uncertain && !target.is_written_now && part.length == kOracleSector) {
      if (matching.back().sequence < target.versions.back().sequence) ++sectors_rolled_back_;
      target.versions = matching;
      target.visible = target.floor = matching.front().sequence;
      target.is_uncertain = false;
    }
  }
  return std::nullopt;
}

void DiskOracle::lose_power() {
  flushes_.clear();
  dirty_.clear();
  reads_under_way_ = 0;
  for (auto& [number, target] : sectors_) {
    target.is_written_now = false;
    target.visible = target.floor;
    std::erase_if(target.versions,
                  [&](const Version& each) { return each.sequence < target.floor; });
    target.is_uncertain = target.versions.size() > 1;
    if (target.is_uncertain) ++sectors_at_floor_;
  }
}

std::vector<ByteRange> DiskOracle::written_ranges() const {
  std::vector<ByteRange> ranges;
  for (const auto& [number, target] : sectors_) {
    const ByteRange here{number * kOracleSector, kOracleSector};
    if (!ranges.empty() && ranges.back().end() == here.offset && ranges.back().length < 64 * kKiB) {
      ranges.back().length += kOracleSector;
    } else {
      ranges.push_back(here);
    }
  }
  return ranges;
}

}  // namespace forerun::sim
