#include "sim/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace forerun::sim {

namespace {

using Sector = std::array<std::byte, kSectorSize>;
constexpr size_t kVersionsMax =
    8;  // of one un-flushed sector; a cut that needs a ninth is as rare as it is alike

// One content of a sector that has not been flushed. A metadata version (punch, truncation) is
// zeroes.
struct Version {
  uint64_t order = 0;
  bool is_metadata = false;
  Sector content{};
};

struct SizeChange {
  uint64_t order = 0;
  uint64_t size = 0;
};

uint64_t sector_of(uint64_t offset) { return offset / kSectorSize; }

}  // namespace

struct SimFolder::Inode {
  std::string name;  // for messages
  uint64_t size = 0, durable_size = 0;
  uint64_t order = 0;           // of the next change
  Buffer current, durable;      // up to the last byte ever written; zeroes follow
  std::vector<bool> allocated;  // by sector, for the disk's capacity
  std::map<uint64_t, std::vector<Version>> dirty;
  std::vector<SizeChange> sizes;
  std::vector<uint64_t> metadata_orders;

  static Sector load(const Buffer& from, uint64_t sector) {
    Sector content{};
    const uint64_t offset = sector * kSectorSize;
    if (offset < from.size()) {
      std::memcpy(content.data(), from.data() + offset,
                  std::min(kSectorSize, from.size() - offset));
    }
    return content;
  }
  static void store(Buffer& to, uint64_t sector, const Sector& content) {
    const uint64_t end = (sector + 1) * kSectorSize;
    if (to.size() < end) to.resize(end);
    std::memcpy(to.data() + sector * kSectorSize, content.data(), kSectorSize);
  }
  void push(uint64_t sector, bool is_metadata, uint64_t at_order) {
    auto& versions = dirty[sector];
    if (versions.size() >= kVersionsMax) {
      const auto data = std::ranges::find(versions, false, &Version::is_metadata);
      if (data != versions.end()) versions.erase(data);
    }
    versions.push_back({at_order, is_metadata, load(current, sector)});
  }
  void set_size(uint64_t new_size) {
    size = new_size;
    sizes.push_back({order, size});
    metadata_orders.push_back(order);
  }
  // Zeroes [begin, end) as one metadata operation.
  void zero(uint64_t begin, uint64_t end) {
    metadata_orders.push_back(order);
    end = std::min<uint64_t>(end, current.size());
    if (begin >= end) return;
    std::memset(current.data() + begin, 0, end - begin);
    for (uint64_t sector = sector_of(begin); sector * kSectorSize < end; ++sector) {
      push(sector, true, order);
    }
  }
  // Turns one bit on the medium, and so in every copy of it.
  void flip(uint64_t at, std::byte bit) {
    current[at] ^= bit;
    if (at < durable.size()) durable[at] ^= bit;
    const auto found = dirty.find(sector_of(at));
    if (found == dirty.end()) return;
    for (Version& version : found->second) version.content[at % kSectorSize] ^= bit;
  }
  void forget_changes() {
    dirty.clear();
    sizes.clear();
    metadata_orders.clear();
  }
};

class SimFile final : public StorageFile {
 public:
  SimFile(SimFolder& folder, SimFolder::InodePtr inode)
      : folder_(folder), inode_(std::move(inode)), epoch_(folder.epoch_) {}

  Status read(uint64_t offset, MutableByteView out) override {
    FR_CHECK(alive("read"));
    return folder_.do_read(*inode_, offset, out);
  }
  Status write(uint64_t offset, ByteView data) override {
    FR_CHECK(alive("write"));
    FR_CHECK(folder_.change("write", inode_->name));
    return folder_.do_write(*inode_, offset, data);
  }
  Status flush() override {
    FR_CHECK(alive("flush"));
    FR_CHECK(folder_.change("flush", inode_->name));
    return folder_.do_flush(inode_);
  }
  Status punch(ByteRange range) override {
    FR_CHECK(alive("punch"));
    FR_CHECK(folder_.change("punch", inode_->name));
    ++inode_->order;
    inode_->zero(range.offset, range.end());
    for (uint64_t sector = sector_of(range.offset + kSectorSize - 1);
         (sector + 1) * kSectorSize <= range.end() && sector < inode_->allocated.size(); ++sector) {
      if (inode_->allocated[sector]) --folder_.sectors_used_;
      inode_->allocated[sector] = false;
    }
    return {};
  }
  Status resize(uint64_t size) override {
    FR_CHECK(alive("resize"));
    FR_CHECK(folder_.change("resize", inode_->name));
    ++inode_->order;
    if (size < inode_->size) inode_->zero(size, inode_->size);
    inode_->set_size(size);
    return {};
  }
  Result<uint64_t> size() override {
    FR_CHECK(alive("size"));
    return inode_->size;
  }

