#include "daemon/checkpoint_memory.h"

#include <algorithm>

#include "migrate/stream_writer.h"

namespace forerun::daemon {
namespace {

using migrate::kPageBytes;
using repository::kChunkSize;

}  // namespace

Status MemorySpool::on_command(migrate::Command command, ByteView) {
  return fail(ErrorCode::kUnsupported,
              fmt::format("QEMU's stream has command {}, which a checkpoint has no use for",
                          static_cast<int>(command)));
}

Status MemorySpool::on_blocks(const std::vector<migrate::RamBlock>& blocks) {
  blocks_ = blocks;
  uint64_t bytes = 0;
  for (const migrate::RamBlock& block : blocks) {
    begins_.push_back(bytes);
    bytes += block.used_bytes;
  }
  has_data_.resize(bytes / kPageBytes);
  return file_.resize(bytes);
}

Status MemorySpool::on_page(const migrate::PageRecord& page) {
  const uint64_t at = begins_[page.block] + page.offset;
  const bool is_zero = page.data.empty() && page.fill == std::byte{0};
  auto has_data = has_data_[at / kPageBytes];
  if (is_zero && !has_data) return {};
  has_data = !is_zero;
  if (!page.data.empty()) return file_.write(at, page.data);
  return file_.write(at, Buffer(kPageBytes, page.fill));
}

Status MemorySpool::on_memory_end() {
  has_ended_ = true;
  return {};
}

Status MemorySpool::on_bytes(migrate::Piece piece, ByteView bytes) {
  if (piece == migrate::Piece::kPage || piece == migrate::Piece::kFrame) return {};
  Buffer& part = has_ended_ ? tail_ : head_;
  part.insert(part.end(), bytes.begin(), bytes.end());
  return {};
}

Status MemorySpool::store(uint32_t section, CheckpointStore& store, disk::CheckpointIndex& index) {
  index.section = section;
  index.head = head_;
  index.tail = tail_;
  Buffer content;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    disk::CheckpointIndex::Memory memory{blocks_[i].name, blocks_[i].used_bytes, {}};
    for (uint64_t at = 0; at < memory.used_bytes; at += kChunkSize) {
      content.resize(std::min<uint64_t>(kChunkSize, memory.used_bytes - at));
      FR_CHECK(file_.read(begins_[i] + at, content));
      FR_TRY(memory.chunks.emplace_back(), store.put(content, index.stored_bytes));
    }
    index.memory.push_back(std::move(memory));
  }
  return {};
}

Status write_stream(const disk::CheckpointIndex& index, CheckpointStore& store,
                    const std::function<Status(ByteView)>& write) {
  std::vector<migrate::RamBlock> blocks;
  for (const auto& memory : index.memory) blocks.push_back({memory.name, memory.used_bytes});
  FR_CHECK(write(index.head));
  for (uint32_t block = 0; block < blocks.size(); ++block) {
    uint64_t offset = 0;
    for (const repository::ChunkRef& chunk : index.memory[block].chunks) {
      FR_TRY(const Buffer content, store.get(chunk));
      BigEndianWriter out;
      migrate::begin_pages(index.section, out);
      // Zeroes too: the target's own firmware stands in some of these pages.
      for (size_t at = 0; at < content.size(); at += kPageBytes) {
        const ByteView page = ByteView(content).subspan(at, kPageBytes);
        migrate::append_page({block, offset + at, all_zero(page) ? ByteView{} : page}, blocks, out);
      }
      migrate::end_pages(index.section, out);
      FR_CHECK(write(out.take()));
      offset += content.size();
    }
  }
  BigEndianWriter out;
  migrate::write_memory_end(index.section, out);
  FR_CHECK(write(out.take()));
  return write(index.tail);
}

}  // namespace forerun::daemon
