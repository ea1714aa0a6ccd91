#include "migrate/stream_reader.h"

#include <gmock/gmock.h>

#include "migrate/stream_fixture.h"

namespace forerun::migrate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<RamBlock> kBlocks{{"pc.ram", 64 * kPageBytes}, {"pc.bios", 8 * kPageBytes}};

struct Heard final : StreamVisitor {
  Status on_machine(std::string_view name) override {
    machine = name;
    return {};
  }
  Status on_command(Command command, ByteView) override {
    commands.push_back(command);
    return {};
  }
  Status on_blocks(const std::vector<RamBlock>& told) override {
    blocks = told;
    return {};
  }
  Status on_page(const PageRecord& page) override {
    pages.emplace_back(page.block, page.offset / kPageBytes,
                       page.data.empty() ? page.fill : page.data.front());
    return {};
  }
  Status on_discard(uint32_t block, const ByteRange& range) override {
    discarded.emplace_back(block, range);
    return {};
  }
  Status on_memory_end() override {
    has_ended = true;
    return {};
  }
  Status on_bytes(Piece piece, ByteView its) override {
    bytes.insert(bytes.end(), its.begin(), its.end());
    if (piece == Piece::kOpaque) opaque += its.size();
    return {};
  }

  std::string machine;
  std::vector<Command> commands;
  std::vector<RamBlock> blocks;
  std::vector<std::tuple<uint32_t, uint64_t, std::byte>> pages;
  std::vector<std::pair<uint32_t, ByteRange>> discarded;
  bool has_ended = false;
  size_t opaque = 0;
  Buffer bytes;
};

Status read(ByteView stream, Heard& heard, size_t step = 1 << 20) {
  StreamReader reader({}, heard);
  for (size_t at = 0; at < stream.size(); at += step)
    FR_CHECK(reader.feed(stream.subspan(at, std::min(step, stream.size() - at))));
  return reader.finish();
}

Buffer page_of(uint8_t value) { return Buffer(kPageBytes, std::byte{value}); }

// A whole migration by post-copy: a page before the switch, which is then out of date.
Buffer postcopy() {
  const Buffer one = page_of(1), two = page_of(2);
  const Buffer advice = [] {
    BigEndianWriter out;
    out.u64(kPageBytes);
    out.u64(kPageBytes);
    return out.take();
  }();
  StreamBuilder stream(kBlocks);
  stream.head().command(Command::kOpenReturnPath).command(Command::kPing, Buffer(4));
  stream.command(Command::kPostcopyAdvise, advice).start();
  stream.pages(std::vector<PageRecord>{{0, 0, one}, {1, 4 * kPageBytes, {}}});
  stream.discard("pc.ram", {{0, kPageBytes}, {8 * kPageBytes, 56 * kPageBytes}});
  stream.packaged(Buffer(5000, std::byte{7}));
  stream.pages(std::vector<PageRecord>{{0, 0, two}, {0, 63 * kPageBytes, two}});
  return stream.memory_end().end().out.take();
}

TEST(StreamReader, TellsAMigrationByPostCopyByteForByte) {
  const Buffer stream = postcopy();
  for (const size_t step : {size_t{1}, size_t{7}, size_t{4099}, stream.size()}) {
    Heard heard;
    const Status status = read(stream, heard, step);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(heard.machine, "pc-i440fx-7.2");
    EXPECT_EQ(heard.blocks, kBlocks);
    const std::byte none{0}, one{1}, two{2};
    EXPECT_THAT(heard.pages, ElementsAre(std::tuple(0u, 0u, one), std::tuple(1u, 4u, none),
                                         std::tuple(0u, 0u, two), std::tuple(0u, 63u, two)));
    EXPECT_THAT(heard.discarded,
                ElementsAre(std::pair(0u, ByteRange{0, kPageBytes}),
                            std::pair(0u, ByteRange{8 * kPageBytes, 56 * kPageBytes})));
    EXPECT_THAT(heard.commands,
                ElementsAre(Command::kOpenReturnPath, Command::kPing, Command::kPostcopyAdvise,
                            Command::kRamDiscard, Command::kPackaged));
    EXPECT_TRUE(heard.has_ended);
    EXPECT_EQ(heard.opaque, 5000u);
    EXPECT_EQ(heard.bytes, stream);
  }
}

TEST(StreamReader, PassesOnWhatFollowsTheMemoryInPreCopy) {
  StreamBuilder builder(kBlocks);
  builder.head().start().pages(std::vector<PageRecord>{{0, 0, {}}}).memory_end();
  builder.out.u8(static_cast<uint8_t>(ItemType::kSectionFull));
  builder.out.bytes(as_bytes("what a device says is its own matter"));
  const Buffer stream = builder.out.take();
  Heard heard;
  ASSERT_TRUE(read(stream, heard, 11));
  EXPECT_EQ(heard.bytes, stream);
  EXPECT_EQ(heard.opaque, 37u);
}

