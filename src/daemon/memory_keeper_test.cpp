#include "daemon/memory_keeper.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "core/codec.h"
#include "os/file.h"
#include "os/process.h"

namespace forerun::daemon {
namespace {

constexpr uint64_t kChunk = repository::kChunkSize;

// A tier of 64 chunks on a host of 160 MiB, whose marks are then at 8 and 16 MiB.
class MemoryKeeperTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-keeper-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    tier_ = *tier::Tier::open({.memory_bytes_max = 64 * kChunk, .file_bytes_max = 0, .shards = 1},
                              nullptr, nullptr);
    for (uint64_t i = 0; i < 64; ++i) {
      ByteWriter writer;
      writer.u64(i);
      Buffer content = writer.take();
      content.resize(kChunk);
      const ChunkId id = sha256(content);
      tier_->insert(std::make_shared<const repository::Chunk>(repository::Chunk{id, content}),
                    tier::Admission::kDemand);
    }
    keeper_.emplace(
        MemoryKeeper::Options{{.bytes_min = 8 * kChunk, .bytes_max = 64 * kChunk}, root_}, clock_,
        *tier_, [this] { return link_; });
  }
  void TearDown() override { ASSERT_TRUE(os::run({"rm", "-rf", root_}, 10s)); }

  void available_mib(uint64_t mib) {
    const std::string text = fmt::format("MemTotal: 163840 kB\nMemAvailable: {} kB\n", mib * 1024);
    ASSERT_TRUE(os::make_folders(root_ + "/proc"));
    ASSERT_TRUE(os::write_file_atomic(root_ + "/proc/meminfo", as_bytes(text)));
  }
  void step() {
    clock_.advance(1s);
    keeper_->step();
  }

  std::string root_;
  ManualClock clock_;
  iosched::LinkEstimate link_;
  std::unique_ptr<tier::Tier> tier_;
  std::optional<MemoryKeeper> keeper_;
};

TEST_F(MemoryKeeperTest, GivesMemoryBackWhenTheHostRunsShortAndTakesItAgainLater) {
  available_mib(100);
  step();
  EXPECT_EQ(tier_->stats().memory_bytes, 64 * kChunk);
  available_mib(7);
  step();
  EXPECT_EQ(tier_->stats().memory_bytes, 8 * kChunk);
  EXPECT_EQ(keeper_->host().available_bytes, 7 * kMiB);
  available_mib(100);
  for (int i = 0; i < 30; ++i) step();
  EXPECT_EQ(tier_->pool().limit_bytes, 64 * kChunk);
}

TEST_F(MemoryKeeperTest, KeepsItsSizeIfTheHostSaysNothing) {
  step();
  EXPECT_EQ(tier_->pool().limit_bytes, 64 * kChunk);
  EXPECT_EQ(keeper_->host().total_bytes, 0u);
}

TEST_F(MemoryKeeperTest, TellsTheTierTheTime) {
  const ChunkId here = [&] {
    ByteWriter writer;
    writer.u64(0);
    Buffer content = writer.take();
    content.resize(kChunk);
    return sha256(content);
  }();
  ASSERT_TRUE(tier_->need(here, 0.9, clock_.now() + 1500ms));
  step();
  EXPECT_EQ(tier_->pool().reserved_bytes, kChunk);
  step();
  EXPECT_EQ(tier_->pool().reserved_bytes, 0u);
}

}  // namespace
}  // namespace forerun::daemon
