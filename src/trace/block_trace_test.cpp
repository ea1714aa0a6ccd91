#include "trace/block_trace.h"

#include <gmock/gmock.h>

#include "trace/block_trace_fixture.h"

namespace forerun::trace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string error_of(const std::string& text) {
  const auto requests = read_all(text);
  return requests ? "no error" : requests.error().message;
}

TEST(BlockTrace, ReadsRequestsPlainAndCompressed) {
  const std::string text = "ts_us,op,start_sector,n_sectors\n0,W,42932745,1\n242639,R,8,136\r\n";
  const auto expected = ElementsAre(BlockRequest{0, Op::kWrite, 42932745, 1},
                                    BlockRequest{242639, Op::kRead, 8, 136});
  EXPECT_THAT(*read_all(text), expected);
  EXPECT_THAT(*read_all(compressed(text)), expected);
}

TEST(BlockTrace, TimeNeverGoesBack) {
  const auto requests = read_all("5,R,0,1\n3,R,1,1\n9,R,2,1\n");
  ASSERT_TRUE(requests);
  EXPECT_EQ((*requests)[1].at_us, 5U);
  EXPECT_EQ((*requests)[2].at_us, 9U);
}

TEST(BlockTrace, AnEmptyFileHoldsNone) { EXPECT_TRUE(read_all("")->empty()); }

TEST(BlockTrace, RefusesWhatIsNoRequestAndSaysWhere) {
  for (const char* line : {"rubbish", "1,X,2,3", "1,R,2", "1,R,2,3,4", "1,R,2,", "-1,R,2,3",
                           "1,R, 2,3", "1,r,2,3", "", "ts_us,op,start_sector,n_sectors"})
    EXPECT_EQ(error_of(std::string("0,R,1,1\n") + line + "\n7,R,1,1\n"),
              "cannot read block requests of disk.csv, line 2: expected "
              "ts_us,R|W,start_sector,n_sectors")
        << line;
  EXPECT_THAT(error_of("0,R,1,0\n"), HasSubstr("line 1: a request of no sectors"));
}

TEST(BlockTrace, RefusesWhatIsOverItsLimits) {
  EXPECT_THAT(error_of("0,R,1,65537\n"), HasSubstr("65537 sectors are over 65536"));
  EXPECT_THAT(error_of("0,R,2199023255553,1\n"), HasSubstr("is over 2199023255552"));
  EXPECT_THAT(error_of("9007199254740992,R,0,1\n"), HasSubstr("is over 4503599627370496"));
  EXPECT_THAT(error_of(std::string(300, '1')), HasSubstr("longer than 256 bytes"));
  EXPECT_THAT(error_of("99999999999999999999,R,0,1\n"), HasSubstr("expected ts_us"));
}

TEST(BlockTrace, SaysThatCompressionIsDamaged) {
  const std::string whole = compressed("0,R,1,1\n1,R,2,1\n");
  EXPECT_THAT(error_of(whole.substr(0, whole.size() - 3)), HasSubstr("ends early"));
}

}  // namespace
}  // namespace forerun::trace