TEST(StreamReader, ARecordGoesOnInTheBlockOfTheOneBeforeOverSections) {
  StreamBuilder builder(kBlocks);
  builder.head().start().pages(std::vector<PageRecord>{{1, 0, {}}});
  builder.out.u8(static_cast<uint8_t>(ItemType::kSectionPart));
  builder.out.u32(StreamBuilder::kSection);
  builder.out.u64(kPageBytes | kFlagZero | kFlagContinue);
  builder.out.u8(0);
  builder.out.u64(kFlagEnd);
  builder.out.u8(static_cast<uint8_t>(ItemType::kFooter));
  builder.out.u32(StreamBuilder::kSection);
  Heard heard;
  const Buffer stream = builder.memory_end().end().out.take();
  ASSERT_TRUE(read(stream, heard));
  EXPECT_THAT(heard.pages,
              ElementsAre(std::tuple(1u, 0u, std::byte{0}), std::tuple(1u, 1u, std::byte{0})));
}

TEST(StreamReader, AResumedStreamHasNoHead) {
  StreamBuilder builder(kBlocks);
  builder.command(Command::kPostcopyResume).pages(std::vector<PageRecord>{{0, 0, {}}});
  const Buffer stream = builder.memory_end().end().out.take();
  Heard heard;
  StreamReader reader({}, heard, kBlocks, StreamBuilder::kSection);
  ASSERT_TRUE(reader.feed(stream));
  ASSERT_TRUE(reader.finish());
  EXPECT_EQ(heard.pages.size(), 1u);
}

TEST(StreamReader, AStreamThatIsCutEndsBeforeItsEnd) {
  const Buffer stream = postcopy();
  for (size_t length = 0; length < stream.size(); length += 97) {
    Heard heard;
    const Status status = read(ByteView(stream).first(length), heard);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
  }
}

struct Refusal {
  const char* name;
  ErrorCode code;
  const char* says;
  std::function<void(StreamBuilder&)> write;
};

class Refused : public testing::TestWithParam<Refusal> {};

TEST_P(Refused, WithWhatAndWhere) {
  StreamBuilder builder(kBlocks);
  GetParam().write(builder);
  Heard heard;
  const Status status = read(builder.out.view(), heard);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, GetParam().code) << status.error().message;
  EXPECT_THAT(status.error().message, HasSubstr(GetParam().says));
  EXPECT_THAT(status.error().message, HasSubstr("migration stream, byte "));
}

void page_with(StreamBuilder& stream, uint64_t head, std::string_view block = "pc.ram") {
  stream.head().start();
  stream.out.u8(static_cast<uint8_t>(ItemType::kSectionPart));
  stream.out.u32(StreamBuilder::kSection);
  stream.out.u64(head);
  if ((head & kFlagContinue) == 0) stream.text(block);
  stream.out.bytes(Buffer(kPageBytes));
}

Buffer advice_of(uint64_t page_bytes) {
  BigEndianWriter out;
  out.u64(page_bytes);
  out.u64(kPageBytes);
  return out.take();
}

const std::vector<Refusal> kOfItems{
    Refusal{"Magic", ErrorCode::kCorrupt, "no stream of QEMU's",
            [](auto& stream) { stream.out.bytes(as_bytes(std::string_view("QEVN\0\0\0\3", 8))); }},
    Refusal{"Version", ErrorCode::kUnsupported, "version 4",
            [](auto& stream) {
              stream.out.u32(kStreamMagic);
              stream.out.u32(4);
            }},
    Refusal{"MachineWithoutName", ErrorCode::kCorrupt, "name of 0 bytes",
            [](auto& stream) { stream.head(""); }},
    Refusal{"Subsection", ErrorCode::kUnsupported, "more than its name",
            [](auto& stream) { stream.head().out.u8(5); }},
    Refusal{"Item", ErrorCode::kCorrupt, "type 0x42",
            [](auto& stream) { stream.head().out.u8(0x42); }},
    Refusal{"Command", ErrorCode::kUnsupported, "command 11",
            [](auto& stream) { stream.head().command(static_cast<Command>(11)); }},
    Refusal{"CommandsLength", ErrorCode::kCorrupt, "command 2 has 3 bytes",
            [](auto& stream) { stream.head().command(Command::kPing, Buffer(3)); }},
    Refusal{
        "HugePages", ErrorCode::kUnsupported, "0x200000",
        [](auto& stream) { stream.head().command(Command::kPostcopyAdvise, advice_of(2 << 20)); }},
    Refusal{"Package", ErrorCode::kTooLarge, "a package of 4294967295 bytes", [](auto& stream) {
              stream.head().command(Command::kPackaged, Buffer(4, std::byte{255}));
            }}};

