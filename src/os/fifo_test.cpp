#include "os/fifo.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace forerun::os {
namespace {

class FifoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/forerun-fifo-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ASSERT_TRUE(make_fifo(to()));
    ASSERT_TRUE(make_fifo(from()));
  }
  void TearDown() override {
    ::unlink(to().c_str());
    ::unlink(from().c_str());
    ::rmdir(folder_.c_str());
  }
  std::string to() const { return folder_ + "/in"; }
  std::string from() const { return folder_ + "/out"; }
  // As QEMU opens them.
  Fd hold(const std::string& path) const { return Fd(::open(path.c_str(), O_RDWR | O_NONBLOCK)); }
  std::string folder_;
};

TEST_F(FifoTest, NobodyAtTheOtherEndIsAnError) {
  EXPECT_EQ(FifoStream::open(to(), from()).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(FifoStream::open(to() + "x", from()).error().code, ErrorCode::kNotFound);
}

TEST_F(FifoTest, WhatOneLeftAnotherGoesOnWith) {
  const Fd in = hold(to()), out = hold(from());
  ASSERT_TRUE((*FifoStream::open(to(), from()))->write_bytes(as_bytes("ask")));
  Buffer heard(16);
  ASSERT_EQ(::read(in.get(), heard.data(), heard.size()), 3);
  ASSERT_EQ(::write(out.get(), "told", 4), 4);
  const auto second = FifoStream::open(to(), from());
  ASSERT_TRUE(second);
  EXPECT_EQ((*second)->read_some(heard), 4u);
  ASSERT_TRUE((*second)->set_timeout(1ms));
  EXPECT_EQ((*second)->read_some(heard).error().code, ErrorCode::kTimedOut);
}

TEST_F(FifoTest, DrainsWhatNobodyWants) {
  const Fd in = hold(to()), out = hold(from());
  const auto stream = FifoStream::open(to(), from());
  ASSERT_TRUE(stream);
  ASSERT_EQ(::write(out.get(), "old news", 8), 8);
  (*stream)->drain();
  ASSERT_TRUE((*stream)->set_timeout(1ms));
  Buffer heard(16);
  EXPECT_EQ((*stream)->read_some(heard).error().code, ErrorCode::kTimedOut);
}

TEST_F(FifoTest, TooMuchForOneWriteIsRefused) {
  const Fd in = hold(to()), out = hold(from());
  const auto stream = FifoStream::open(to(), from());
  ASSERT_TRUE(stream);
  EXPECT_EQ((*stream)->write_bytes(Buffer(5000)).error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace forerun::os
