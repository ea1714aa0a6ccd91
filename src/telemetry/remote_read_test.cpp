#include "telemetry/remote_read.h"

#include <gmock/gmock.h>
#include <snappy.h>

#include <bit>
#include <charconv>
#include <cmath>

namespace forerun::telemetry {
namespace {

using testing::HasSubstr;

// A message as protobuf writes it.
struct Message {
  std::string text;
  Message& varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) text.push_back(static_cast<char>(value | 0x80));
    text.push_back(static_cast<char>(value));
    return *this;
  }
  Message& bytes(uint32_t field, const std::string& value) {
    varint(field << 3 | 2).varint(value.size());
    text += value;
    return *this;
  }
  Message& number(uint32_t field, uint64_t value) { return varint(field << 3).varint(value); }
  Message& real(uint32_t field, double value) {
    varint(field << 3 | 1);
    for (uint32_t shift = 0; shift < 64; shift += 8)
      text.push_back(static_cast<char>(std::bit_cast<uint64_t>(value) >> shift));
    return *this;
  }
};

std::string label(const std::string& name, const std::string& value) {
  return Message().bytes(1, name).bytes(2, value).text;
}
std::string sample(double value, int64_t unix_ms) {
  return Message().real(1, value).number(2, static_cast<uint64_t>(unix_ms)).text;
}
std::string answer_of(const std::string& series) {
  return Message().bytes(1, Message().bytes(1, series).text).text;
}
Result<std::vector<RemoteSeries>> decode(const std::string& plain,
                                         const RemoteLimits& limits = {}) {
  std::string packed;
  snappy::Compress(plain.data(), plain.size(), &packed);
  return decode_remote_read(as_bytes(packed), limits);
}
std::string fault(const std::string& plain, const RemoteLimits& limits = {}) {
  const auto read = decode(plain, limits);
  return read ? "none" : read.error().message;
}
std::string queue_series() {
  return Message()
      .bytes(1, label("__name__", "queue"))
      .bytes(1, label("job", "web"))
      .bytes(2, sample(1.5, 1000))
      .bytes(2, sample(-2, 2000))
      .number(9, 7)  // of a later version
      .text;
}

TEST(RemoteRead, AnAnswerIsItsSeries) {
  const auto read = decode(answer_of(queue_series()));
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 1u);
  EXPECT_EQ(read->front().labels.at("job"), "web");
  EXPECT_THAT(read->front().samples,
              testing::ElementsAre(RemoteSample{1000, 1.5}, RemoteSample{2000, -2}));
  EXPECT_EQ(decode("")->size(), 0u);
}

// What Prometheus 2.42 answered to {mode!~"idle|iowait", instance=~"h1(:[0-9]+)?"}.
TEST(RemoteRead, AnAnswerOfPrometheusIsRead) {
  constexpr std::string_view kRecorded =
      "ac01f08b0aa9010aa6010a220a085f5f6e616d655f5f12166e6f64655f6370755f7365636f6e64735f746f74"
      "616c0a080a036370751201300a130a08696e7374616e6365120768313a393130300a0b0a036a6f6212046e6f"
      "64650a0c0a046d6f646512047573657212100900000000000059401080ee90a28c341210090000000000c05c"
      "4010e0c294a28c341210090001122040604010c09798a28c15122420624010a0ec9ba28c34";
  Buffer body;
  for (size_t i = 0; i < kRecorded.size(); i += 2) {
    unsigned byte = 0;
    std::from_chars(kRecorded.data() + i, kRecorded.data() + i + 2, byte, 16);
    body.push_back(static_cast<std::byte>(byte));
  }
  const auto read = decode_remote_read(body, {});
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 1u);
  const std::map<std::string, std::string> labels = {{"__name__", "node_cpu_seconds_total"},
                                                     {"cpu", "0"},
                                                     {"instance", "h1:9100"},
                                                     {"job", "node"},
                                                     {"mode", "user"}};
  EXPECT_EQ(read->front().labels, labels);
  EXPECT_THAT(
      read->front().samples,
      testing::ElementsAre(RemoteSample{1789999200000, 100}, RemoteSample{1789999260000, 115},
                           RemoteSample{1789999320000, 130}, RemoteSample{1789999380000, 145}));
}

TEST(RemoteRead, AQuestionIsPackedAndHasItsMatchers) {
  const Buffer body =
      encode_remote_read({5000, 6000, {{LabelMatcher::Kind::kMatches, "instance", "h1.*"}}});
  std::string plain;
  const std::string_view packed = as_text(body);
  ASSERT_TRUE(snappy::Uncompress(packed.data(), packed.size(), &plain));
  const std::string matcher = Message().number(1, 2).bytes(2, "instance").bytes(3, "h1.*").text;
  const std::string query = Message().number(1, 5000).number(2, 6000).bytes(3, matcher).text;
  EXPECT_EQ(plain, Message().bytes(1, query).number(2, 0).text);
}

TEST(RemoteRead, WhatIsNoAnswerIsRefused) {
  const auto page = decode_remote_read(as_bytes("<html>hello</html>"), {});
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().code, ErrorCode::kCorrupt);
  const std::string whole = answer_of(queue_series());
  size_t refused = 0;
  for (size_t size = 1; size < whole.size(); ++size)
    refused += fault(whole.substr(0, size)) != "none" ? 1 : 0;
  EXPECT_EQ(refused, whole.size() - 1);
  EXPECT_THAT(fault(std::string(12, '\xff')), HasSubstr("cut off"));
  EXPECT_THAT(fault(whole + whole), HasSubstr("more results"));
  const std::string unordered = Message().bytes(2, sample(1, 2000)).bytes(2, sample(1, 1000)).text;
  EXPECT_THAT(fault(answer_of(unordered)), HasSubstr("order of time"));
}

TEST(RemoteRead, EveryLimitHolds) {
  const std::string whole = answer_of(queue_series());
  EXPECT_EQ(fault(whole, {.plain_bytes_max = whole.size()}), "none");
  EXPECT_THAT(fault(whole, {.plain_bytes_max = whole.size() - 1}), HasSubstr("read at most"));
  EXPECT_THAT(fault(whole, {.series_max = 0}), HasSubstr("over 0 series"));
  EXPECT_THAT(fault(whole, {.labels_max = 1}), HasSubstr("over 1 labels"));
  EXPECT_EQ(fault(whole, {.samples_max = 2}), "none");
  EXPECT_THAT(fault(whole, {.samples_max = 1}), HasSubstr("over 1 samples"));
}

// A length that is claimed is not allocated before it is known to be true.
TEST(RemoteRead, AClaimedLengthIsNotBelieved) {
  const std::string packed = Message().varint(100 << 20).text + "x";
  const auto read = decode_remote_read(as_bytes(packed), {});
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("does not unpack"));
}

}  // namespace
}  // namespace forerun::telemetry