const std::vector<Refusal> kOfSections{
    Refusal{"RamVersion", ErrorCode::kUnsupported, "version 5",
            [](auto& stream) { stream.head().start(5); }},
    Refusal{"TwoStarts", ErrorCode::kCorrupt, "begins twice",
            [](auto& stream) { stream.head().start().start(); }},
    Refusal{"PagesBeforeBlocks", ErrorCode::kCorrupt, "did not begin",
            [](auto& stream) { stream.head().memory_end(); }},
    Refusal{"DeviceAmidMemory", ErrorCode::kCorrupt, "amid the memory",
            [](auto& stream) { stream.head().start().out.u8(4); }},
    Refusal{"EndAmidMemory", ErrorCode::kCorrupt, "end amid",
            [](auto& stream) { stream.head().start().end(); }},
    Refusal{"AfterTheEnd", ErrorCode::kCorrupt, "goes on after its end",
            [](auto& stream) { stream.head().start().memory_end().memory_end(); }},
    Refusal{"BytesBehind", ErrorCode::kCorrupt, "bytes follow", [](auto& stream) {
              stream.head().start().packaged(Buffer(1)).memory_end().end().end();
            }}};

const std::vector<Refusal> kOfPages{

    Refusal{"PageBehindItsBlock", ErrorCode::kCorrupt, "outside of pc.ram",
            [](auto& stream) { page_with(stream, 64 * kPageBytes | kFlagPage); }},
    Refusal{"PageFarAway", ErrorCode::kCorrupt, "outside of pc.ram",
            [](auto& stream) { page_with(stream, ~kFlagsMask | kFlagPage); }},
    Refusal{"UnknownBlock", ErrorCode::kCorrupt, "'vga.vram'",
            [](auto& stream) { page_with(stream, kFlagPage, "vga.vram"); }},
    Refusal{"FirstContinues", ErrorCode::kCorrupt, "of the one before",
            [](auto& stream) { page_with(stream, kFlagPage | kFlagContinue); }},
    Refusal{"Compressed", ErrorCode::kUnsupported, "flags 0x100",
            [](auto& stream) { page_with(stream, kFlagCompressed); }},
    Refusal{"PageAndZero", ErrorCode::kCorrupt, "flags 0xa",
            [](auto& stream) { page_with(stream, kFlagPage | kFlagZero); }},
    Refusal{"DiscardBehindItsBlock", ErrorCode::kCorrupt, "to discard at 0x8000",
            [](auto& stream) { stream.head().start().discard("pc.bios", {{0x8000, 4096}}); }},
    Refusal{"DiscardMisaligned", ErrorCode::kCorrupt, "to discard at 0x10",
            [](auto& stream) { stream.head().start().discard("pc.bios", {{0x10, 4096}}); }},
    Refusal{"DiscardOfUnknown", ErrorCode::kCorrupt, "block 'x'",
            [](auto& stream) { stream.head().start().discard("x", {}); }}};

INSTANTIATE_TEST_SUITE_P(Items, Refused, testing::ValuesIn(kOfItems),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(Sections, Refused, testing::ValuesIn(kOfSections),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(Pages, Refused, testing::ValuesIn(kOfPages),
                         [](const auto& test) { return test.param.name; });

TEST(StreamReader, RefusesBlocksThatCannotBe) {
  const auto refused = [](std::vector<RamBlock> blocks) {
    StreamBuilder builder(std::move(blocks));
    Heard heard;
    const Status status = read(builder.head().start().out.view(), heard);
    return status ? std::string() : status.error().message;
  };
  EXPECT_THAT(refused({{"a", kPageBytes}, {"a", kPageBytes}}), HasSubstr("there twice"));
  EXPECT_THAT(refused({{"", kPageBytes}}), HasSubstr("no name"));
  EXPECT_THAT(refused({{"a", kPageBytes}, {"b", 0}, {"c", kPageBytes}}),
              HasSubstr("block b has 0x0"));
  EXPECT_THAT(refused({{"a", kRamBytesMax}, {"b", kPageBytes}}), HasSubstr("bytes of memory"));
  std::vector<RamBlock> many;
  for (size_t i = 0; i <= kRamBlocksMax; ++i) many.push_back({fmt::format("b{}", i), kPageBytes});
  EXPECT_THAT(refused(many), HasSubstr("more than 1024 blocks"));
}

}  // namespace
}  // namespace forerun::migrate
