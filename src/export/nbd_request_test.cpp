#include "export/nbd_request.h"

namespace forerun::nbd {
namespace {

constexpr RequestRules kRules{
    .size_bytes = 1 << 20, .structured_replies = true, .base_allocation = true};

TEST(NbdRequest, ParsesItsFields) {
  std::array<std::byte, kRequestBytes> bytes;
  store_be(bytes.data(), kRequestMagic);
  store_be(bytes.data() + 4, uint16_t{1});
  store_be(bytes.data() + 6, uint16_t{6});
  store_be(bytes.data() + 8, uint64_t{0x1122334455667788});
  store_be(bytes.data() + 16, uint64_t{0x99});
  store_be(bytes.data() + 24, uint32_t{0x42});

  const Request expected{
      .flags = 1, .command = 6, .cookie = 0x1122334455667788, .offset = 0x99, .length = 0x42};
  EXPECT_EQ(parse_request(bytes), expected);
}

TEST(NbdRequest, RefusesAWrongMagic) {
  const std::array<std::byte, kRequestBytes> bytes{};
  EXPECT_EQ(parse_request(bytes), std::nullopt);
}

struct Case {
  const char* name;
  Request request;
  NbdError expected;
  RequestRules rules = kRules;
};

class NbdRequestRules : public testing::TestWithParam<Case> {};

TEST_P(NbdRequestRules, Answers) {
  EXPECT_EQ(check_request(GetParam().request, GetParam().rules), GetParam().expected);
}

constexpr RequestRules kReadOnlyRules{.size_bytes = 1 << 20, .read_only = true};
constexpr RequestRules kBigRules{
    .size_bytes = 8ull << 30, .structured_replies = true, .base_allocation = true};

INSTANTIATE_TEST_SUITE_P(
    All, NbdRequestRules,
    testing::Values(
        Case{"read", {.command = kCmdRead, .length = 1 << 20}, kOk},
        Case{"read_past_end", {.command = kCmdRead, .offset = 1, .length = 1 << 20}, kEinval},
        Case{"read_wrapping", {.command = kCmdRead, .offset = UINT64_MAX, .length = 2}, kEinval},
        Case{"read_largest", {.command = kCmdRead, .length = 32u << 20}, kOk, kBigRules},
        Case{"read_larger", {.command = kCmdRead, .length = (32u << 20) + 1}, kEinval, kBigRules},
        Case{"read_2_32", {.command = kCmdRead, .length = UINT32_MAX}, kEinval, kBigRules},
        Case{"read_df", {.flags = kCmdDf, .command = kCmdRead, .length = 1}, kOk},
        Case{"read_df_simple",
             {.flags = kCmdDf, .command = kCmdRead, .length = 1},
             kEinval,
             kReadOnlyRules},
        Case{"read_fua", {.flags = kCmdFua, .command = kCmdRead, .length = 1}, kOk},
        Case{"read_unknown_flag", {.flags = 1u << 9, .command = kCmdRead, .length = 1}, kEinval},
        Case{"write", {.flags = kCmdFua, .command = kCmdWrite, .length = 4096}, kOk},
        Case{"write_past_end", {.command = kCmdWrite, .offset = 1 << 20, .length = 1}, kEnospc},
        Case{"write_larger", {.command = kCmdWrite, .length = (32u << 20) + 1}, kEinval, kBigRules},
        Case{"write_ro", {.command = kCmdWrite, .length = 1}, kEperm, kReadOnlyRules},
        Case{"trim_ro", {.command = kCmdTrim, .length = 1}, kEperm, kReadOnlyRules},
        Case{"zero_ro", {.command = kCmdWriteZeroes, .length = 1}, kEperm, kReadOnlyRules},
        Case{"zero_2_32", {.command = kCmdWriteZeroes, .length = UINT32_MAX}, kOk, kBigRules},
        Case{"zero_past_end", {.command = kCmdWriteZeroes, .length = UINT32_MAX}, kEnospc},
        Case{"zero_fast", {.flags = kCmdFastZero, .command = kCmdWriteZeroes, .length = 1}, kOk},
        Case{"zero_fast_no_hole",
             {.flags = kCmdFastZero | kCmdNoHole, .command = kCmdWriteZeroes, .length = 1},
             kEnotsup},
        Case{"trim_2_32", {.command = kCmdTrim, .length = UINT32_MAX}, kOk, kBigRules},
        Case{"trim_past_end", {.command = kCmdTrim, .offset = 2 << 20, .length = 1}, kEinval},
        Case{"trim_no_hole", {.flags = kCmdNoHole, .command = kCmdTrim, .length = 1}, kEinval},
        Case{"flush", {.command = kCmdFlush}, kOk},
        Case{"flush_range", {.command = kCmdFlush, .length = 1}, kEinval},
        Case{"cache", {.command = kCmdCache, .length = UINT32_MAX}, kOk, kBigRules},
        Case{"status_2_32", {.command = kCmdBlockStatus, .length = UINT32_MAX}, kOk, kBigRules},
        Case{"status_nothing", {.command = kCmdBlockStatus}, kEinval},
        Case{"status_not_agreed",
             {.command = kCmdBlockStatus, .length = 1},
             kEinval,
             kReadOnlyRules},
        Case{"resize", {.command = 8}, kEinval}, Case{"unknown", {.command = 0xffff}, kEinval}),
    [](const auto& info) { return info.param.name; });

TEST(NbdRequest, MapsErrorsToTheProtocol) {
  EXPECT_EQ(error_to_client({.code = ErrorCode::kNoSpace}), kEnospc);
  EXPECT_EQ(error_to_client({.code = ErrorCode::kCorrupt}), kEio);
  EXPECT_EQ(error_to_client({.code = ErrorCode::kUnavailable}), kEio);
  EXPECT_EQ(error_to_client({.code = ErrorCode::kDenied}), kEperm);
}

}  // namespace
}  // namespace forerun::nbd
