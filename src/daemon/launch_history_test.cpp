#include "daemon/launch_history.h"

#include <gmock/gmock.h>

#include <filesystem>

namespace forerun::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using trace::LaunchBatch;

constexpr uint64_t kNow = 1'790'000'000;

class LaunchHistoryTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-launches-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/launches";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<LaunchHistory> open(LaunchHistory::Options options = {}) {
    auto history = LaunchHistory::open(path_, kNow, options);
    EXPECT_TRUE(history) << history.error().message;
    return history ? std::move(*history) : nullptr;
  }
  static std::vector<LaunchBatch> launch(LaunchHistory& history, std::string_view image) {
    return {LaunchBatch{{{history.number_of(image), 1}}, {}, "node"}};
  }
  static void put(const std::string& path, std::string_view text) {
    ASSERT_TRUE(os::write_file_atomic(path, as_bytes(text)));
  }
  static std::string text_of(const std::string& path) {
    const auto text = os::read_file(path, 1 << 20);
    return text ? std::string(as_text(*text)) : text.error().message;
  }

  std::string folder_, path_;
};

TEST_F(LaunchHistoryTest, KeepsWhatItWasToldOverARestart) {
  {
    auto history = open();
    ASSERT_TRUE(history->append(kNow, launch(*history, "web")));
    ASSERT_TRUE(history->append(kNow + 5, {}));
    ASSERT_TRUE(
        history->append(kNow + 9, {LaunchBatch{{}, {{history->number_of("web"), 1}}, "node"}}));
  }
  EXPECT_EQ(text_of(path_), "1790000000 web,@node,|\n1790000005 \n1790000009 ~web,@node,|\n");
  const auto again = open();
  EXPECT_EQ(again->bins().size(), 3U);
  EXPECT_EQ(again->names().name_of(0), "web");
  EXPECT_EQ(again->opened().refused, 0U);
}

TEST_F(LaunchHistoryTest, AClockThatGoesBackStandsStill) {
  auto history = open();
  ASSERT_TRUE(history->append(kNow, launch(*history, "web")));
  ASSERT_TRUE(history->append(kNow - 100, launch(*history, "db")));
  EXPECT_EQ(history->bins().back().second, kNow);
  EXPECT_EQ(open()->opened().refused, 0U);
}

TEST_F(LaunchHistoryTest, CutsALineThatACrashLeftHalf) {
  const std::string whole = "1789999990 web,|\n1790000000 db,@n,|\n";
  for (const size_t bytes : {4U, 16U, 17U, 35U}) {
    put(path_, whole.substr(0, bytes));
    auto history = open();
    ASSERT_TRUE(history);
    EXPECT_EQ(history->bins().size(), bytes >= 17 ? 1U : 0U) << bytes;
    EXPECT_EQ(history->opened().refused, 0U) << bytes;
    ASSERT_TRUE(history->append(kNow, launch(*history, "x")));
    EXPECT_THAT(text_of(path_), testing::EndsWith("1790000000 x,@node,|\n")) << bytes;
  }
}

TEST_F(LaunchHistoryTest, RefusesDamagedLinesOneByOneAndKeepsTheFileBeside) {
  const std::string damaged =
      "1789999000 web,|\n\x01\xff rubbish\n1789999100 web,db\n1789999200 db,|\n"
      "99999999999 web,|\n1789999100 late,|\n1789999300 web,|\n";
  put(path_, damaged);
  const auto history = open();
  ASSERT_TRUE(history);
  EXPECT_EQ(history->opened().lines, 3U);
  EXPECT_EQ(history->opened().refused, 4U);
  EXPECT_THAT(history->opened().first_refusal, HasSubstr("line 2: expected seconds"));
  EXPECT_EQ(text_of(path_ + ".damaged"), damaged);
  EXPECT_EQ(text_of(path_), "1789999000 web,|\n1789999200 db,|\n1789999300 web,|\n");
}