 private:
  Status alive(const char* what) const {
    if (epoch_ == folder_.epoch_) return {};
    return fail(ErrorCode::kIo,
                fmt::format("cannot {} {}: opened before the power cut", what, inode_->name));
  }

  SimFolder& folder_;
  SimFolder::InodePtr inode_;
  uint64_t epoch_;
};

SimFolder::SimFolder(uint64_t seed, DiskFaults faults) : rng_(seed), faults_(faults) {}
SimFolder::~SimFolder() = default;

std::unexpected<Error> SimFolder::injected(const char* what, const std::string& name) {
  ++stats_.errors_injected;
  return std::unexpected(
      Error{ErrorCode::kIo, fmt::format("cannot {} {}: injected fault", what, name), EIO});
}

Status SimFolder::change(const char* what, const std::string& name) {
  if (cut_countdown_ && !is_off_ && (*cut_countdown_)-- == 0) is_off_ = true;
  if (is_off_)
    return fail(ErrorCode::kIo, fmt::format("cannot {} {}: the power is off", what, name));
  return {};
}

Result<std::unique_ptr<StorageFile>> SimFolder::open(const std::string& name, bool create) {
  if (is_off_) return fail(ErrorCode::kIo, fmt::format("cannot open {}: the power is off", name));
  auto found = names_.find(name);
  if (found == names_.end()) {
    if (!create)
      return fail(ErrorCode::kNotFound, fmt::format("cannot open {}: no such file", name));
    FR_CHECK(change("create", name));
    auto inode = std::make_shared<Inode>();
    inode->name = name;
    found = names_.emplace(name, std::move(inode)).first;
  }
  return std::make_unique<SimFile>(*this, found->second);
}

bool SimFolder::exists(const std::string& name) { return names_.contains(name); }

Status SimFolder::replace(const std::string& from, const std::string& to) {
  const auto found = names_.find(from);
  if (found == names_.end()) {
    return fail(ErrorCode::kNotFound, fmt::format("cannot rename {}: no such file", from));
  }
  FR_CHECK(change("rename", from));
  auto inode = found->second;
  inode->name = to;
  names_.erase(found);
  names_[to] = inode;
  durable_names_.erase(from);
  durable_names_[to] = inode;
  return {};
}

Status SimFolder::remove(const std::string& name) {
  if (!names_.contains(name)) {
    return fail(ErrorCode::kNotFound, fmt::format("cannot remove {}: no such file", name));
  }
  FR_CHECK(change("remove", name));
  names_.erase(name);
  return {};
}

Status SimFolder::do_read(Inode& inode, uint64_t offset, MutableByteView out) {
  ++stats_.reads;
  if (is_off_)
    return fail(ErrorCode::kIo, fmt::format("cannot read {}: the power is off", inode.name));
  if (rng_.chance(faults_.read_error)) return injected("read", inode.name);
  if (!out.empty() && rng_.chance(faults_.bit_rot) && offset < inode.current.size()) {
    const uint64_t reach = std::min<uint64_t>(out.size(), inode.current.size() - offset);
    inode.flip(offset + rng_.below(reach), static_cast<std::byte>(1u << rng_.below(8)));
    ++stats_.bits_rotted;
  }
  std::fill(out.begin(), out.end(), std::byte{0});
  const uint64_t end = std::min<uint64_t>(inode.size, inode.current.size());
  if (offset < end && !out.empty()) {
    std::memcpy(out.data(), inode.current.data() + offset,
                std::min<uint64_t>(out.size(), end - offset));
  }
  return {};
}

Status SimFolder::do_write(Inode& inode, uint64_t offset, ByteView data) {
  ++stats_.writes;
  if (data.empty()) return {};
  const bool fails = rng_.chance(faults_.write_error);
  if (fails) {  // as a device that gives up half-way
    data = data.first(rng_.below(sector_of(data.size()) + 1) * kSectorSize);
    if (data.empty()) return injected("write", inode.name);
  }
  if (rng_.chance(faults_.misdirected_write) && inode.size > kSectorSize) {
    offset = rng_.below(sector_of(inode.size)) * kSectorSize;
    ++stats_.writes_misdirected;
  }
  const uint64_t end = offset + data.size();
  if (inode.allocated.size() * kSectorSize < end) inode.allocated.resize(sector_of(end - 1) + 1);
  for (uint64_t sector = sector_of(offset); sector * kSectorSize < end; ++sector) {
    if (inode.allocated[sector]) continue;
    if ((sectors_used_ + 1) * kSectorSize > faults_.capacity_bytes) {
      return fail(ErrorCode::kNoSpace,
                  fmt::format("cannot write {}: the disk is full", inode.name));
    }
    inode.allocated[sector] = true;
    ++sectors_used_;
  }
  if (inode.current.size() < end) inode.current.resize(round_up(end, kSectorSize));
  std::memcpy(inode.current.data() + offset, data.data(), data.size());
  ++inode.order;
  for (uint64_t sector = sector_of(offset); sector * kSectorSize < end; ++sector) {
    inode.push(sector, false, inode.order);
  }
  if (inode.size < end) inode.set_size(end);
  if (fails) return injected("write", inode.name);
  return {};
}

