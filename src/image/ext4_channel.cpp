#include "image/ext4_channel.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

namespace forerun::image {
namespace {

// libext2fs opens a channel by its name alone; the part it means is handed over beside it.
thread_local CachedPart* part_to_open = nullptr;

char channel_name[] = "part";

CachedPart& part_of(io_channel channel) { return *static_cast<CachedPart*>(channel->private_data); }

errcode_t close_channel(io_channel channel) {
  if (--channel->refcount == 0) delete channel;
  return 0;
}

errcode_t set_block_size(io_channel channel, int block_size) {
  if (block_size <= 0) return EXT2_ET_INVALID_ARGUMENT;
  channel->block_size = block_size;
  return 0;
}

// A negative count is one of bytes.
errcode_t read_blocks(io_channel channel, unsigned long long block, int count, void* data) {
  CachedPart& part = part_of(channel);
  const uint64_t block_size = static_cast<uint64_t>(channel->block_size);
  const uint64_t size = count < 0 ? static_cast<uint64_t>(-static_cast<int64_t>(count))
                                  : static_cast<uint64_t>(count) * block_size;
  // Past the end, the product could wrap; any offset there is refused alike.
  const uint64_t offset =
      std::min<uint64_t>(block, part.size_bytes() / block_size + 1) * block_size;
  if (Status status = part.read(offset, {static_cast<std::byte*>(data), size}); !status) {
    part.keep_error(std::move(status.error()));
    return EXT2_ET_SHORT_READ;
  }
  return 0;
}

errcode_t read_blocks_32(io_channel channel, unsigned long block, int count, void* data) {
  return read_blocks(channel, block, count, data);
}

errcode_t refuse_write(io_channel, unsigned long, int, const void*) { return EXT2_ET_RO_FILSYS; }
errcode_t refuse_write_64(io_channel, unsigned long long, int, const void*) {
  return EXT2_ET_RO_FILSYS;
}
errcode_t refuse_range(io_channel, unsigned long long, unsigned long long) {
  return EXT2_ET_RO_FILSYS;
}
errcode_t flush_nothing(io_channel) { return 0; }

errcode_t open_channel(const char*, int flags, io_channel* channel);

struct_io_manager make_manager() {
  struct_io_manager manager{};
  manager.magic = EXT2_ET_MAGIC_IO_MANAGER;
  manager.name = "a part of a disk, read-only";
  manager.open = open_channel;
  manager.close = close_channel;
  manager.set_blksize = set_block_size;
  manager.read_blk = read_blocks_32;
  manager.read_blk64 = read_blocks;
  manager.write_blk = refuse_write;
  manager.write_blk64 = refuse_write_64;
  manager.write_byte = refuse_write;
  manager.discard = refuse_range;
  manager.zeroout = refuse_range;
  manager.flush = flush_nothing;
  return manager;
}

io_manager read_only_manager() {
  static struct_io_manager manager = make_manager();
  return &manager;
}

errcode_t open_channel(const char*, int flags, io_channel* channel) {
  if (part_to_open == nullptr) return EXT2_ET_BAD_DEVICE_NAME;
  if (flags & IO_FLAG_RW) return EXT2_ET_RO_FILSYS;
  auto* opened = new struct_io_channel{};
  opened->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  opened->manager = read_only_manager();
  opened->name = channel_name;
  opened->block_size = 1024;
  opened->refcount = 1;
  opened->private_data = part_to_open;
  *channel = opened;
  return 0;
}

}  // namespace

Result<ByteView> CachedPart::run(uint64_t index) {
  ++uses_;
  for (Run& run : runs_) {
    if (run.index != index) continue;
    run.last_used = uses_;
    return ByteView(run.bytes);
  }
  const uint64_t offset = index * kRunSize;
  Run fresh{index, uses_, Buffer(std::min(kRunSize, part_.length - offset))};
  FR_CHECK(disk_.read(part_.offset + offset, fresh.bytes));
  if (runs_.size() < kRunsMax) {
    runs_.push_back(std::move(fresh));
    return ByteView(runs_.back().bytes);
  }
  Run& oldest = *std::ranges::min_element(runs_, {}, &Run::last_used);
  oldest = std::move(fresh);
  return ByteView(oldest.bytes);
}

Status CachedPart::read(uint64_t offset, MutableByteView out) {
  if (!fits({offset, out.size()}, part_.length)) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("the file system asks for {} bytes at {}, outside its {} bytes",
                            out.size(), offset, part_.length));
  }
  // As much as a run holds: it would only push out what is used again.
  if (out.size() >= kRunSize) return disk_.read(part_.offset + offset, out);
  while (!out.empty()) {
    FR_TRY(const ByteView bytes, run(offset / kRunSize));
    const size_t in_run = offset % kRunSize;
    const size_t size = std::min(out.size(), bytes.size() - in_run);
    std::ranges::copy(bytes.subspan(in_run, size), out.begin());
    out = out.subspan(size);
    offset += size;
  }
  return {};
}

long open_file_system(CachedPart& part, int flags, ext2_filsys* file_system) {
  part_to_open = &part;
  const errcode_t code =
      ext2fs_open2(channel_name, nullptr, flags, 0, 0, read_only_manager(), file_system);
  part_to_open = nullptr;
  return code;
}

}  // namespace forerun::image
