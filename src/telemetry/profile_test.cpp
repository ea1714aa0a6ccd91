#include "telemetry/profile.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "telemetry/behaviour.h"
#include "telemetry/control.h"
#include "telemetry/line_splitter.h"
#include "telemetry/profile_json.h"
#include "telemetry/profile_window.h"

namespace forerun::telemetry {
namespace {

Profile sample(uint64_t sequence = 1) {
  Profile profile;
  profile.instance = "0123456789abcdef0123456789abcdef";
  profile.sequence = sequence;
  profile.monotonic_ns = sequence * 1'000'000'000;
  profile.period_ms = 1000;
  profile.agent = {0.001, 2 << 20, 0};
  profile.cpu = CpuProfile{2, 0.5, 0.25, {{17, "redis-server", 0.75, 64 << 20}}};
  profile.memory = MemoryProfile{1024, 256, 12.5, 3, 2, 0, 0};
  profile.working_set = WorkingSetProfile{17, "redis-server", 2, 4096, 1024, -0.5};
  profile.pattern = PatternProfile{17, "faults", 512, {}, {}};
  profile.pattern->features.delta_mode = -8;
  profile.pattern->features.jaccard_ratio = 0.5;
  profile.pattern->shares.stride = 1;
  profile.disks.push_back({"vda", 10, 2, 40960, 8192, 250, 900, 0.125});
  profile.networks.push_back({"eth0", 100, 50, 1, 1, 0});
  profile.pressure = PressureProfile{0.5, 0.25, 0, 0, 0};
  profile.missing.push_back({"pattern", "this kernel has no soft-dirty bits"});
  return profile;
}

std::string with(const std::string& from, const std::string& to) {
  std::string line = write_profile(sample());
  const size_t at = line.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return line.replace(at, from.size(), to);
}

Refusal why(std::string_view line) {
  const auto parsed = parse_profile(line);
  EXPECT_FALSE(parsed.has_value());
  return parsed ? Refusal{} : parsed.error().why;
}

TEST(Profile, ComesBackAsItWasWritten) {
  const auto parsed = parse_profile(write_profile(sample()));
  ASSERT_TRUE(parsed.has_value()) << parsed.error().detail;
  EXPECT_EQ(*parsed, sample());
}

TEST(Profile, WhatIsOptionalMayBeMissing) {
  Profile bare;
  bare.instance = "a";
  bare.period_ms = 1000;
  const auto parsed = parse_profile(write_profile(bare));
  ASSERT_TRUE(parsed.has_value()) << parsed.error().detail;
  EXPECT_EQ(*parsed, bare);
}

TEST(Profile, TheWriterBringsEverythingIntoRange) {
  Profile wild = sample();
  wild.cpu->busy_ratio = std::numeric_limits<double>::quiet_NaN();
  wild.cpu->steal_ratio = std::numeric_limits<double>::infinity();
  wild.cpu->top[0].name = "a\"\\\n\xff";
  wild.memory->total_bytes = UINT64_MAX;
  wild.disks.assign(100, wild.disks[0]);
  wild.pattern->features.delta_mode = INT64_MIN;
  const auto parsed = parse_profile(write_profile(wild));
  ASSERT_TRUE(parsed.has_value()) << parsed.error().detail;
  EXPECT_EQ(parsed->cpu->busy_ratio, 0);
  EXPECT_EQ(parsed->cpu->top[0].name, "a\"\\??");
  EXPECT_EQ(parsed->disks.size(), kDisksMax);
}

TEST(Profile, TheLargestOneFitsALine) {
  Profile large = sample();
  large.cpu->top.assign(kTopProcessesMax,
                        {kTopProcessesMax, std::string(15, '"'), 1.23456e-7, 1ull << 50});
  large.disks.assign(kDisksMax, {std::string(31, '"'), 1.23456e11, 1.23456e11, 1.23456e11,
                                 1.23456e11, 1.23456e11, 1.23456e11, 0.123456});
  large.networks.assign(kNetworksMax, {std::string(15, '"'), 1.23456e11, 1.23456e11, 1.23456e11,
                                       1.23456e11, 1.23456e11});
  large.missing.assign(kMissingMax, {std::string(24, '"'), std::string(120, '"')});
  EXPECT_LE(write_profile(large).size(), kProfileBytesMax);
}

TEST(Profile, RefusesWhatIsNoJson) {
  EXPECT_EQ(why(""), Refusal::kNotJson);
  EXPECT_EQ(why("{"), Refusal::kNotJson);
  EXPECT_EQ(why(with("0.5", "nan")), Refusal::kNotJson);
  EXPECT_EQ(why(std::string(8000, '[')), Refusal::kNotJson);
  EXPECT_EQ(why(with("\"disks\":[", "\"disks\":[[[[[[")), Refusal::kNotJson);
  EXPECT_EQ(why(with("vda", "vd\xff")), Refusal::kNotJson);
}

TEST(Profile, RefusesWhatIsNoProfile) {
  EXPECT_EQ(why("[]"), Refusal::kNotProfile);
  EXPECT_EQ(why("{}"), Refusal::kNotProfile);
  EXPECT_EQ(why(with("\"sequence\"", "\"sequents\"")), Refusal::kNotProfile);
  EXPECT_EQ(why(with("{\"version\"", "{\"more\":1,\"version\"")), Refusal::kNotProfile);
  EXPECT_EQ(why(with("\"vda\"", "7")), Refusal::kNotProfile);
  EXPECT_EQ(why(with("\"disks\":[", "\"disks\":[7,")), Refusal::kNotProfile);
}

TEST(Profile, RefusesListsThatAreTooLong) {
  std::string entries;
  for (size_t i = 0; i <= kMissingMax; ++i) entries += R"({"metric":"a","reason":"b"},)";
  EXPECT_EQ(why(with("\"missing\":[", "\"missing\":[" + entries)), Refusal::kNotProfile);
}

TEST(Profile, RefusesValuesOutOfRange) {
  EXPECT_EQ(why(with("\"busy_ratio\":0.5", "\"busy_ratio\":1.5")), Refusal::kOutOfRange);
  EXPECT_EQ(why(with("\"busy_ratio\":0.5", "\"busy_ratio\":-1")), Refusal::kOutOfRange);
  EXPECT_NE(why(with("\"busy_ratio\":0.5", "\"busy_ratio\":1e999")), Refusal::kTooLong);
  EXPECT_EQ(why(with("\"pid\":17", "\"pid\":-17")), Refusal::kOutOfRange);
  EXPECT_EQ(why(with("\"version\":1", "\"version\":2")), Refusal::kOutOfRange);
  EXPECT_EQ(why(with("vda", std::string(200, 'x'))), Refusal::kOutOfRange);
  EXPECT_EQ(why(with("vda", "\\u001b[2J")), Refusal::kOutOfRange);
}

TEST(Profile, RefusesLinesThatAreTooLong) {
  EXPECT_EQ(why(std::string(kProfileBytesMax + 1, ' ')), Refusal::kTooLong);
}

TEST(Profile, TheSchemaIsTheDocumentedOne) {
  std::ifstream file(std::string(FORERUN_DOCS_DIR) + "/profile.schema.json");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), profile_schema());
  boost::json::error_code error;
  boost::json::parse(profile_schema(), error);
  EXPECT_FALSE(error);
}

