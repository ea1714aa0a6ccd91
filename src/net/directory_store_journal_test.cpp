// What a repository's next opening makes of the journals of processes that are gone.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "net/directory_store.h"

namespace forerun::net {
namespace {

namespace fs = std::filesystem;
using Mode = DirectoryStore::Mode;

const std::string kChunk = "chunks/aa/" + std::string(64, 'a');
const std::string kIndex = "indexes/" + std::string(64, 'b');
const std::string kPrior = "priors/" + std::string(64, 'c') + ".1";

struct DirectoryStoreJournalTest : testing::Test {
  DirectoryStoreJournalTest() {
    std::string pattern = testing::TempDir() + "forerun-store-journal-XXXXXX";
    repo = mkdtemp(pattern.data());
    store = *open();
  }
  ~DirectoryStoreJournalTest() override {
    store.reset();
    fs::remove_all(repo);
  }
  Result<std::unique_ptr<DirectoryStore>> open() const {
    return DirectoryStore::open(repo, Mode::kReadWrite);
  }
  void put(const std::string& path, std::string_view text) const {
    ASSERT_TRUE(store->put(path, as_bytes(text)));
  }
  std::vector<fs::path> journals() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(repo / "tmp"))
      if (entry.path().extension() == ".journal") found.push_back(entry.path());
    return found;
  }
  // Closes the store, and leaves its journal as a process does that is killed.
  void kill() {
    ASSERT_EQ(journals().size(), 1u);
    const fs::path copy = repo / "copy";
    fs::copy_file(journals().front(), copy);
    store.reset();
    fs::create_directories(dead());
    fs::rename(copy, dead() / "0.journal");
  }
  fs::path dead() const { return repo / "tmp/0123456789abcdef"; }
  void damage(const std::string& path, std::string_view text) const {
    std::ofstream(repo / path, std::ios::trunc) << text;
  }
  std::string text_of(const std::string& path) const {
    const auto found = store->fetch(path, 1000);
    return found ? std::string(as_text(*found)) : found.error().message;
  }

  fs::path repo;
  std::unique_ptr<DirectoryStore> store;
};

TEST_F(DirectoryStoreJournalTest, PutsBackWhatAPowerCutTook) {
  const std::string torn = "indexes/" + std::string(64, 'd');
  put(kChunk, "content");
  put(kIndex, "index");
  put(torn, "all of it");
  ASSERT_TRUE(store->flush());
  kill();
  fs::remove_all(repo / "chunks");
  damage(kIndex, "");
  damage(torn, "all of  ");

  store = *open();

  EXPECT_EQ(text_of(kChunk), "content");
  EXPECT_EQ(text_of(kIndex), "index");
  EXPECT_EQ(text_of(torn), "all of it");
  EXPECT_FALSE(fs::exists(dead()));
}

TEST_F(DirectoryStoreJournalTest, LeavesAloneWhatIsWhole) {
  put(kChunk, "content");
  ASSERT_TRUE(store->flush());
  kill();
  fs::last_write_time(repo / kChunk, fs::file_time_type() + 1h);
  store = *open();
  EXPECT_EQ(fs::last_write_time(repo / kChunk), fs::file_time_type() + 1h);
}

TEST_F(DirectoryStoreJournalTest, PutsBackAHintOverAnOlderOneOnly) {
  put(kPrior, "journalled");
  ASSERT_TRUE(store->flush());
  const auto age = fs::last_write_time(repo / kPrior);
  kill();
  const fs::path kept = repo / "kept";
  fs::copy_file(dead() / "0.journal", kept);

  damage(kPrior, "newer");
  fs::last_write_time(repo / kPrior, age + 1s);
  store = *open();
  EXPECT_EQ(text_of(kPrior), "newer");

  store.reset();
  fs::create_directories(dead());
  fs::rename(kept, dead() / "0.journal");
  fs::last_write_time(repo / kPrior, age - 1s);
  store = *open();
  EXPECT_EQ(text_of(kPrior), "journalled");
}

TEST_F(DirectoryStoreJournalTest, DropsWhatWasNeverAcknowledged) {
  put(kChunk, "first");
  ASSERT_TRUE(store->flush());
  put(kIndex, "second");
  ASSERT_TRUE(store->flush());
  kill();
  fs::resize_file(dead() / "0.journal", fs::file_size(dead() / "0.journal") - 400);
  fs::remove_all(repo / "chunks");
  fs::remove_all(repo / "indexes");

  store = *open();

  EXPECT_EQ(text_of(kChunk), "first");
  EXPECT_FALSE(store->contains(kIndex));
  EXPECT_FALSE(fs::exists(dead()));
}

TEST_F(DirectoryStoreJournalTest, DoesNotTouchTheJournalOfWhoLives) {
  put(kChunk, "content");
  ASSERT_TRUE(store->flush());
  damage(kChunk, "torn");
  const auto other = open();
  ASSERT_TRUE(other);
  EXPECT_EQ(journals().size(), 1u);
  EXPECT_EQ(text_of(kChunk), "torn");
}

TEST_F(DirectoryStoreJournalTest, RefusesToOpenOverForeignGarbage) {
  store.reset();
  fs::create_directories(dead());
  std::ofstream(dead() / "1.journal") << "no journal";
  std::ofstream(dead() / "7") << "half a chunk";

  const auto opened = open();

  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(opened.error().message.find((dead() / "1.journal").string()), std::string::npos)
      << opened.error().message;
  EXPECT_TRUE(fs::exists(dead() / "7"));
  EXPECT_TRUE(DirectoryStore::open(repo, Mode::kReadOnly));
  fs::remove(dead() / "1.journal");
  EXPECT_TRUE(open());
  EXPECT_FALSE(fs::exists(dead()));
}

TEST_F(DirectoryStoreJournalTest, RefusesAJournalThatIsALinkOrTooLarge) {
  store.reset();
  fs::create_directories(dead());
  std::ofstream(repo / "outside") << "x";
  fs::create_symlink(repo / "outside", dead() / "0.journal");
  EXPECT_EQ(open().error().code, ErrorCode::kDenied);
  fs::remove(dead() / "0.journal");
  fs::copy_file(repo / "outside", dead() / "0.journal");
  fs::resize_file(dead() / "0.journal", kJournalBytesMax + 1);
  EXPECT_EQ(open().error().code, ErrorCode::kTooLarge);
}

TEST_F(DirectoryStoreJournalTest, AReaderPutsNothingBack) {
  put(kChunk, "content");
  ASSERT_TRUE(store->flush());
  kill();
  damage(kChunk, "torn");
  const auto reader = DirectoryStore::open(repo, Mode::kReadOnly);
  EXPECT_EQ(as_text(*(*reader)->fetch(kChunk, 100)), "torn");
  EXPECT_TRUE(fs::exists(dead() / "0.journal"));
}

TEST_F(DirectoryStoreJournalTest, NoJournalBringsBackWhatWasRemoved) {
  put(kChunk, "content");
  ASSERT_TRUE(store->flush());
  EXPECT_EQ(store->remove(kChunk, Nanos::max()), true);
  ASSERT_TRUE(store->flush());
  kill();
  store = *open();
  EXPECT_FALSE(store->contains(kChunk));
}

TEST_F(DirectoryStoreJournalTest, ClosesWithoutAJournal) {
  put(kChunk, "content");
  put("images/a.json", "{}");
  ASSERT_TRUE(store->flush());
  store.reset();
  EXPECT_TRUE(fs::is_empty(repo / "tmp"));
}

}  // namespace
}  // namespace forerun::net