Status SimFolder::do_flush(const InodePtr& inode) {
  ++stats_.flushes;
  if (faults_.lie_one_flush_in > 0 && rng_.below(faults_.lie_one_flush_in) == 0) {
    ++stats_.flush_lies;
    return {};
  }
  const bool fails = rng_.chance(faults_.flush_error);
  for (auto& [sector, versions] : inode->dirty) {
    if (fails && rng_.chance(0.5))
      continue;  // never reaches the disk, though the cache keeps showing it
    Inode::store(inode->durable, sector, versions.back().content);
  }
  if (fails) {
    ++stats_.flushes_failed;
    if (faults_.failed_flush_loses) inode->dirty.clear();
    return injected("flush", inode->name);
  }
  inode->durable_size = inode->size;
  inode->forget_changes();
  const auto named = names_.find(inode->name);
  if (named != names_.end() && named->second == inode) durable_names_[inode->name] = inode;
  return {};
}

void SimFolder::cut_file(Inode& inode) {
  // The file system's journal keeps a prefix of the metadata operations.
  uint64_t kept_order = 0;
  if (!inode.metadata_orders.empty()) {
    const uint64_t kept = rng_.below(inode.metadata_orders.size() + 1);
    if (kept > 0) kept_order = inode.metadata_orders[kept - 1];
  }
  for (const SizeChange& change : inode.sizes) {
    if (change.order <= kept_order) inode.durable_size = change.size;
  }
  for (const auto& [sector, versions] : inode.dirty) {
    // Candidates: what follows the last surviving metadata operation, up to the first that did not
    // survive.
    size_t begin = 0, end = versions.size();
    bool durable_is_candidate = true;
    for (size_t i = 0; i < versions.size(); ++i) {
      if (!versions[i].is_metadata) continue;
      if (versions[i].order <= kept_order) {
        begin = i;
        durable_is_candidate = false;
      } else {
        end = std::min(end, i);
      }
    }
    const size_t count = end - begin + (durable_is_candidate ? 1 : 0);
    size_t pick = rng_.below(count);
    if (durable_is_candidate && pick == 0) {
      ++stats_.sectors_lost;
      continue;
    }
    pick = begin + pick - (durable_is_candidate ? 1 : 0);
    if (pick + 1 != versions.size()) ++stats_.sectors_lost;
    Sector content = versions[pick].content;
    if (rng_.chance(faults_.torn_sector)) {
      const Sector old = Inode::load(inode.durable, sector);
      const size_t kept = rng_.below(kSectorSize);
      std::memcpy(content.data() + kept, old.data() + kept, kSectorSize - kept);
    }
    Inode::store(inode.durable, sector, content);
  }
  if (inode.durable.size() > inode.durable_size) {
    inode.durable.resize(round_up(inode.durable_size, kSectorSize));
    std::fill(inode.durable.begin() + static_cast<ptrdiff_t>(inode.durable_size),
              inode.durable.end(), std::byte{0});
  }
  inode.current = inode.durable;
  inode.size = inode.durable_size;
  inode.forget_changes();
}

void SimFolder::power_cut() {
  ++stats_.cuts;
  ++epoch_;
  is_off_ = false;
  cut_countdown_.reset();
  std::map<std::string, InodePtr> survivors = durable_names_;
  for (const auto& [name, inode] : names_) {  // created, and perhaps kept
    if (!durable_names_.contains(name) && rng_.chance(0.5)) survivors[name] = inode;
    if (durable_names_.contains(name) && durable_names_[name] != inode && rng_.chance(0.5)) {
      survivors[name] = inode;
    }
  }
  for (const auto& [name, inode] : durable_names_) {  // removed, and perhaps gone
    if (!names_.contains(name) && rng_.chance(0.5)) survivors.erase(name);
  }
  sectors_used_ = 0;
  for (const auto& [name, inode] : survivors) {
    cut_file(*inode);
    inode->name = name;
    inode->allocated.assign(sector_of(inode->durable.size() + kSectorSize - 1), true);
    sectors_used_ += inode->allocated.size();
  }
  names_ = survivors;
  durable_names_ = survivors;
}

bool SimFolder::rot_one_bit(const std::string& name) {
  const auto found = names_.find(name);
  if (found == names_.end()) return false;
  Inode& inode = *found->second;
  const uint64_t reach = std::min<uint64_t>(inode.size, inode.current.size());
  if (reach == 0) return false;
  inode.flip(rng_.below(reach), static_cast<std::byte>(1u << rng_.below(8)));
  ++stats_.bits_rotted;
  return true;
}

std::vector<std::string> SimFolder::names() const {
  std::vector<std::string> all;
  for (const auto& [name, inode] : names_) all.push_back(name);
  return all;
}

}  // namespace forerun::sim