TEST(LineSplitter, PutsLinesTogetherAndLetsLongOnesGo) {
  LineSplitter splitter(4);
  std::vector<std::string> lines;
  const auto take = [&](std::string_view line) { lines.emplace_back(line); };
  splitter.feed("ab", take);
  splitter.feed("c\n\nabcd\nabc", take);
  splitter.feed("de", take);
  splitter.feed("f\nxy\n", take);
  EXPECT_EQ(lines, (std::vector<std::string>{"abc", "abcd", "xy"}));
  EXPECT_EQ(splitter.too_long(), 1u);
}

TEST(ProfileWindow, KeepsTheNewestAndAWindow) {
  ProfileWindow window({.profiles_max = 3});
  for (uint64_t i = 1; i <= 5; ++i) {
    Profile profile = sample(i);
    profile.cpu->busy_ratio = static_cast<double>(i) / 10;
    EXPECT_TRUE(window.take_line(write_profile(profile), Time{} + i * 1s));
  }
  EXPECT_EQ(window.newest()->sequence, 5u);
  EXPECT_EQ(window.size(), 3u);
  EXPECT_EQ(window.span(), 2s);
  const ValueSummary busy = window.summary(Behaviour::kCpuBusy);
  EXPECT_EQ(busy.count, 3u);
  EXPECT_NEAR(busy.mean, 0.4, 1e-6);
  EXPECT_NEAR(busy.min, 0.3, 1e-6);
  EXPECT_NEAR(busy.max, 0.5, 1e-6);
}

TEST(ProfileWindow, RefusesAClockThatGoesBack) {
  ProfileWindow window;
  EXPECT_TRUE(window.take_line(write_profile(sample(5)), Time{} + 1s));
  EXPECT_FALSE(window.take_line(write_profile(sample(5)), Time{} + 2s));
  EXPECT_FALSE(window.take_line(write_profile(sample(4)), Time{} + 3s));
  EXPECT_EQ(window.refused(Refusal::kTimeBackwards), 2u);
  EXPECT_TRUE(window.take_line(write_profile(sample(8)), Time{} + 4s));
  EXPECT_EQ(window.lost(), 2u);
}

TEST(ProfileWindow, ANewInstanceBeginsAnew) {
  ProfileWindow window;
  EXPECT_TRUE(window.take_line(write_profile(sample(5)), Time{} + 1s));
  Profile anew = sample(1);
  anew.instance = "other";
  EXPECT_TRUE(window.take_line(write_profile(anew), Time{} + 2s));
  EXPECT_EQ(window.instances(), 2u);
  EXPECT_EQ(window.lost(), 0u);
}

