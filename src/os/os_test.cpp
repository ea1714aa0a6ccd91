#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "os/socket.h"

namespace forerun::os {
namespace {

class OsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-os-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { ASSERT_TRUE(run({"rm", "-rf", folder_}, 10s)); }
  std::string folder_;
};

TEST_F(OsTest, ReadPastTheEndGivesZeroes) {
  auto file = PosixFile::open(folder_ + "/a", PosixFile::Mode::kCreate);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write(2, as_bytes("xy")));
  Buffer out(6, std::byte{0xff});
  ASSERT_TRUE((*file)->read(0, out));
  EXPECT_EQ(as_text(out), std::string_view("\0\0xy\0\0", 6));
}

TEST_F(OsTest, PunchedRangeReadsAsZeroes) {
  auto file = PosixFile::open(folder_ + "/a", PosixFile::Mode::kCreate);
  ASSERT_TRUE((*file)->write(0, Buffer(8192, std::byte{7})));
  ASSERT_TRUE((*file)->punch({0, 4096}));
  Buffer out(8192);
  ASSERT_TRUE((*file)->read(0, out));
  EXPECT_TRUE(all_zero(ByteView(out).first(4096)));
  EXPECT_EQ(out[4096], std::byte{7});
  EXPECT_EQ((*file)->size(), 8192u);
}

TEST_F(OsTest, FolderReplacesAtomically) {
  auto folder = PosixFolder::open(folder_ + "/deep/er");
  ASSERT_TRUE(folder);
  ASSERT_TRUE((*(*folder)->open("new", true))->write(0, as_bytes("new")));
  ASSERT_TRUE((*folder)->replace("new", "current"));
  EXPECT_FALSE((*folder)->exists("new"));
  EXPECT_EQ(as_text(*read_file(folder_ + "/deep/er/current", 100)), "new");
  EXPECT_EQ((*folder)->open("absent", false).error().code, ErrorCode::kNotFound);
}

TEST_F(OsTest, AWatchedProgramEndsByItselfOrIsStopped) {
  SpawnOptions options;
  options.output_path = folder_ + "/log";
  options.working_folder = folder_;
  options.argv = {"sh", "-c", "pwd; echo wrong >&2; exit 7"};
  EXPECT_EQ(run_watched(options, 10s, {}), 7);
  EXPECT_EQ(as_text(*read_file(options.output_path, 1000)), folder_ + "\nwrong\n");
  options.argv = {"sleep", "1000"};
  int asked = 0;
  const auto stopped = run_watched(options, 10s, [&] { return ++asked == 1; });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(run_watched(options, Nanos{0}, {}).error().code, ErrorCode::kTimedOut);
  options.argv = {"no such program"};
  EXPECT_EQ(run_watched(options, 10s, {}).error().code, ErrorCode::kNotFound);
}

TEST_F(OsTest, ReadFileRefusesMoreThanAsked) {
  ASSERT_TRUE(write_file_atomic(folder_ + "/a", as_bytes("12345")));
  EXPECT_EQ(read_file(folder_ + "/a", 4).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(read_file(folder_ + "/a", 5)->size(), 5u);
}

TEST_F(OsTest, WritesOfOneFileAtTheSameTimeAllSucceedAndOneWinsWhole) {
  const std::string path = folder_ + "/a";
  std::atomic<int> torn{0};
  std::atomic<int> failed{0};
  const auto work = [&](char letter) {
    for (int i = 0; i < 4; ++i) {
      failed += !write_file_atomic(path, as_bytes(std::string(10'000, letter)));
      const auto seen = read_file(path, 20'000);
      torn += !seen || seen->size() != 10'000 || (*seen)[0] != (*seen)[9'999];
    }
  };
  std::thread other(work, 'a');
  work('b');
  other.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(torn, 0);
  EXPECT_EQ(list_folder(folder_), std::vector<std::string>{"a"});
}

TEST_F(OsTest, AFailedWriteLeavesNothingBehind) {
  ASSERT_TRUE(make_folders(folder_ + "/is-a-folder"));
  EXPECT_FALSE(write_file_atomic(folder_ + "/is-a-folder", as_bytes("x")));
  EXPECT_EQ(list_folder(folder_), std::vector<std::string>{"is-a-folder"});
}

TEST_F(OsTest, LockIsExclusiveAndEndsWithItsHolder) {
  auto held = lock_file(folder_ + "/lock");
  ASSERT_TRUE(held);
  EXPECT_EQ(lock_file(folder_ + "/lock").error().code, ErrorCode::kExists);
  held->reset();
  EXPECT_TRUE(lock_file(folder_ + "/lock"));
}

TEST_F(OsTest, UnixSocketCarriesBytesAndReplacesAStaleFile) {
  const std::string path = folder_ + "/s";
  {
    ASSERT_TRUE(listen_unix(path));
  }  // leaves a stale socket file
  auto listener = listen_unix(path);
  ASSERT_TRUE(listener);
  EXPECT_EQ(listen_unix(path).error().code, ErrorCode::kExists);
  // The probe above and this client both connected; the probe's end shows as end of stream.
  SocketStream client(std::move(*connect_unix(path)));
  SocketStream probe_end(std::move(*accept_connection(listener->get(), 1s)));
  SocketStream server(std::move(*accept_connection(listener->get(), 1s)));
  ASSERT_TRUE(client.write_bytes(as_bytes("hello")));
  Buffer out(5);
  ASSERT_TRUE(server.read_exact(out));
  EXPECT_EQ(as_text(out), "hello");
  client.shut_down();
  EXPECT_EQ(server.read_some(out), 0u);
}

TEST_F(OsTest, LongSocketPathIsRefusedWithItsLength) {
  EXPECT_EQ(listen_unix("/tmp/" + std::string(200, 'x')).error().code, ErrorCode::kInvalid);
}

TEST_F(OsTest, WriteAllSendsManyParts) {
  auto listener = listen_tcp("127.0.0.1", 0);
  ASSERT_TRUE(listener);
  SocketStream client(std::move(*connect_tcp("127.0.0.1", *local_port(listener->get()), 1s)));
  SocketStream server(std::move(*accept_connection(listener->get(), 1s)));
  std::string text(700, 'z');
  std::vector<iovec> parts;
  for (char& c : text) parts.push_back({&c, 1});
  ASSERT_TRUE(client.write_all(parts));
  Buffer out(700);
  ASSERT_TRUE(server.read_exact(out));
  EXPECT_EQ(as_text(out), text);
}

TEST_F(OsTest, RunReturnsOutputAndExitCode) {
  const auto result = run({"sh", "-c", "echo out; echo err >&2; exit 3"}, 10s);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(result->output, "out\n");
  EXPECT_EQ(result->errors, "err\n");
  EXPECT_EQ(run({"no-such-program-here"}, 1s).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(run({"sleep", "60"}, 20ms).error().code, ErrorCode::kTimedOut);
}

TEST_F(OsTest, DetachedProcessIsIdentifiedAndSignalled) {
  const auto process = spawn_detached({{"sleep", "60"}, "", ""});
  ASSERT_TRUE(process);
  EXPECT_TRUE(is_alive(*process));
  EXPECT_FALSE(is_alive({process->pid, process->start_ticks + 1}));
  ASSERT_TRUE(send_signal(*process, SIGKILL));
  EXPECT_TRUE(wait_for_end(*process, 5s));
  EXPECT_FALSE(send_signal(*process, SIGKILL));
}

TEST(Clock, FormatsUtc) { EXPECT_EQ(format_utc(1767225600), "2026-01-01T00:00:00Z"); }

}  // namespace
}  // namespace forerun::os
