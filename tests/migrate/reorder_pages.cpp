// reorder_pages < STREAM > STREAM: holds back every page of a migration and sends the last of each
// in reverse order, in sections of its own, before the memory's end. All else is passed on
// untouched.
#include <cstdio>

#include "migrate/stream_reader.h"
#include "migrate/stream_writer.h"

namespace forerun::migrate {
namespace {

class Reordering final : public StreamVisitor {
 public:
  Status on_blocks(const std::vector<RamBlock>& blocks) override {
    blocks_ = blocks;
    return {};
  }
  Status on_page(const PageRecord& page) override {
    pages_[{page.block, page.offset}] = {{page.data.begin(), page.data.end()}, page.fill};
    return {};
  }
  Status on_memory_end() override {
    for (auto page = pages_.rbegin(); page != pages_.rend(); ++page) {
      const PageRecord record{page->first.first, page->first.second, page->second.data,
                              page->second.fill};
      BigEndianWriter out;
      write_pages({&record, 1}, blocks_, kSection, out);
      write(out.view());
    }
    BigEndianWriter end;
    write_memory_end(kSection, end);
    write(end.view());
    return {};
  }
  Status on_bytes(Piece piece, ByteView bytes) override {
    if (piece != Piece::kPage && piece != Piece::kFrame) write(bytes);
    return {};
  }

 private:
  struct Held {
    Buffer data;
    std::byte fill{0};
  };
  static constexpr uint32_t kSection = 2;  // as the memory's is in QEMU 7.2

  static void write(ByteView bytes) { std::fwrite(bytes.data(), 1, bytes.size(), stdout); }

  std::vector<RamBlock> blocks_;
  std::map<std::pair<uint32_t, uint64_t>, Held> pages_;
};

Status run() {
  Reordering pages;
  StreamReader reader({}, pages);
  Buffer bytes(100'000);
  while (const size_t count = std::fread(bytes.data(), 1, bytes.size(), stdin))
    FR_CHECK(reader.feed(ByteView(bytes).first(count)));
  return reader.finish();
}

}  // namespace
}  // namespace forerun::migrate

int main() {
  const auto done = forerun::migrate::run();
  if (!done) fmt::print(stderr, "reorder_pages: {}\n", done.error().message);
  return done ? 0 : 1;
}