TEST(ProfileWindow, RefusesAFlood) {
  ProfileWindow window({.lines_per_s_max = 10, .burst_lines_max = 5});
  for (uint64_t i = 1; i <= 100; ++i) window.take_line(write_profile(sample(i)), Time{} + 1s);
  EXPECT_EQ(window.taken(), 5u);
  EXPECT_EQ(window.refused(Refusal::kTooOften), 95u);
  EXPECT_TRUE(window.take_line(write_profile(sample(101)), Time{} + 2s));
}

TEST(Behaviour, KnowsWhatTheProfileSaid) {
  const BehaviourVector vector = behaviour_of(sample());
  EXPECT_FLOAT_EQ(vector.of(Behaviour::kCpuBusy), 0.5f);
  EXPECT_FLOAT_EQ(vector.of(Behaviour::kMemoryUsed), 0.75f);
  EXPECT_FLOAT_EQ(vector.of(Behaviour::kDirtyRatio), 0.25f);
  EXPECT_LT(vector.of(Behaviour::kDeltaMode), 0);
  EXPECT_FLOAT_EQ(vector.of(Behaviour::kStride), 1);
  Profile bare;
  EXPECT_EQ(behaviour_of(bare).known, 0u);
}

Profile walking(uint64_t sequence, uint64_t pid, PatternShares shares) {
  Profile profile;
  profile.instance = "i";
  profile.sequence = profile.monotonic_ns = sequence;
  profile.period_ms = 1000;
  profile.pattern.emplace();
  profile.pattern->pid = pid;
  profile.pattern->source = "faults";
  profile.pattern->shares = shares;
  return profile;
}

TEST(ProfileWindow, SettlesWhatItsProfilesSayByTurns) {
  ProfileWindow window;
  Time now = Time{} + 100s;
  const auto take = [&](const Profile& profile) {
    now += 1s;
    ASSERT_TRUE(window.take_line(write_profile(profile), now));
  };
  take(walking(1, 17, {.scan = 1}));
  take(walking(2, 18, {.random = 1}));
  take(walking(3, 17, {.loop = 1}));
  Profile plain = walking(4, 0, {});
  plain.pattern.reset();
  plain.pressure.emplace().io_some = 0.25;
  take(plain);
  const BehaviourVector settled = window.settled();
  EXPECT_FALSE(window.behaviour().knows(Behaviour::kLoop));
  EXPECT_FLOAT_EQ(settled.of(Behaviour::kPressureIo), 0.25f);
  EXPECT_FLOAT_EQ(settled.of(Behaviour::kLoop), 0.5f);
  EXPECT_FLOAT_EQ(settled.of(Behaviour::kRandom), 0.5f);
  EXPECT_FLOAT_EQ(settled.of(Behaviour::kScan), 0);
  now += 2 * ProfileWindow::kSettled;
  plain.sequence = plain.monotonic_ns = 5;
  take(plain);
  EXPECT_FALSE(window.settled().knows(Behaviour::kLoop));
}

TEST(Behaviour, TheCategoryIsByRule) {
  const auto of = [](PatternShares shares) {
    return category_of(behaviour_of(walking(1, 17, shares)));
  };
  EXPECT_EQ(of({.scan = 0.5, .stride = 0.3, .random = 0.2}), Category::kOrdered);
  EXPECT_EQ(of({.loop = 0.2, .chase = 0.8}), Category::kScattered);
  EXPECT_EQ(of({.loop = 0.5, .chase = 0.5}), Category::kMixed);
  EXPECT_EQ(of({}), Category::kUnknown);
  Profile idle = walking(1, 17, {.scan = 1});
  idle.cpu.emplace().busy_ratio = 0.01;
  EXPECT_EQ(category_of(behaviour_of(idle)), Category::kIdle);
  EXPECT_EQ(category_name(Category::kIdle), "idle");
  EXPECT_FLOAT_EQ(model_inputs(behaviour_of(idle))[2], 1);
}

TEST(Behaviour, AStaticSetSaysNothingOfOrder) {
  Profile profile = sample();
  profile.pattern->source = "dirty";
  EXPECT_FALSE(behaviour_of(profile).knows(Behaviour::kDeltaEntropy));
  EXPECT_TRUE(behaviour_of(profile).knows(Behaviour::kRun));
}

TEST(Control, ComesBackAsItWasWritten) {
  const Control control{500, Metrics{0b101}};
  const auto parsed = parse_control(write_control(control));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(*parsed, control);
  EXPECT_EQ(*parse_control("{}"), Control{});
}

TEST(Control, RefusesWhatItDoesNotKnow) {
  EXPECT_FALSE(parse_control("").has_value());
  EXPECT_FALSE(parse_control("[]").has_value());
  EXPECT_FALSE(parse_control(R"({"period_ms":1})").has_value());
  EXPECT_FALSE(parse_control(R"({"period_ms":"1000"})").has_value());
  EXPECT_FALSE(parse_control(R"({"metrics":["mood"]})").has_value());
  EXPECT_FALSE(parse_control(R"({"mood":1})").has_value());
  EXPECT_FALSE(parse_control(std::string(2000, ' ')).has_value());
}

}  // namespace
}  // namespace forerun::telemetry
