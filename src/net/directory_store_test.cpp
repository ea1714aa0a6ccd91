#include "net/directory_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "repository/image_index.h"

namespace forerun::net {
namespace {

namespace fs = std::filesystem;
using Mode = DirectoryStore::Mode;

struct DirectoryStoreTest : testing::Test {
  DirectoryStoreTest() {
    std::string pattern = testing::TempDir() + "forerun-store-XXXXXX";
    root = mkdtemp(pattern.data());
    store = open(Mode::kReadWrite);
  }
  ~DirectoryStoreTest() override {
    store.reset();
    fs::remove_all(root);
  }
  std::unique_ptr<DirectoryStore> open(Mode mode) const {
    auto opened = DirectoryStore::open(root / "repo", mode);
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }
  void write(const fs::path& path, std::string_view text) const {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::string list_file() const {
    std::ifstream in(root / "repo/images.json");
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t files_under(std::string_view folder) const {
    size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root / "repo" / folder))
      count += entry.is_regular_file();
    return count;
  }

  fs::path root;
  std::unique_ptr<DirectoryStore> store;
};

TEST_F(DirectoryStoreTest, GivesBackWhatWasPut) {
  ASSERT_TRUE(store->put("chunks/ab/abcd", as_bytes("content")));
  ASSERT_TRUE(store->flush());
  EXPECT_TRUE(store->contains("chunks/ab/abcd"));
  EXPECT_EQ(as_text(*open(Mode::kReadOnly)->fetch("chunks/ab/abcd", 7)), "content");
}

TEST_F(DirectoryStoreTest, ReplacesWhole) {
  ASSERT_TRUE(store->put("a", as_bytes("a long first version")));
  ASSERT_TRUE(store->put("a", as_bytes("second")));
  EXPECT_EQ(as_text(*store->fetch("a", 100)), "second");
}

TEST_F(DirectoryStoreTest, HoldsTheLimit) {
  ASSERT_TRUE(store->put("a", as_bytes("12345")));
  EXPECT_TRUE(store->fetch("a", 5));
  EXPECT_EQ(store->fetch("a", 4).error().code, ErrorCode::kTooLarge);
}

TEST_F(DirectoryStoreTest, SaysWhatIsMissing) {
  EXPECT_EQ(store->fetch("chunks/ab/abcd", 10).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(store->contains("chunks/ab/abcd"));
  EXPECT_EQ(DirectoryStore::open(root / "none", Mode::kReadOnly).error().code,
            ErrorCode::kNotFound);
}

TEST_F(DirectoryStoreTest, NeverLeavesItsFolder) {
  write(root / "secret", "secret");
  for (const char* path :
       {"../secret", "chunks/../../secret", "/etc/hostname", "a//b", "./a", ""}) {
    EXPECT_EQ(store->fetch(path, 1000).error().code, ErrorCode::kInvalid) << path;
    EXPECT_EQ(store->put(path, {}).error().code, ErrorCode::kInvalid) << path;
    EXPECT_FALSE(store->contains(path)) << path;
  }
}

TEST_F(DirectoryStoreTest, FollowsNoLinks) {
  write(root / "outside/secret", "secret");
  fs::create_symlink(root / "outside/secret", root / "repo/file");
  fs::create_directory_symlink(root / "outside", root / "repo/chunks");
  EXPECT_EQ(store->fetch("file", 100).error().code, ErrorCode::kDenied);
  EXPECT_EQ(store->fetch("chunks/secret", 100).error().code, ErrorCode::kDenied);
  EXPECT_EQ(store->put("chunks/new", as_bytes("x")).error().code, ErrorCode::kDenied);
  EXPECT_FALSE(store->contains("file"));
  EXPECT_FALSE(store->contains("chunks/secret"));
  EXPECT_FALSE(fs::exists(root / "outside/new"));
}

TEST_F(DirectoryStoreTest, ReplacesALinkInsteadOfWritingThroughIt) {
  write(root / "outside", "untouched");
  fs::create_symlink(root / "outside", root / "repo/file");
  ASSERT_TRUE(store->put("file", as_bytes("new")));
  EXPECT_EQ(as_text(*store->fetch("file", 100)), "new");
  EXPECT_EQ(fs::file_size(root / "outside"), 9u);
}

TEST_F(DirectoryStoreTest, DoesNotHangOnAFifo) {
  ASSERT_EQ(mkfifo((root / "repo/fifo").c_str(), 0600), 0);
  EXPECT_EQ(store->fetch("fifo", 100).error().code, ErrorCode::kDenied);
  EXPECT_EQ(store->fetch("images", 100).error().code, ErrorCode::kNotFound);
}

TEST_F(DirectoryStoreTest, RefusesWritesWhenOpenForReading) {
  EXPECT_EQ(open(Mode::kReadOnly)->put("a", {}).error().code, ErrorCode::kDenied);
}

TEST_F(DirectoryStoreTest, KeepsAListOfImages) {
  EXPECT_TRUE(store->list_images()->empty());
  for (const char* name : {"b", "a-b", "a"}) {
    ASSERT_TRUE(store->put(repository::image_path(name), as_bytes("{}")));
  }
  write(root / "repo/images/notes.txt", "not a tag");
  const std::vector<std::string> expected{"a", "a-b", "b"};
  EXPECT_EQ(*store->list_images(), expected);
  EXPECT_EQ(*repository::parse_image_list(list_file()), expected);
}

TEST_F(DirectoryStoreTest, ListsEveryImageOfImportersSideBySide) {
  auto import_four = [this](char first) {
    const auto mine = open(Mode::kReadWrite);
    for (int i = 0; i < 4; ++i)
      EXPECT_TRUE(mine->put(repository::image_path(fmt::format("{}{}", first, i)), {}));
  };
  std::thread other([&] { import_four('a'); });
  import_four('b');
  other.join();
  EXPECT_EQ(repository::parse_image_list(list_file())->size(), 8u);
}

TEST_F(DirectoryStoreTest, LeavesNoTemporaryFiles) {
  ASSERT_TRUE(store->put("a", as_bytes("x")));
  EXPECT_EQ(files_under("tmp"), 0u);
  store.reset();
  EXPECT_TRUE(fs::is_empty(root / "repo/tmp"));
}

TEST_F(DirectoryStoreTest, RemovesWhatAKilledImporterLeftButNotALiveOnes) {
  const auto live = open(Mode::kReadWrite);
  ASSERT_TRUE(live->put("a", as_bytes("x")));  // holds its folder under tmp/
  write(root / "repo/tmp/0123456789abcdef/7", "half a chunk");
  store.reset();
  store = open(Mode::kReadWrite);
  EXPECT_EQ(files_under("tmp"), 0u);
  ASSERT_TRUE(live->put("c", as_bytes("x")));
  EXPECT_EQ(as_text(*store->fetch("c", 1)), "x");
}

TEST_F(DirectoryStoreTest, LetsAWebServerRead) {
  ASSERT_TRUE(store->put("chunks/ab/abcd", as_bytes("x")));
  EXPECT_EQ(fs::status(root / "repo/chunks/ab").permissions() & fs::perms::others_exec,
            fs::perms::others_exec);
  EXPECT_EQ(fs::status(root / "repo/chunks/ab/abcd").permissions() & fs::perms::others_read,
            fs::perms::others_read);
}

TEST_F(DirectoryStoreTest, TakesPutsFromManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(
            store->put(fmt::format("chunks/{:02x}/c", i), as_bytes(fmt::format("{} by {}", i, t))));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(files_under("chunks"), 20u);
  EXPECT_EQ(as_text(*store->fetch("chunks/13/c", 100)).substr(0, 6), "19 by ");
}

// Sets the object's age behind the store's back.
void make_old(const fs::path& file, std::chrono::hours age) {
  fs::last_write_time(file, fs::last_write_time(file) - age);
}

std::set<std::string> paths_in(DirectoryStore& store, const std::string& folder) {
  std::set<std::string> paths;
  EXPECT_TRUE(store.list(folder, [&](const repository::ObjectInfo& object) {
    paths.insert(object.path);
    return Status{};
  }));
  return paths;
}

TEST_F(DirectoryStoreTest, ListsItsObjectsWithSizeAndTime) {
  ASSERT_TRUE(store->put("chunks/ab/abcd", as_bytes("content")));
  ASSERT_TRUE(store->put("chunks/cd/cdef", as_bytes("x")));
  ASSERT_TRUE(store->put("indexes/1", as_bytes("y")));
  write(root / "repo/chunks/cd/-no object", "z");
  fs::create_symlink("abcd", root / "repo/chunks/ab/link");
  const auto now = store->now();
  ASSERT_TRUE(now);

  EXPECT_EQ(paths_in(*store, "chunks"),
            (std::set<std::string>{"chunks/ab/abcd", "chunks/cd/cdef"}));
  EXPECT_EQ(paths_in(*store, "chunks/cd"), (std::set<std::string>{"chunks/cd/cdef"}));
  EXPECT_TRUE(paths_in(*store, "priors").empty());
  ASSERT_TRUE(store->list("indexes", [&](const repository::ObjectInfo& object) {
    EXPECT_EQ(object.size_bytes, 1u);
    EXPECT_LE(object.renewed, *now);
    EXPECT_GT(object.renewed, *now - 1h);
    return Status{};
  }));
}

TEST_F(DirectoryStoreTest, RemovesOnlyWhatIsOldEnough) {
  ASSERT_TRUE(store->put("indexes/old", as_bytes("x")));
  ASSERT_TRUE(store->put("indexes/young", as_bytes("x")));
  make_old(root / "repo/indexes/old", std::chrono::hours(2));
  const auto now = store->now();
  ASSERT_TRUE(now);

  EXPECT_EQ(store->remove("indexes/old", *now - 1h), true);
  EXPECT_EQ(store->remove("indexes/young", *now - 1h), false);
  EXPECT_EQ(store->remove("indexes/none", *now), false);
  EXPECT_EQ(store->remove("nothing/here", *now), false);

  EXPECT_EQ(paths_in(*store, "indexes"), (std::set<std::string>{"indexes/young"}));
  EXPECT_TRUE(store->flush());
}

TEST_F(DirectoryStoreTest, FlushesBesideARemoval) {
  ASSERT_TRUE(store->flush());  // the first one is of the whole file system
  ASSERT_TRUE(store->put("indexes/gone", as_bytes("x")));
  ASSERT_TRUE(store->put("indexes/kept", as_bytes("x")));
  // Another process's, so this store does not hear of it.
  EXPECT_EQ(open(Mode::kReadWrite)->remove("indexes/gone", repository::StoreTime::max()), true);
  const Status flushed = store->flush();
  EXPECT_TRUE(flushed) << flushed.error().message;
  EXPECT_TRUE(store->contains("indexes/kept"));
}

TEST_F(DirectoryStoreTest, RenewedObjectsAreYoung) {
  ASSERT_TRUE(store->put("indexes/old", as_bytes("x")));
  make_old(root / "repo/indexes/old", std::chrono::hours(2));
  const auto now = store->now();

  ASSERT_TRUE(store->renew("indexes/old"));

  EXPECT_EQ(store->remove("indexes/old", *now - 1h), false);
  EXPECT_EQ(store->renew("indexes/none").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store->renew("nothing/here").error().code, ErrorCode::kNotFound);
}

TEST_F(DirectoryStoreTest, LinksToAnothersObjects) {
  const std::string path = "chunks/ab/" + std::string(64, 'a');
  ASSERT_TRUE(store->put(path, as_bytes("content")));
  auto other = DirectoryStore::open(root / "other", Mode::kReadWrite);
  ASSERT_TRUE(other);
  for (int again = 0; again < 2; ++again) {
    const auto linked = (*other)->link(*store, path);
    ASSERT_TRUE(linked) << linked.error().message;
    EXPECT_TRUE(*linked);
  }
  ASSERT_TRUE((*other)->flush());
  EXPECT_EQ(fs::hard_link_count(root / "other" / path), 2u);
  EXPECT_EQ(as_text(*(*other)->fetch(path, 100)), "content");
  // A put replaces the name, not what both share.
  ASSERT_TRUE((*other)->put(path, as_bytes("mended")));
  EXPECT_EQ(as_text(*store->fetch(path, 100)), "content");
  EXPECT_FALSE(*(*other)->link(*store, "chunks/ab/none"));
  other->reset();
  EXPECT_TRUE(fs::is_empty(root / "other/tmp"));
}

TEST_F(DirectoryStoreTest, RemovingATagTakesItOffTheList) {
  ASSERT_TRUE(store->put("images/a.json", as_bytes("{}")));
  ASSERT_TRUE(store->put("images/b.json", as_bytes("{}")));

  EXPECT_EQ(store->remove("images/a.json", *store->now() + 1h), true);

  EXPECT_EQ(*repository::parse_image_list(list_file()), (std::vector<std::string>{"b"}));
}

TEST_F(DirectoryStoreTest, OpenForReadingRemovesAndRenewsNothing) {
  ASSERT_TRUE(store->put("indexes/1", as_bytes("x")));
  const auto reader = open(Mode::kReadOnly);

  EXPECT_EQ(reader->remove("indexes/1", Nanos::max()).error().code, ErrorCode::kDenied);
  EXPECT_EQ(reader->renew("indexes/1").error().code, ErrorCode::kDenied);
  EXPECT_EQ(reader->now().error().code, ErrorCode::kDenied);
  EXPECT_TRUE(reader->contains("indexes/1"));
}

// Whoever loses the race knows it: a renewal that succeeds keeps the object.
TEST_F(DirectoryStoreTest, RenewalAndRemovalDoNotBothSucceed) {
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(store->put("indexes/1", as_bytes("x")));
    make_old(root / "repo/indexes/1", std::chrono::hours(2));
    const auto now = store->now();
    const auto other = open(Mode::kReadWrite);
    bool is_renewed = false;
    std::thread renewer([&] { is_renewed = other->renew("indexes/1").has_value(); });
    const auto is_removed = store->remove("indexes/1", *now - 1h);
    renewer.join();
    ASSERT_TRUE(is_removed);
    ASSERT_NE(*is_removed, is_renewed);
    ASSERT_EQ(store->contains("indexes/1"), is_renewed);
  }
}

}  // namespace
}  // namespace forerun::net
