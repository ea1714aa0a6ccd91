#include "sim/vm_disk.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace forerun::sim {
namespace {

// As daemon/served_disk: what a read touched, missing or not, as runs; the slowest part counts.
std::vector<disk::Touch> as_one_read(const disk::DiskWork& work) {
  std::vector<disk::Touch> parts = work.touches;
  for (const disk::Missing& chunk : work.missing) {
    parts.push_back({chunk.component, chunk.chunk_index, 1, trace::ServedFrom::kRepository});
  }
  std::ranges::sort(parts, [](const disk::Touch& a, const disk::Touch& b) {
    return std::tie(a.component, a.first_chunk) < std::tie(b.component, b.first_chunk);
  });
  std::vector<disk::Touch> runs;
  for (const disk::Touch& part : parts) {
    if (!runs.empty() && runs.back().component == part.component &&
        runs.back().first_chunk + runs.back().chunk_count == part.first_chunk) {
      runs.back().chunk_count += part.chunk_count;
      runs.back().served_from = std::max(runs.back().served_from, part.served_from);
    } else {
      runs.push_back(part);
    }
  }
  return runs;
}

}  // namespace

Result<std::unique_ptr<VmDisk>> VmDisk::open(Host& host, SimFolder& folder,
                                             image::ComponentPtr component, VmDiskOptions options) {
  FR_TRY(auto overlay, disk::Overlay::open(folder, options.name,
                                           {.size_bytes = component->index.size_bytes,
                                            .base = component->digest,
                                            .journal_bytes_max = options.journal_bytes_max,
                                            .owner_token = options.owner_token,
                                            .boot_token = options.boot_token}));
  auto disk = std::make_unique<disk::VirtualDisk>(image::MappingTable::whole(std::move(component)),
                                                  std::move(overlay), host.tier());
  return std::unique_ptr<VmDisk>(new VmDisk(host, std::move(disk)));
}

VmDisk::VmDisk(Host& host, std::unique_ptr<disk::VirtualDisk> disk)
    : host_(host), disk_(std::move(disk)) {}

Status VmDisk::wait_for(const std::vector<disk::Missing>& missing, disk::Pins& pins) {
  std::vector<repository::ChunkRef> refs;
  for (const disk::Missing& each : missing) refs.push_back(each.chunk);
  FR_TRY(const auto chunks, host_.get(refs, vm_));
  for (const auto& chunk : chunks) pins[chunk->id] = chunk;
  return {};
}

void VmDisk::observe(const std::vector<disk::Touch>& touches) {
  for (const disk::Touch& touch : touches) {
    host_.observe({.at = host_.loop().now(),
                   .vm = vm_,
                   .component = touch.component,
                   .first_block = touch.first_chunk,
                   .block_count = touch.chunk_count,
                   .op = trace::Op::kRead,
                   .served_from = touch.served_from,
                   .waited_us = 0});
  }
}

Result<Buffer> VmDisk::read(ByteRange range) {
  disk::ReadSlices out;
  disk::DiskWork work;
  disk::Pins pins;
  bool is_observed = false;
  for (int attempt = 0;; ++attempt) {
    if (host_.is_stopped()) return fail(ErrorCode::kUnavailable, "the daemon is gone");
    if (attempt == kAttemptsMax) return fail(ErrorCode::kInternal, "chunks vanish while pinned");
    FR_TRY(const bool is_complete,
           disk_->try_read(range, out, work, {.pins = &pins, .allow_tier_file = true}));
    // Said before the wait: what the models make of it can travel right behind.
    if (!is_observed) observe(is_complete ? work.touches : as_one_read(work));
    is_observed = true;
    if (is_complete) break;
    FR_CHECK(wait_for(work.missing, pins));
  }
  Buffer answer;
  answer.reserve(range.length);
  for (const ByteView slice : out.slices) answer.insert(answer.end(), slice.begin(), slice.end());
  return answer;
}

Status VmDisk::prepare(ByteRange range, disk::Pins& pins) {
  disk::DiskWork work;
  for (int attempt = 0;; ++attempt) {
    if (host_.is_stopped()) return fail(ErrorCode::kUnavailable, "the daemon is gone");
    if (attempt == kAttemptsMax) return fail(ErrorCode::kInternal, "chunks vanish while pinned");
    if (disk_->prepare_write(range, pins, work, true)) return {};
    FR_CHECK(wait_for(work.missing, pins));
  }
}

Status VmDisk::write(uint64_t offset, ByteView data, bool fua) {
  disk::Pins pins;
  FR_CHECK(prepare({offset, data.size()}, pins));
  return disk_->write(offset, data, pins, fua);
}

Status VmDisk::write_zeroes(ByteRange range, bool may_punch, bool fua) {
  disk::Pins pins;
  FR_CHECK(prepare(range, pins));
  return may_punch ? disk_->trim(range, pins, fua) : disk_->write_zeroes(range, false, pins, fua);
}

void VmDisk::block_status(ByteRange range, std::vector<disk::StatusExtent>& out) const {
  disk_->block_status(range, 64, out);
}

}  // namespace forerun::sim
