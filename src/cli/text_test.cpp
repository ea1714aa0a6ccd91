#include "cli/text.h"

#include <gtest/gtest.h>

#include <limits>

namespace forerun::cli {
namespace {

TEST(Text, Bytes) {
  EXPECT_EQ(show_bytes(0), "0 B");
  EXPECT_EQ(show_bytes(1023), "1023 B");
  EXPECT_EQ(show_bytes(1024), "1 KiB");
  EXPECT_EQ(show_bytes(312.4 * 1024 * 1024), "312 MiB");
  EXPECT_EQ(show_bytes(1.126 * 1024 * 1024 * 1024), "1.13 GiB");
  EXPECT_EQ(show_bytes(1024.0 * 1024 - 1), "1 MiB");
  EXPECT_EQ(show_rate(2.5 * 1024 * 1024), "2.50 MiB/s");
}

TEST(Text, Seconds) {
  EXPECT_EQ(show_seconds(0), "0 s");
  EXPECT_EQ(show_seconds(85e-6), "85 µs");
  EXPECT_EQ(show_seconds(0.0124), "12.4 ms");
  EXPECT_EQ(show_seconds(1.2345), "1.23 s");
  EXPECT_EQ(show_seconds(180), "3 min");
  EXPECT_EQ(show_seconds(9000), "2.50 h");
  EXPECT_EQ(show_seconds(std::numeric_limits<double>::quiet_NaN()), "?");
}

TEST(Text, RatiosAndCounts) {
  EXPECT_EQ(show_ratio(0), "0 %");
  EXPECT_EQ(show_ratio(0.001), "< 1 %");
  EXPECT_EQ(show_ratio(0.844), "84 %");
  EXPECT_EQ(show_ratio(0.999), "> 99 %");
  EXPECT_EQ(show_ratio(1), "100 %");
  EXPECT_EQ(show_ratio(std::numeric_limits<double>::quiet_NaN()), "–");
  EXPECT_EQ(show_count(0), "0");
  EXPECT_EQ(show_count(999), "999");
  EXPECT_EQ(show_count(1000), "1,000");
  EXPECT_EQ(show_count(12345678), "12,345,678");
}

TEST(Text, Sizes) {
  EXPECT_EQ(*parse_size("1073741824"), 1ull << 30);
  EXPECT_EQ(*parse_size("512M"), 512ull << 20);
  EXPECT_EQ(*parse_size("512MiB"), 512ull << 20);
  EXPECT_EQ(*parse_size("196616k"), 196616ull << 10);
  EXPECT_EQ(*parse_size("1.5G"), 3ull << 29);
  for (const char* wrong : {"", "M", "-1M", "1X", "1MB", "1 M", "9999999999T", "0x10"}) {
    EXPECT_FALSE(parse_size(wrong)) << wrong;
  }
}

TEST(Text, Times) {
  EXPECT_EQ(*parse_seconds("90"), 90);
  EXPECT_EQ(*parse_seconds("1.5s"), 1.5);
  EXPECT_EQ(*parse_seconds("250ms"), 0.25);
  EXPECT_DOUBLE_EQ(*parse_seconds("20us"), 2e-5);
  EXPECT_EQ(*parse_seconds("2m"), 120);
  EXPECT_EQ(*parse_seconds("24h"), 86400);
  EXPECT_EQ(*parse_seconds("7d"), 604800);
  EXPECT_FALSE(parse_seconds("2h30"));
}

TEST(Text, Forwards) {
  EXPECT_EQ(parse_forward("tcp:8080:80")->host_port, 8080);
  EXPECT_EQ(parse_forward("tcp:8080:80")->guest_port, 80);
  EXPECT_EQ(parse_forward("tcp:8080:80")->host_address, "127.0.0.1");
  EXPECT_EQ(parse_forward("tcp:0.0.0.0:8080:80")->host_address, "0.0.0.0");
  for (const char* wrong : {"", "tcp:", "tcp:80", "udp:1:2", "8080:80", "tcp:0:80", "tcp:80:0",
                            "tcp:65536:1", "tcp::80:80", "tcp:80:x", "tcp:80:-1"}) {
    EXPECT_FALSE(parse_forward(wrong)) << wrong;
  }
}

TEST(Text, TableAlignsByWidthNotBytes) {
  Table table({{"NAME"}, {"WAITED", true}, {"NOTE"}});
  table.add({"a", "85 µs", "x"});
  table.add({"long-name", "1.23 s", ""});
  EXPECT_EQ(table.text(),
            "NAME       WAITED  NOTE\n"
            "a           85 µs  x\n"
            "long-name  1.23 s\n");
}

TEST(Text, StallLine) {
  EXPECT_EQ(stall_line({0, 100, 50, 1}, 0.1, 80, false), " █▄▁");
  EXPECT_EQ(stall_line({0, 100, 50, 1}, 0.1, 80, true), " %=.");
  EXPECT_EQ(stall_line({100, 100, 0, 0, 100}, 0.1, 3, true),
            "% %");  // groups of two, the last of one
  EXPECT_EQ(stall_line({}, 0.1, 80, true), "");
}

TEST(Text, NamesFromElsewhereDoNotMoveTheCursor) { EXPECT_EQ(printable("a\x1b[2Jb\n"), "a?[2Jb?"); }

TEST(Text, ParsesBitRates) {
  EXPECT_EQ(*parse_bit_rate("200mbit"), 25'000'000u);
  EXPECT_EQ(*parse_bit_rate("1.5gbit"), 187'500'000u);
  EXPECT_EQ(*parse_bit_rate("8bit"), 1u);
  EXPECT_EQ(*parse_bit_rate("none"), 0u);
  for (const char* text : {"", "200", "200mb", "mbit", "0mbit", "-1mbit", "1bit", "1e30gbit"})
    EXPECT_FALSE(parse_bit_rate(text)) << text;
}

TEST(Text, ShowsBitRates) {
  EXPECT_EQ(show_bit_rate(25'000'000), "200 Mbit/s");
  EXPECT_EQ(show_bit_rate(125), "1 kbit/s");
  EXPECT_EQ(show_bit_rate(0), "none");
}

}  // namespace
}  // namespace forerun::cli
