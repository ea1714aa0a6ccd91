#include "migrate/return_path.h"

#include <gmock/gmock.h>

namespace forerun::migrate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<RamBlock> kBlocks{{"pc.ram", 100 * kPageBytes}, {"pc.bios", 8 * kPageBytes}};

struct Heard final : ReturnPathVisitor {
  Status on_shut(uint32_t status) override {
    shut = status;
    return {};
  }
  Status on_pong(uint32_t value) override {
    pongs.push_back(value);
    return {};
  }
  Status on_request(const PageRequest& request) override {
    requests.push_back(request);
    return {};
  }
  Status on_received(uint32_t block, ByteView bitmap) override {
    received.emplace_back(block, Buffer(bitmap.begin(), bitmap.end()));
    return {};
  }
  Status on_resumed() override {
    is_resumed = true;
    return {};
  }
  Status on_bytes(ReturnMessage, ByteView its) override {
    bytes.insert(bytes.end(), its.begin(), its.end());
    return {};
  }

  std::optional<uint32_t> shut;
  std::vector<uint32_t> pongs;
  std::vector<PageRequest> requests;
  std::vector<std::pair<uint32_t, Buffer>> received;
  bool is_resumed = false;
  Buffer bytes;
};

void message(BigEndianWriter& out, ReturnMessage type, ByteView data) {
  out.u16(static_cast<uint16_t>(type));
  out.u16(static_cast<uint16_t>(data.size()));
  out.bytes(data);
}

void word(BigEndianWriter& out, ReturnMessage type, uint32_t value) {
  BigEndianWriter data;
  data.u32(value);
  message(out, type, data.view());
}

void request_of_same_block(BigEndianWriter& out, uint64_t start, uint32_t length) {
  BigEndianWriter data;
  data.u64(start);
  data.u32(length);
  message(out, ReturnMessage::kRequestPages, data.view());
}

void bitmap(BigEndianWriter& out, std::string_view name, ByteView bits, uint64_t end = kBitmapEnd) {
  BigEndianWriter data;
  data.u8(static_cast<uint8_t>(name.size()));
  data.bytes(as_bytes(name));
  message(out, ReturnMessage::kReceivedBitmap, data.view());
  out.u64(bits.size());
  out.bytes(bits);
  out.u64(end);
}

Status read(ByteView stream, Heard& heard, size_t step = 1 << 20) {
  ReturnPathReader reader(heard);
  reader.set_blocks(kBlocks);
  for (size_t at = 0; at < stream.size(); at += step)
    FR_CHECK(reader.feed(stream.subspan(at, std::min(step, stream.size() - at))));
  return {};
}

TEST(ReturnPath, TellsAllMessagesByteForByte) {
  BigEndianWriter out;
  word(out, ReturnMessage::kPong, 2);
  encode({1, {2 * kPageBytes, kPageBytes}}, kBlocks, out);
  request_of_same_block(out, 5 * kPageBytes, 3 * kPageBytes);
  encode({0, {0, 100 * kPageBytes}}, kBlocks, out);
  const Buffer bits(16, std::byte{0x5a});  // 100 pages, rounded up to 8 bytes
  bitmap(out, "pc.ram", bits);
  word(out, ReturnMessage::kResumeAcknowledged, 1);
  word(out, ReturnMessage::kShut, 0);
  for (const size_t step : {size_t{1}, size_t{5}, size_t{1000}}) {
    Heard heard;
    const Status status = read(out.view(), heard, step);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_THAT(heard.pongs, ElementsAre(2));
    EXPECT_THAT(heard.requests, ElementsAre(PageRequest{1, {2 * kPageBytes, kPageBytes}},
                                            PageRequest{1, {5 * kPageBytes, 3 * kPageBytes}},
                                            PageRequest{0, {0, 100 * kPageBytes}}));
    EXPECT_THAT(heard.received, ElementsAre(std::pair(0u, bits)));
    EXPECT_TRUE(heard.is_resumed);
    EXPECT_EQ(heard.shut, 0u);
    EXPECT_TRUE(std::ranges::equal(heard.bytes, out.view()));
  }
}

TEST(ReturnPath, RefusesWhatTheSourceWouldPauseAt) {
  const auto refused = [](const std::function<void(BigEndianWriter&)>& write) {
    BigEndianWriter out;
    write(out);
    Heard heard;
    const Status status = read(out.view(), heard);
    return status ? std::string() : status.error().message;
  };
  const auto asks = [](PageRequest request) {
    return [request](BigEndianWriter& out) { encode(request, kBlocks, out); };
  };
  EXPECT_THAT(refused(asks({0, {0x800, kPageBytes}})), HasSubstr("at 0x800"));
  EXPECT_THAT(refused(asks({0, {0, 100}})), HasSubstr("0x64 bytes"));
  EXPECT_THAT(refused(asks({0, {0, 0}})), HasSubstr("0x0 bytes"));
  EXPECT_THAT(refused(asks({1, {7 * kPageBytes, 2 * kPageBytes}})), HasSubstr("of block pc.bios"));
  EXPECT_THAT(refused(asks({1, {~uint64_t{0} - 0xfff, kPageBytes}})),
              HasSubstr("of block pc.bios"));
  EXPECT_THAT(refused([](auto& out) { request_of_same_block(out, 0, kPageBytes); }),
              HasSubstr("does not say of which block"));
  EXPECT_THAT(refused([](auto& out) { message(out, ReturnMessage::kRequestPages, Buffer(11)); }),
              HasSubstr("malformed"));
  EXPECT_THAT(refused([](auto& out) { message(out, static_cast<ReturnMessage>(7), {}); }),
              HasSubstr("message 7"));
  EXPECT_THAT(refused([](auto& out) { message(out, ReturnMessage::kPong, Buffer(5)); }),
              HasSubstr("has 5 bytes"));
  EXPECT_THAT(refused([](auto& out) { bitmap(out, "pc.ram", Buffer(24)); }),
              HasSubstr("24 bytes for block pc.ram, which needs 16"));
  EXPECT_THAT(refused([](auto& out) { bitmap(out, "pc.ram", Buffer(16), 1); }),
              HasSubstr("does not end"));
  EXPECT_THAT(refused([](auto& out) { bitmap(out, "nobody", Buffer(16)); }), HasSubstr("'nobody'"));
}

}  // namespace
}  // namespace forerun::migrate
