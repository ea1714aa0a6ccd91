#include "trace/block_trace_writer.h"

#include <gmock/gmock.h>

#include "core/rng.h"
#include "trace/block_trace_fixture.h"

namespace forerun::trace {
namespace {

using ::testing::ElementsAre;
using Form = BlockTraceWriter::Form;

struct Written {
  std::string file;
  BlockTraceWriter::Sink sink() {
    return [this](ByteView piece) -> Status {
      file += as_text(piece);
      return {};
    };
  }
};

// More than a piece of text.
std::vector<BlockRequest> many_requests() {
  Rng rng(7);
  std::vector<BlockRequest> requests;
  for (uint64_t i = 0; i < 20'000; ++i)
    requests.push_back({i * 10, rng.below(3) == 0 ? Op::kWrite : Op::kRead,
                        rng.below(uint64_t{1} << 41), static_cast<uint32_t>(1 + rng.below(65536))});
  return requests;
}

TEST(BlockTraceWriter, WritesTheLinesOfTheFormat) {
  Written written;
  BlockTraceWriter writer(written.sink(), Form::kPlain);
  ASSERT_TRUE(writer.add({0, Op::kWrite, 42932745, 1}));
  ASSERT_TRUE(writer.add({242639, Op::kRead, 8, 136}));
  ASSERT_TRUE(writer.end());
  EXPECT_EQ(written.file, "0,W,42932745,1\n242639,R,8,136\n");
  EXPECT_EQ(writer.text_bytes(), written.file.size());
}

TEST(BlockTraceWriter, WhatIsWrittenReadsAsItWas) {
  for (const Form form : {Form::kPlain, Form::kZstd}) {
    Written written;
    BlockTraceWriter writer(written.sink(), form);
    for (const BlockRequest& request : many_requests()) ASSERT_TRUE(writer.add(request));
    ASSERT_TRUE(writer.end());
    const auto read = read_all(written.file);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, many_requests());
  }
}

TEST(BlockTraceWriter, CompressedFileThatStopsEarlyReadsToItsEnd) {
  Written written;
  BlockTraceWriter writer(written.sink(), Form::kZstd);
  for (const BlockRequest& request : many_requests()) ASSERT_TRUE(writer.add(request));
  ASSERT_TRUE(writer.flush());  // and then it is killed
  const auto read = read_all(written.file);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_GT(read->size(), 1000U);
  EXPECT_LT(read->size(), many_requests().size());
}

TEST(BlockTraceWriter, RequestBeyondALineIsSeveral) {
  Written written;
  BlockTraceWriter writer(written.sink(), Form::kPlain);
  ASSERT_TRUE(writer.add({5, Op::kWrite, 16, 150'000}));
  ASSERT_TRUE(writer.end());
  EXPECT_THAT(*read_all(written.file), ElementsAre(BlockRequest{5, Op::kWrite, 16, 65536},
                                                   BlockRequest{5, Op::kWrite, 65552, 65536},
                                                   BlockRequest{5, Op::kWrite, 131088, 18928}));
}

TEST(BlockTraceWriter, TraceOfNothingReadsAsNothing) {
  for (const Form form : {Form::kPlain, Form::kZstd}) {
    Written written;
    BlockTraceWriter writer(written.sink(), form);
    ASSERT_TRUE(writer.end());
    const auto read = read_all(written.file);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_TRUE(read->empty());
  }
}

TEST(BlockTraceWriter, ErrorOfTheFileIsPassedOn) {
  BlockTraceWriter writer([](ByteView) { return fail(ErrorCode::kNoSpace, "full"); }, Form::kPlain);
  ASSERT_TRUE(writer.add({0, Op::kRead, 0, 1}));
  const Status ended = writer.end();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, ErrorCode::kNoSpace);
}

}  // namespace
}  // namespace forerun::trace
