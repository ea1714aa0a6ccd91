#include "export/nbd_transmission.h"

namespace forerun::nbd {
namespace {

// Gives out what it was given in parts of a size, keeps what is written; ends when all is read.
class FakeStream final : public os::ByteStream {
 public:
  explicit FakeStream(std::string input, size_t part = SIZE_MAX)
      : input_(std::move(input)), part_(part) {}

  Result<size_t> read_some(MutableByteView out) override {
    const size_t got = std::min({part_, out.size(), input_.size() - at_});
    std::memcpy(out.data(), input_.data() + at_, got);
    at_ += got;
    return got;
  }
  Status write_all(std::span<const iovec> parts) override {
    const std::lock_guard lock(mutex_);
    ++writes_;
    for (const iovec& part : parts)
      output_.append(static_cast<const char*>(part.iov_base), part.iov_len);
    return {};
  }
  Status set_timeout(Nanos) override { return {}; }
  void shut_down() override {}
  int fd() const override { return -1; }

  std::string output() {
    const std::lock_guard lock(mutex_);
    return output_;
  }
  size_t writes() const { return writes_; }

 private:
  const std::string input_;
  const size_t part_;
  size_t at_ = 0;
  std::mutex mutex_;
  std::string output_;
  size_t writes_ = 0;
};

class FakeDevice final : public disk::BlockDevice {
 public:
  explicit FakeDevice(size_t size) : content(size) {}

  uint64_t size_bytes() const override { return content.size(); }
  bool is_read_only() const override { return false; }
  Result<bool> try_read(ByteRange range, disk::ReadSlices& out) override {
    if (fails) return fail(ErrorCode::kCorrupt, "planted");
    if (waits) return false;
    append(range, out);
    return true;
  }
  Status read(ByteRange range, disk::ReadSlices& out) override {
    if (fails_late) return fail(ErrorCode::kIo, "planted");
    append(range, out);
    return {};
  }
  Status write(uint64_t offset, ByteView data, bool fua) override {
    if (fails) return fail(ErrorCode::kNoSpace, "planted");
    writes.push_back({offset, data.size()});
    fua_count += fua ? 1 : 0;
    std::ranges::copy(data, content.begin() + static_cast<ptrdiff_t>(offset));
    return {};
  }
  Status write_zeroes(ByteRange range, bool may_punch, bool) override {
    punch_count += may_punch ? 1 : 0;
    std::fill_n(content.begin() + static_cast<ptrdiff_t>(range.offset), range.length, std::byte{0});
    return {};
  }
  Status trim(ByteRange range, bool fua) override { return write_zeroes(range, true, fua); }
  Status flush() override {
    ++flush_count;
    return {};
  }
  Status block_status(ByteRange range, size_t extents_max,
                      std::vector<disk::StatusExtent>& out) override {
    out.push_back({.length = range.length / 2});
    if (extents_max > 1) out.push_back({.length = range.length, .is_hole = true, .is_zero = true});
    return {};
  }

  Buffer content;
  bool fails = false;
  bool fails_late = false;
  bool waits = false;
  std::vector<ByteRange> writes;
  size_t fua_count = 0;
  size_t punch_count = 0;
  std::atomic<size_t> flush_count = 0;

 private:
  void append(ByteRange range, disk::ReadSlices& out) {  // in two slices, as at a chunk's end
    const ByteView all = ByteView(content).subspan(range.offset, range.length);
    out.slices.push_back(all.first(all.size() / 2));
    out.slices.push_back(all.subspan(all.size() / 2));
  }
};

template <typename T>
std::string be(T value) {
  std::string text(sizeof value, '\0');
  store_be(reinterpret_cast<std::byte*>(text.data()), value);
  return text;
}

std::string bytes_of(const Request& request, const std::string& payload = "") {
  return be(kRequestMagic) + be(request.flags) + be(request.command) + be(request.cookie) +
         be(request.offset) + be(request.length) + payload;
}

std::string simple(uint64_t cookie, uint32_t error = kOk) {
  return be(kSimpleReplyMagic) + be(error) + be(cookie);
}

std::string chunk(uint16_t type, uint64_t cookie, const std::string& payload) {
  return be(kStructuredReplyMagic) + be(kChunkDone) + be(type) + be(cookie) +
         be(static_cast<uint32_t>(payload.size())) + payload;
}

const std::string kDisconnect = bytes_of({.command = kCmdDisconnect});

class TransmissionTest : public testing::Test {
 protected:
  // Runs a connection that receives `input`, and returns what it answers.
  std::string answers(const std::string& input, size_t part = SIZE_MAX) {
    FakeStream stream(input, part);
    Transmission transmission(options_, stream, device_, negotiated_, pool_);
    status_ = transmission.run({});
    writes_ = stream.writes();
    return stream.output();
  }
  std::string text_of_disk(size_t offset, size_t length) const {
    return std::string(as_text(ByteView(device_->content).subspan(offset, length)));
  }

