#include "sim/vm_disk.h"

#include <utility>

namespace forerun::sim {

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

Result<Buffer> VmDisk::read(ByteRange range) {
  disk::ReadSlices out;
  disk::DiskWork work;
  disk::Pins pins;
  const Time began = host_.loop().now();
  for (;;) {
    if (host_.is_stopped()) return fail(ErrorCode::kUnavailable, "the daemon is gone");
    FR_TRY(const bool is_complete,
           disk_->try_read(range, out, work, {.pins = &pins, .allow_tier_file = true}));
    if (is_complete) break;
    FR_CHECK(wait_for(work.missing, pins));
  }
  const Nanos waited = host_.loop().now() - began;
  for (const disk::Touch& touch : work.touches) {
    const bool did_wait = touch.served_from == trace::ServedFrom::kRepository;
    host_.observe({.at = host_.loop().now(),
                   .vm = vm_,
                   .component = touch.component,
                   .first_block = touch.first_chunk,
                   .block_count = touch.chunk_count,
                   .op = trace::Op::kRead,
                   .served_from = touch.served_from,
                   .waited_us = did_wait ? static_cast<uint32_t>(waited.count() / 1000) : 0});
  }
  Buffer answer;
  answer.reserve(range.length);
  for (const ByteView slice : out.slices) answer.insert(answer.end(), slice.begin(), slice.end());
  return answer;
}

Status VmDisk::prepare(ByteRange range, disk::Pins& pins) {
  disk::DiskWork work;
  for (;;) {
    if (host_.is_stopped()) return fail(ErrorCode::kUnavailable, "the daemon is gone");
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
