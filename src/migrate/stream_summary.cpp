#include "migrate/stream_summary.h"

namespace forerun::migrate {

Status StreamSummary::on_machine(std::string_view name) {
  machine_ = name;
  return {};
}

Status StreamSummary::on_command(Command command, ByteView) {
  if (command == Command::kPackaged) is_postcopy_ = true;
  return {};
}

Status StreamSummary::on_blocks(const std::vector<RamBlock>& blocks) {
  uint64_t left = kSummaryRamBytesMax;
  for (const RamBlock& block : blocks) {
    if (block.used_bytes > left)
      return fail(ErrorCode::kTooLarge,
                  fmt::format("more than {:#x} bytes of memory", kSummaryRamBytesMax));
    left -= block.used_bytes;
    const auto pages = static_cast<size_t>(block.used_bytes / kPageBytes);
    blocks_.push_back({.block = block});
    pages_.push_back({std::vector<bool>(pages), std::vector<bool>(pages)});
  }
  return {};
}

Status StreamSummary::on_page(const PageRecord& page) {
  BlockSummary& its = blocks_[page.block];
  const size_t number = page.offset / kPageBytes;
  ++(page.data.empty() ? its.zero_pages : its.pages);
  if (pages_[page.block].ever[number]) ++its.again;
  pages_[page.block].ever[number] = true;
  if (is_postcopy_) return {};
  if (rounds_ == 0 || pages_[page.block].in_round[number]) {
    ++rounds_;
    for (Pages& pages : pages_) pages.in_round.assign(pages.in_round.size(), false);
  }
  pages_[page.block].in_round[number] = true;
  return {};
}

Status StreamSummary::on_discard(uint32_t block, const ByteRange& range) {
  blocks_[block].discarded += range.length / kPageBytes;
  return {};
}

Status StreamSummary::on_bytes(Piece piece, ByteView bytes) {
  if (piece == Piece::kOpaque) device_bytes_ += bytes.size();
  bytes_ += bytes.size();
  return {};
}

}  // namespace forerun::migrate