TEST_F(LaunchHistoryTest, AHostThatDoesNotKnowTheTimeKeepsItsPast) {
  put(path_, "1789999000 web,|\n");
  const auto history = LaunchHistory::open(path_, 12, {});
  ASSERT_TRUE(history);
  EXPECT_EQ((*history)->opened().refused, 0U);
  EXPECT_EQ((*history)->bins().size(), 1U);
}

TEST_F(LaunchHistoryTest, ForgetsTheOldestHalfAtItsLimitOfLines) {
  auto history = open({.lines_max = 10});
  for (uint64_t i = 0; i < 11; ++i)
    ASSERT_TRUE(history->append(kNow + i, launch(*history, i < 5 ? "old" : "new")));
  EXPECT_EQ(history->bins().size(), 5U);
  EXPECT_EQ(history->epoch(), 1U);
  EXPECT_EQ(history->names().size(), 1U);
  EXPECT_EQ(history->names().name_of(history->bins()[0].batches[0].parts[0].manifest), "new");
  EXPECT_EQ(open()->bins().size(), 5U);
}

TEST_F(LaunchHistoryTest, ForgetsOldNamesAtItsLimitOfNames) {
  auto history = open({.names_max = 8});
  for (int i = 0; i < 12; ++i)
    ASSERT_TRUE(history->append(kNow, launch(*history, fmt::format("ci-{}", i))));
  EXPECT_LE(history->names().size(), 8U);
  EXPECT_EQ(history->names().size(), history->bins().size());
  EXPECT_EQ(text_of(path_).find("ci-11") == std::string::npos, false);
}

TEST_F(LaunchHistoryTest, ImportsAFileInTheOrderOfTimeAndOnce) {
  auto history = open();
  ASSERT_TRUE(history->append(kNow - 50, launch(*history, "web")));
  const std::string other = folder_ + "/other";
  put(other, "1789999900 db,|\n1789999950 web,@node,|\n1789999990 db,|\n");
  const auto first = history->import(other, kNow);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->lines, 2U);
  EXPECT_EQ(first->known, 1U);
  const auto second = history->import(other, kNow);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->lines, 0U);
  EXPECT_EQ(text_of(path_), "1789999900 db,|\n1789999950 web,@node,|\n1789999990 db,|\n");
}

TEST_F(LaunchHistoryTest, TakesTheGapsOfAFileThatOnlyHasLaunchesForQuiet) {
  auto history = open();
  const std::string other = folder_ + "/other";
  put(other, "1789990000 db,|\n1789995000 db,|\n1789995001 db,|\n");
  const auto read = history->import(other, kNow);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->lines, 3U);
  std::vector<uint64_t> seconds;
  for (const auto& bin : history->bins()) seconds.push_back(bin.second);
  EXPECT_THAT(seconds, ElementsAre(1789990000, 1789991800, 1789993600, 1789995000, 1789995001));
  EXPECT_EQ(history->import(other, kNow)->lines, 0U);
  EXPECT_EQ(history->bins().size(), 5U);
  put(other, "1789980000 \n1789985000 db,|\n");
  ASSERT_TRUE(history->import(other, kNow));
  EXPECT_EQ(history->bins().size(), 7U);
}

TEST_F(LaunchHistoryTest, RefusesAnImportAsAWhole) {
  auto history = open();
  const std::string other = folder_ + "/other";
  for (const auto& [text, message] : std::vector<std::pair<std::string, std::string>>{
           {"1789999900 db,|\nrubbish\n", "line 2: expected seconds"},
           {"1790000001 db,|\n", "second 1790000001 is over 1790000000"},
           {"1789999900 \n", "it holds no launch"},
           {"", "it holds no launch"}}) {
    put(other, text);
    const auto refused = history->import(other, kNow);
    ASSERT_FALSE(refused) << text;
    EXPECT_THAT(refused.error().message, HasSubstr(message));
  }
  EXPECT_EQ(history->import(folder_ + "/none", kNow).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(history->bins().empty());
  EXPECT_EQ(history->names().size(), 0U);
}

}  // namespace
}  // namespace forerun::daemon
