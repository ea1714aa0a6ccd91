#include "trace/launch_trace.h"

#include <gmock/gmock.h>

#include "trace/text_file.h"

namespace forerun::trace {
namespace {

using ::testing::HasSubstr;

// Returns all bins, or the first error.
Result<std::vector<LaunchBin>> read_all(const std::string& text, LaunchNames& names,
                                        LaunchTraceReader::Limits limits = {}) {
  TextFile file(text);
  LaunchTraceReader reader(file, "trace", names, limits);
  std::vector<LaunchBin> bins;
  for (LaunchBin bin;;) {
    FR_TRY(const bool more, reader.next(bin));
    if (!more) return bins;
    bins.push_back(bin);
  }
}

std::string error_of(const std::string& text, LaunchTraceReader::Limits limits = {}) {
  LaunchNames names;
  const auto bins = read_all(text, names, limits);
  return bins ? "no error" : bins.error().message;
}

std::string long_trace(int bins) {
  std::string text;
  for (int i = 1; i <= bins; ++i) text += fmt::format("{} b,b,g,|,m{},|\n", 300 * i, i % 7);
  return text;
}

TEST(LaunchTrace, ReadsBatchesOfABin) {
  LaunchNames names;
  const auto bins = read_all("300 b,g,b,|,g,|\n600 b,|\n", names);
  ASSERT_TRUE(bins) << bins.error().message;
  ASSERT_EQ(bins->size(), 2U);
  EXPECT_EQ((*bins)[0].second, 300U);
  ASSERT_EQ((*bins)[0].batches.size(), 2U);
  EXPECT_EQ((*bins)[0].batches[0], (LaunchBatch{{{0, 2}, {1, 1}}, {}, "", ""}));
  EXPECT_EQ((*bins)[0].batches[1], (LaunchBatch{{{1, 1}}, {}, "", ""}));
  EXPECT_EQ((*bins)[1].batches.size(), 1U);
  EXPECT_EQ(names.name_of(0), "b");
  EXPECT_EQ(names.name_of(1), "g");
}

TEST(LaunchTrace, ReadsBinsWithoutLaunchesAndALastLineWithoutItsEnd) {
  LaunchNames names;
  const auto bins = read_all("0\n300 \n600 C46,|", names);
  ASSERT_TRUE(bins) << bins.error().message;
  ASSERT_EQ(bins->size(), 3U);
  EXPECT_TRUE((*bins)[0].batches.empty());
  EXPECT_TRUE((*bins)[1].batches.empty());
  EXPECT_EQ((*bins)[2].batches.size(), 1U);
}

TEST(LaunchTrace, AnEmptyFileHasNoBins) {
  LaunchNames names;
  const auto bins = read_all("", names);
  ASSERT_TRUE(bins);
  EXPECT_TRUE(bins->empty());
}

TEST(LaunchTrace, ReadsTheSameCompressedInOneFrameOrTwo) {
  const std::string text = long_trace(20000);  // several pieces of text, within one piece of zstd
  LaunchNames plain_names, one_names, two_names;
  const auto plain = read_all(text, plain_names);
  const auto one = read_all(compressed(text), one_names);
  const auto two =
      read_all(compressed(text.substr(0, 777)) + compressed(text.substr(777)), two_names);
  ASSERT_TRUE(plain) << plain.error().message;
  ASSERT_TRUE(one) << one.error().message;
  ASSERT_TRUE(two) << two.error().message;
  ASSERT_EQ(plain->size(), 20000U);
  ASSERT_EQ(one->size(), plain->size());
  ASSERT_EQ(two->size(), plain->size());
  EXPECT_EQ(one->back().batches, plain->back().batches);
  EXPECT_EQ(two->back().batches, plain->back().batches);
  EXPECT_EQ(one_names.size(), 9U);
}

TEST(LaunchTrace, RefusesMalformedLinesWithTheirNumber) {
  const std::pair<const char*, const char*> cases[] = {
      {"x", "line 1: expected seconds"},
      {" 300 b,|", "line 1: expected seconds"},
      {"-300 b,|", "line 1: expected seconds"},
      {"300\tb,|", "line 1: expected seconds"},
      {"300b,|", "line 1: expected seconds"},
      {"\n300 b,|", "line 1: expected seconds"},
      {"99999999999999999999999 b,|", "line 1: expected seconds"},
      {"2000000000000 b,|", "is over"},
      {"300 b,|\n200 b,|", "line 2: second 200 does not come after 300"},
      {"300 b", "not ended by '|'"},
      {"300 b,|,g", "not ended by '|'"},
      {"300 |", "a batch without launches"},
      {"300 b,|,|", "a batch without launches"},
      {"300 b,|,", "a name is empty"},
      {"300 b,,|", "a name is empty"},
      {"300 @h,|", "a batch without launches"},
      {"300 b,@h", "not ended by '|'"},
      {"300 b,@h,@i,|", "a batch names two hosts"},
      {"300 b,%x,%y,|", "a batch names two tenants"},
      {"300 b,%,|", "a name is empty"},
      {"300 b,@,|", "a name is empty"},
      {"300 ~,|", "a name is empty"},
      {"300 ~~b,|", "a name is empty or holds"},
      {"300 b, g,|", "a name is empty or holds"},
      {"300 b\r,|", "a name is empty or holds"},
      {"300 b,|\r\n", "a name is empty or holds"},
      {"300 \xc3\xa9,|", "a name is empty or holds"},
      {"300 ../x,|", "a name is empty or holds"},
  };
  for (const auto& [text, message] : cases) EXPECT_THAT(error_of(text), HasSubstr(message)) << text;
  EXPECT_THAT(error_of(std::string("300 b\0,|", 8)), HasSubstr("a name is empty or holds"));
}

TEST(LaunchTrace, ReadsHostsStopsAndLinesOfOneSecond) {
  LaunchNames names;
  const auto bins = read_all("300 b,%red,@node-1,|,~g,~g,b,|\n300 ~b,@node-2,|\n", names);
  ASSERT_TRUE(bins) << bins.error().message;
  ASSERT_EQ(bins->size(), 2U);
  EXPECT_EQ((*bins)[0].batches[0], (LaunchBatch{{{0, 1}}, {}, "node-1", "red"}));
  EXPECT_EQ((*bins)[0].batches[1], (LaunchBatch{{{0, 1}}, {{1, 2}}, "", ""}));
  EXPECT_EQ((*bins)[1], (LaunchBin{300, {LaunchBatch{{}, {{0, 1}}, "node-2", ""}}}));
}

TEST(LaunchTrace, ReadsWhatItWrites) {
  LaunchNames names;
  const LaunchBin bin{
      1790000000,
      {LaunchBatch{{{names.number_of("b"), 2}, {names.number_of("g"), 1}}, {}, "h", "t"},
       LaunchBatch{{}, {{0, 1}}, "", ""}}};
  const LaunchBin quiet{1790000060, {}};
  const auto bins = read_all(launch_line(bin, names) + launch_line(quiet, names), names);
  ASSERT_TRUE(bins) << bins.error().message;
  EXPECT_THAT(*bins, ::testing::ElementsAre(bin, quiet));
}

TEST(LaunchTrace, GoesOnAfterAWrongLineButNotAfterABrokenFile) {
  TextFile file("300 b,|\nrubbish\n200 b,|\n400 b\n500 g,|\n" + std::string(5000, '6'));
  LaunchNames names;
  LaunchTraceReader reader(file, "trace", names, {.line_bytes_max = 100});
  std::vector<uint64_t> seconds;
  std::vector<std::string> errors;
  for (LaunchBin bin;;) {
    const auto more = reader.next(bin);
    if (more && !*more) break;
    if (more) seconds.push_back(bin.second);
    if (!more) errors.push_back(more.error().message);
    if (!more && !reader.can_go_on()) break;
  }
  EXPECT_THAT(seconds, ::testing::ElementsAre(300U, 500U));
  EXPECT_THAT(errors, ::testing::ElementsAre(HasSubstr("line 2: expected"), HasSubstr("line 3:"),
                                             HasSubstr("line 4: the last"), HasSubstr("line 6:")));
}

TEST(LaunchTrace, RefusesWhatIsOverItsLimits) {
  EXPECT_THAT(error_of("300 " + std::string(65, 'a') + ",|"), HasSubstr("longer than 64 bytes"));
  EXPECT_THAT(error_of("300 a,|,b,|,c,|", {.names_max = 2}), HasSubstr("more than 2 different"));
  EXPECT_THAT(error_of("300 a,a,a,|\n", {.line_bytes_max = 10}), HasSubstr("longer than 10 bytes"));
  EXPECT_THAT(error_of(std::string(300000, '1'), {.line_bytes_max = 1000}),
              HasSubstr("line 1: longer than 1000 bytes"));
}

TEST(LaunchTrace, RefusesAZstdBombAtTheLimitOfItsText) {
  std::string text;
  for (int i = 1; i < 30000; ++i) text += fmt::format("{} b,|\n", i);
  EXPECT_THAT(error_of(compressed(text), {.text_bytes_max = 100000}),
              HasSubstr("more than 100000 bytes of text"));
}

TEST(LaunchTrace, RefusesTruncatedAndDamagedCompression) {
  const std::string whole = compressed(long_trace(2000));
  for (size_t bytes = 4; bytes < whole.size(); bytes += 97) {
    const std::string message = error_of(whole.substr(0, bytes));
    EXPECT_THAT(message, HasSubstr("cannot read launches of trace")) << bytes;
  }
  EXPECT_THAT(error_of(whole + "rubbish"), HasSubstr("damaged"));
}

TEST(LaunchTrace, NeverReadsADamagedFileAsMoreThanItHolds) {
  const std::string whole = compressed(long_trace(500));
  for (size_t at = 0; at < whole.size(); at += 13) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
    LaunchNames names;
    const auto bins = read_all(damaged, names);
    EXPECT_TRUE(!bins || bins->size() <= 500U) << at;
  }
}

}  // namespace
}  // namespace forerun::trace