  TransmissionOptions options_;
  Negotiated negotiated_;
  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>(1 << 20);
  WorkerPool pool_{{}};
  Status status_;
  size_t writes_ = 0;
};

TEST_F(TransmissionTest, AnswersManyRequestsWithOneWrite) {
  std::fill_n(device_->content.begin(), 8, std::byte{'x'});

  const std::string output =
      answers(bytes_of({.command = kCmdRead, .cookie = 1, .length = 8}) +
              bytes_of({.command = kCmdRead, .cookie = 2, .length = 4}) + kDisconnect);

  EXPECT_EQ(output, simple(1) + "xxxxxxxx" + simple(2) + "xxxx");
  EXPECT_EQ(writes_, 1u);
  EXPECT_TRUE(status_);
}

TEST_F(TransmissionTest, TakesRequestsByteByByte) {
  const std::string output = answers(
      bytes_of({.command = kCmdWrite, .cookie = 1, .offset = 5, .length = 3}, "abc") +
          bytes_of({.command = kCmdRead, .cookie = 2, .offset = 4, .length = 5}) + kDisconnect,
      1);

  EXPECT_EQ(output, simple(1) + simple(2) + std::string("\0abc\0", 5));
}

TEST_F(TransmissionTest, StructuredReplies) {
  negotiated_ = {.structured_replies = true, .base_allocation = true};

  const std::string output = answers(
      bytes_of({.flags = kCmdDf, .command = kCmdRead, .cookie = 1, .offset = 6, .length = 2}) +
      bytes_of({.command = kCmdRead, .cookie = 2, .offset = 1 << 20, .length = 1}) +
      bytes_of({.command = kCmdRead, .cookie = 3}) +
      bytes_of({.command = kCmdBlockStatus, .cookie = 4, .length = 8192}) +
      bytes_of({.flags = kCmdReqOne, .command = kCmdBlockStatus, .cookie = 5, .length = 2}) +
      kDisconnect);

  EXPECT_EQ(output,
            chunk(kChunkOffsetData, 1, be(uint64_t{6}) + std::string(2, '\0')) +
                chunk(kChunkError, 2, be(uint32_t{kEinval}) + be(uint16_t{0})) +
                chunk(kChunkNone, 3, "") +
                chunk(kChunkBlockStatus, 4, be(1u) + be(4096u) + be(0u) + be(4096u) + be(3u)) +
                chunk(kChunkBlockStatus, 5, be(1u) + be(1u) + be(0u)));
}

TEST_F(TransmissionTest, LargeWriteIsExecutedInAlignedPieces) {
  options_ = {.receive_bytes = 4096, .write_piece_bytes = 1024};
  const std::string data(3000, 'd');

  for (const size_t part : {size_t{7}, size_t{1000}, SIZE_MAX}) {
    device_->writes.clear();
    const std::string output = answers(
        bytes_of(
            {.flags = kCmdFua, .command = kCmdWrite, .cookie = 1, .offset = 100, .length = 3000},
            data) +
            kDisconnect,
        part);

    EXPECT_EQ(output, simple(1));
    EXPECT_EQ(device_->writes,
              (std::vector<ByteRange>{{100, 924}, {1024, 1024}, {2048, 1024}, {3072, 28}}));
    EXPECT_EQ(text_of_disk(100, 3000), data);
  }
  EXPECT_EQ(device_->flush_count, 3u);
  EXPECT_EQ(device_->fua_count, 0u);
}

TEST_F(TransmissionTest, SmallFuaWriteIsWrittenThrough) {
  answers(bytes_of({.flags = kCmdFua, .command = kCmdWrite, .length = 4}, "abcd") + kDisconnect);

  EXPECT_EQ(device_->fua_count, 1u);
}

TEST_F(TransmissionTest, PayloadOfARefusedWriteIsDropped) {
  options_ = {.receive_bytes = 4096, .write_piece_bytes = 1024};
  const std::string data(10'000, 'd');

  const std::string output = answers(
      bytes_of({.command = kCmdWrite, .cookie = 1, .offset = 1 << 20, .length = 10'000}, data) +
          bytes_of({.flags = 1 << 7, .command = kCmdWrite, .cookie = 2, .length = 10'000}, data) +
          bytes_of({.command = kCmdRead, .cookie = 3, .length = 1}) + kDisconnect,
      999);

  EXPECT_EQ(output, simple(1, kEnospc) + simple(2, kEinval) + simple(3) + std::string(1, '\0'));
}

TEST_F(TransmissionTest, PayloadBeyondTheLimitEndsTheConnection) {
  const std::string output = answers(
      bytes_of({.command = kCmdWrite, .cookie = 1, .length = UINT32_MAX}, std::string(100, 'x')));

  EXPECT_EQ(output, simple(1, kEinval));
  EXPECT_EQ(status_.error().code, ErrorCode::kTooLarge);
}

TEST_F(TransmissionTest, WrongMagicEndsTheConnection) {
  answers(std::string(28, 'x'));

  EXPECT_EQ(status_.error().code, ErrorCode::kInvalid);
}

TEST_F(TransmissionTest, EndWithoutDisconnectIsReported) {
  answers(bytes_of({.command = kCmdRead, .length = 1}) + "half a request");

  EXPECT_EQ(status_.error().code, ErrorCode::kUnavailable);
}

TEST_F(TransmissionTest, FailureOfTheDeviceIsAnswered) {
  device_->fails = true;

  const std::string output =
      answers(bytes_of({.command = kCmdRead, .cookie = 1, .length = 9}) +
              bytes_of({.command = kCmdWrite, .cookie = 2, .length = 2}, "ab") + kDisconnect);

  EXPECT_EQ(output, simple(1, kEio) + simple(2, kEnospc));
}

TEST_F(TransmissionTest, CommandsWithoutData) {
  const std::string output =
      answers(bytes_of({.command = kCmdWrite, .cookie = 1, .length = 4}, "abcd") +
              bytes_of({.command = kCmdTrim, .cookie = 2, .length = 1}) +
              bytes_of({.command = kCmdWriteZeroes, .cookie = 3, .offset = 1, .length = 1}) +
              bytes_of({.flags = kCmdNoHole,
                        .command = kCmdWriteZeroes,
                        .cookie = 4,
                        .offset = 2,
                        .length = 1}) +
              bytes_of({.command = 99, .cookie = 5}) +
              bytes_of({.command = kCmdWrite, .cookie = 6}) + kDisconnect);

  EXPECT_EQ(output, simple(1) + simple(2) + simple(3) + simple(4) + simple(5, kEinval) + simple(6));
  EXPECT_EQ(text_of_disk(0, 4), std::string("\0\0\0d", 4));
  EXPECT_EQ(device_->punch_count, 2u);
}

TEST_F(TransmissionTest, ReadsThatWaitAreAnsweredToo) {
  device_->waits = true;
  std::string input;
  for (uint64_t i = 0; i < 1000; ++i)
    input += bytes_of({.command = kCmdRead, .cookie = i, .length = 100});

  const std::string output = answers(input + kDisconnect);

  EXPECT_EQ(output.size(), 1000 * (kSimpleReplyBytes + 100));
  std::set<uint64_t> cookies;
  for (size_t at = 0; at < output.size(); at += kSimpleReplyBytes + 100)
    cookies.insert(load_be<uint64_t>(as_bytes(output).data() + at + 8));
  EXPECT_EQ(cookies.size(), 1000u);
}

TEST_F(TransmissionTest, LateFailureIsAnswered) {
  device_->waits = true;
  device_->fails_late = true;

  EXPECT_EQ(answers(bytes_of({.command = kCmdRead, .cookie = 1, .length = 9}) + kDisconnect),
            simple(1, kEio));
}

TEST_F(TransmissionTest, FlushAndCacheWhileRequestsWait) {
  device_->waits = true;

  const std::string output =
      answers(bytes_of({.command = kCmdRead, .cookie = 1, .length = 1}) +
              bytes_of({.command = kCmdFlush, .cookie = 2}) +
              bytes_of({.command = kCmdCache, .cookie = 3, .length = 1 << 20}) + kDisconnect);

  EXPECT_EQ(output.size(), 3 * kSimpleReplyBytes + 1);
  EXPECT_EQ(device_->flush_count, 1u);
}

TEST_F(TransmissionTest, WaitingRequestsAreLimited) {
  device_->waits = true;
  options_.waiting_requests_max = 2;
  options_.waiting_bytes_max = 10;
  std::string input;
  for (uint64_t i = 0; i < 50; ++i)
    input += bytes_of({.command = kCmdRead, .cookie = i, .length = 20});  // each alone over it

  EXPECT_EQ(answers(input + kDisconnect).size(), 50 * (kSimpleReplyBytes + 20));
}

TEST_F(TransmissionTest, ServesWhatCameWithTheHandshake) {
  FakeStream stream(kDisconnect);
  Transmission transmission(options_, stream, device_, negotiated_, pool_);

  EXPECT_TRUE(transmission.run(as_bytes(bytes_of({.command = kCmdFlush, .cookie = 7}))));

  EXPECT_EQ(stream.output(), simple(7));
}

}  // namespace
}  // namespace forerun::nbd
