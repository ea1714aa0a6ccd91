#include "net/put_journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

namespace forerun::net {
namespace {

std::string path_of(int number) { return fmt::format("indexes/{:064x}", number); }

// A store that notes how it is asked to make things durable.
struct PutJournalTest : testing::Test {
  PutJournalTest() {
    std::string pattern = testing::TempDir() + "forerun-put-journal-XXXXXX";
    folder = mkdtemp(pattern.data());
    descriptor = os::Fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    journal = std::make_unique<PutJournal>(hooks(), options);
  }
  ~PutJournalTest() override {
    journal.reset();
    std::filesystem::remove_all(folder);
  }
  PutJournal::Hooks hooks() {
    return {.make_file =
                [this](size_t number, uint64_t epoch) {
                  return JournalFile::create(descriptor.get(), fmt::format("{}", number), epoch,
                                             "journal");
                },
            .sync_all = [this]() -> Status {
              ++all;
              return {};
            },
            .sync_each = [this](const std::set<std::string>& paths) -> Status {
              if (is_failing) return fail(ErrorCode::kIo, "planned");
              each.insert(paths.begin(), paths.end());
              return {};
            }};
  }
  void put(int number) { journal->put(path_of(number), {}, as_bytes("content")); }
  // Returns how many entries journal `number` holds.
  size_t held(int number) const {
    const auto file = os::read_file(folder + fmt::format("/{}", number), kJournalBytesMax);
    return file ? parse_journal(*file)->entries.size() : 0;
  }
  size_t file_count() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
  }

  PutJournal::Options options{.batch_bytes_max = 2000, .synced_each_max = 3, .settle_after = 24h};
  std::string folder;
  os::Fd descriptor;
  std::atomic<int> all = 0;
  std::set<std::string> each;
  std::atomic<bool> is_failing = false;
  std::unique_ptr<PutJournal> journal;
};

TEST_F(PutJournalTest, ObjectsNamedByDigestsWaitForNothingButTheJournal) {
  put(1);
  put(2);
  EXPECT_TRUE(journal->flush());
  EXPECT_EQ(held(0), 2u);
  EXPECT_EQ(all, 0);
  EXPECT_TRUE(each.empty());
}

TEST_F(PutJournalTest, TagsAreNotJournalled) {
  journal->put("images/a.json", {}, as_bytes("{}"));
  put(1);
  EXPECT_TRUE(journal->flush());
  EXPECT_EQ(each, (std::set<std::string>{"images/a.json"}));
  EXPECT_EQ(held(0), 1u);
}

TEST_F(PutJournalTest, TooMuchForTheMemoryIsSyncedWithAll) {
  for (int i = 0; i < 20; ++i) put(i);
  EXPECT_TRUE(journal->flush());
  EXPECT_EQ(all, 1);
  EXPECT_EQ(file_count(), 0u);
  put(1);
  EXPECT_TRUE(journal->flush());
  EXPECT_EQ(all, 1);
  EXPECT_EQ(held(0), 1u);
}

TEST_F(PutJournalTest, TooLargeAnObjectIsSyncedWithAll) {
  journal->put(path_of(1), {}, Buffer(2001));
  EXPECT_TRUE(journal->flush());
  EXPECT_EQ(all, 1);
}

TEST_F(PutJournalTest, TooManyTagsAreSyncedWithAll) {
  for (const char* name : {"images/a.json", "images/b.json", "images/c.json", "images/d.json"})
    journal->touch(name);
  EXPECT_TRUE(journal->flush());
  EXPECT_EQ(all, 1);
  EXPECT_TRUE(each.empty());
}

TEST_F(PutJournalTest, WhatWasOnceDurableIsNotSyncedAgain) {
  put(1);
  ASSERT_TRUE(journal->flush());
  journal->rely(path_of(1));
  journal->rely(path_of(2));
  ASSERT_TRUE(journal->flush());
  EXPECT_EQ(each, (std::set<std::string>{path_of(2)}));
  each.clear();
  journal->rely(path_of(2));
  ASSERT_TRUE(journal->flush());
  EXPECT_TRUE(each.empty());
}

TEST_F(PutJournalTest, SettlingSyncsWhatIsHeldAndEmptiesTheJournal) {
  put(1);
  ASSERT_TRUE(journal->flush());
  put(2);
  ASSERT_TRUE(journal->flush());
  ASSERT_TRUE(journal->settle());
  EXPECT_EQ(each, (std::set<std::string>{path_of(1), path_of(2)}));
  EXPECT_EQ(held(0) + held(1), 0u);
}

TEST_F(PutJournalTest, JournalsDoNotPileUp) {
  for (int i = 0; i < 50; ++i) {
    put(i);
    ASSERT_TRUE(journal->flush());
    if (i % 10 == 9) ASSERT_TRUE(journal->settle());
  }
  EXPECT_EQ(file_count(), 2u);
  EXPECT_EQ(held(0) + held(1), 0u);
  EXPECT_LE(std::filesystem::file_size(folder + "/0"), 512u + 10 * 512u);
}

TEST_F(PutJournalTest, WhatCouldNotSettleIsHeld) {
  put(1);
  ASSERT_TRUE(journal->flush());
  is_failing = true;
  EXPECT_FALSE(journal->settle());
  put(2);
  ASSERT_TRUE(journal->flush());
  EXPECT_FALSE(journal->stop());
  EXPECT_EQ(held(0) + held(1), 2u);
}

TEST_F(PutJournalTest, StopSettles) {
  put(1);
  ASSERT_TRUE(journal->flush());
  EXPECT_TRUE(journal->stop());
  EXPECT_EQ(each, (std::set<std::string>{path_of(1)}));
  EXPECT_EQ(held(0), 0u);
}

// Garbage collection: what is gone stays gone.
TEST_F(PutJournalTest, AFlushOfAllEmptiesTheJournal) {
  put(1);
  ASSERT_TRUE(journal->flush());
  journal->touch_all();
  put(2);
  ASSERT_TRUE(journal->flush());
  EXPECT_EQ(all, 1);
  EXPECT_EQ(held(0) + held(1), 0u);
}

TEST_F(PutJournalTest, AFailedFlushIsFollowedByOneOfAll) {
  is_failing = true;
  journal->touch("images/a.json");
  EXPECT_FALSE(journal->flush());
  is_failing = false;
  EXPECT_TRUE(journal->flush());
  EXPECT_EQ(all, 1);
}

TEST_F(PutJournalTest, WithoutAJournalAllIsSynced) {
  std::filesystem::remove_all(folder);  // none can be made
  put(1);
  EXPECT_TRUE(journal->flush());
  EXPECT_EQ(all, 1);
}

TEST_F(PutJournalTest, TakesFlushesFromManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 5; ++i) {
        put(t * 5 + i);
        EXPECT_TRUE(journal->flush());
      }
    });
  }
  EXPECT_TRUE(journal->settle());
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(journal->settle());
  EXPECT_EQ(each.size(), 20u);
  EXPECT_EQ(held(0) + held(1), 0u);
}

}  // namespace
}  // namespace forerun::net
