// Fuzzes what comes from the other side of a migration: the forward stream and the return path.
#include <fuzzer/FuzzedDataProvider.h>

#include "migrate/return_path.h"
#include "migrate/stream_reader.h"
#include "migrate/stream_writer.h"

using namespace forerun;
using namespace forerun::migrate;

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

const std::vector<RamBlock> kBlocks{{"pc.ram", 64 * kPageBytes}, {"a", 3 * kPageBytes}};
constexpr uint32_t kSection = 2;

struct Page {
  uint32_t block = 0;
  uint64_t offset = 0;
  Buffer data;
  std::byte fill{0};
  bool operator==(const Page&) const = default;
};

struct Heard final : StreamVisitor, ReturnPathVisitor {
  Status on_blocks(const std::vector<RamBlock>& told) override {
    blocks = told;
    require(!blocks.empty() || told.empty());
    return {};
  }
  Status on_page(const PageRecord& page) override {
    require(page.block < blocks.size());
    require(page.offset % kPageBytes == 0);
    require(fits({page.offset, kPageBytes}, blocks[page.block].used_bytes));
    require(page.data.empty() || page.data.size() == kPageBytes);
    pages.push_back({page.block, page.offset, {page.data.begin(), page.data.end()}, page.fill});
    return {};
  }
  Status on_discard(uint32_t block, const ByteRange& range) override {
    require(fits(range, blocks.at(block).used_bytes));
    return {};
  }
  Status on_bytes(Piece, ByteView its) override {
    bytes.insert(bytes.end(), its.begin(), its.end());
    return {};
  }
  Status on_request(const PageRequest& request) override {
    require(fits(request.range, blocks.at(request.block).used_bytes));
    requests.push_back(request);
    return {};
  }
  Status on_received(uint32_t block, ByteView bitmap) override {
    require(bitmap.size() * 8 * kPageBytes >= blocks.at(block).used_bytes);
    return {};
  }
  Status on_bytes(ReturnMessage, ByteView its) override {
    bytes.insert(bytes.end(), its.begin(), its.end());
    return {};
  }

  std::vector<RamBlock> blocks = kBlocks;
  std::vector<Page> pages;
  std::vector<PageRequest> requests;
  Buffer bytes;
};

template <typename Reader>
bool feed(Reader& reader, ByteView data, size_t step) {
  for (size_t at = 0; at < data.size(); at += step) {
    if (!reader.feed(data.subspan(at, std::min(step, data.size() - at)))) return false;
  }
  return true;
}

bool is_begin_of(const Buffer& bytes, ByteView data) {
  return bytes.size() <= data.size() && std::equal(bytes.begin(), bytes.end(), data.begin());
}

Heard read_stream(ByteView data, bool is_resumed, size_t step) {
  Heard heard;
  StreamReader reader =
      is_resumed ? StreamReader({}, heard, kBlocks, kSection) : StreamReader({}, heard);
  feed(reader, data, step);
  require(is_begin_of(heard.bytes, data));
  require(heard.bytes.size() == reader.position());
  return heard;
}

void write_again(const Heard& heard) {
  std::vector<PageRecord> records;
  for (const Page& page : heard.pages)
    records.push_back({page.block, page.offset, page.data, page.fill});
  BigEndianWriter out;
  write_pages(records, heard.blocks, kSection, out);
  write_memory_end(kSection, out);
  Heard again;
  again.blocks = heard.blocks;
  StreamReader reader({}, again, heard.blocks, kSection);
  require(feed(reader, out.view(), out.view().size()));
  require(again.pages == heard.pages);
}

void read_return_path(ByteView data, size_t step) {
  Heard heard;
  ReturnPathReader reader(heard);
  reader.set_blocks(kBlocks);
  feed(reader, data, step);
  require(is_begin_of(heard.bytes, data));
  BigEndianWriter out;
  for (const PageRequest& request : heard.requests) encode(request, kBlocks, out);
  Heard again;
  ReturnPathReader rereader(again);
  rereader.set_blocks(kBlocks);
  require(feed(rereader, out.view(), 1 << 16));
  require(again.requests == heard.requests);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 2) return 0;
  const size_t step = bytes[1] == 0 ? size : bytes[1];
  const ByteView data(reinterpret_cast<const std::byte*>(bytes) + 2, size - 2);
  if (bytes[0] % 3 == 2) {
    read_return_path(data, step);
    return 0;
  }
  const bool is_resumed = bytes[0] % 3 == 1;
  const Heard heard = read_stream(data, is_resumed, step);
  const Heard otherwise = read_stream(data, is_resumed, 3 * step + 1);
  require(heard.pages == otherwise.pages && heard.bytes == otherwise.bytes);
  write_again(heard);
  return 0;
}
