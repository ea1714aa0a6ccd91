#include "migrate/stand_in_target.h"

#include <gmock/gmock.h>

#include "migrate/return_path.h"
#include "migrate/stream_fixture.h"

namespace forerun::migrate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<RamBlock> kBlocks{{"pc.ram", 100 * kPageBytes}, {"pc.bios", 8 * kPageBytes}};

// What the source's QEMU would hear.
struct Heard final : ReturnPathVisitor {
  Status on_shut(uint32_t status) override {
    shut = status;
    return {};
  }
  Status on_pong(uint32_t value) override {
    pongs.push_back(value);
    return {};
  }
  Status on_received(uint32_t block, ByteView bitmap) override {
    uint64_t bits = 0;
    for (const std::byte byte : bitmap)
      bits += static_cast<uint64_t>(__builtin_popcount(static_cast<unsigned>(byte)));
    received.emplace_back(block, bits);
    return {};
  }
  Status on_resumed() override {
    is_resumed = true;
    return {};
  }
  std::optional<uint32_t> shut;
  std::vector<uint32_t> pongs;
  std::vector<std::pair<uint32_t, uint64_t>> received;  // block, pages
  bool is_resumed = false;
};

Heard hear(ByteView answer) {
  Heard heard;
  ReturnPathReader reader(heard);
  reader.set_blocks(kBlocks);
  EXPECT_TRUE(reader.feed(answer));
  return heard;
}

Buffer asked_of(std::string_view block) {
  BigEndianWriter name;
  name.u8(static_cast<uint8_t>(block.size()));
  name.bytes(as_bytes(block));
  StreamBuilder stream(kBlocks);
  stream.command(Command::kReceivedBitmap, name.view());
  return stream.out.take();
}

Buffer resumed() {
  StreamBuilder stream(kBlocks);
  stream.command(Command::kPostcopyResume);
  return stream.out.take();
}

Buffer rest() {
  StreamBuilder stream(kBlocks);
  stream.memory_end().end();
  return stream.out.take();
}

TEST(StreamTail, KnowsTheEndHoweverItIsCut) {
  const Buffer bytes = rest();
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    StreamTail tail;
    tail.feed(ByteView(bytes).first(cut));
    EXPECT_FALSE(tail.is_end()) << cut;
    tail.feed(ByteView(bytes).subspan(cut));
    EXPECT_TRUE(tail.is_end()) << cut;
  }
}

TEST(StreamTail, TheEndOfASectionIsNoEnd) {
  StreamBuilder stream(kBlocks);
  stream.pages(std::vector<PageRecord>{{.block = 0, .offset = 0}});
  StreamTail tail;
  tail.feed(stream.out.view());
  EXPECT_FALSE(tail.is_end());
  stream.memory_end();
  tail.feed(stream.out.view());
  EXPECT_FALSE(tail.is_end());
}

TEST(StandInTarget, SaysThatItHasEveryPageOfEachBlock) {
  StandInTarget target(kBlocks);
  Buffer answer;
  ASSERT_TRUE(target.feed(asked_of("pc.bios"), answer));
  ASSERT_TRUE(target.feed(asked_of("pc.ram"), answer));
  const Heard heard = hear(answer);
  EXPECT_THAT(heard.received, ElementsAre(std::pair(1U, 8U), std::pair(0U, 100U)));
  EXPECT_FALSE(heard.is_resumed);
  EXPECT_FALSE(target.is_at_end());
}

TEST(StandInTarget, IsAtTheEndOnceResumedAndNothingIsLeft) {
  Buffer stream = asked_of("pc.ram");
  for (const Buffer& more : {resumed(), rest()})
    stream.insert(stream.end(), more.begin(), more.end());
  StandInTarget target(kBlocks);
  Buffer answer;
  for (size_t at = 0; at < stream.size(); ++at) {
    EXPECT_FALSE(target.is_at_end());
    ASSERT_TRUE(target.feed(ByteView(stream).subspan(at, 1), answer));
  }
  EXPECT_TRUE(target.is_at_end());
  write_all_arrived(answer);
  const Heard heard = hear(answer);
  EXPECT_TRUE(heard.is_resumed);
  EXPECT_EQ(heard.shut, 0U);
}

TEST(StandInTarget, AnswersPings) {
  BigEndianWriter value;
  value.u32(7);
  StreamBuilder stream(kBlocks);
  stream.command(Command::kPing, value.view());
  StandInTarget target(kBlocks);
  Buffer answer;
  ASSERT_TRUE(target.feed(stream.out.view(), answer));
  EXPECT_THAT(hear(answer).pongs, ElementsAre(7U));
}

TEST(StandInTarget, RefusesABlockThatThereIsNot) {
  StandInTarget target(kBlocks);
  Buffer answer;
  const auto fed = target.feed(asked_of("vga.vram"), answer);
  ASSERT_FALSE(fed);
  EXPECT_THAT(fed.error().message, HasSubstr("'vga.vram'"));
}

TEST(StandInTarget, RefusesAStreamThatIsNotResumed) {
  StandInTarget target(kBlocks);
  Buffer answer;
  EXPECT_EQ(target.feed(StreamBuilder(kBlocks).head().out.view(), answer).error().code,
            ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace forerun::migrate
