// S3Store against a real service: the contract of repository::Store, and what only S3 can get
// wrong. s3_test.py runs it, with FORERUN_S3_ENDPOINT, …_BUCKET, …_KEY, …_SECRET
// and more of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <set>
#include <thread>

#include "net/s3_store.h"
#include "os/clock.h"
#include "repository/fetch.h"
#include "repository/gc.h"
#include "repository/put_chunk.h"
#include "repository/store_fixture.h"
#include "repository/verify.h"

namespace forerun {
namespace {

using namespace repository::testing;
using net::S3Store;
using repository::StoreTime;
using testing::HasSubstr;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A second is S3's unit of age: what was put before this is older than what comes after.
void wait_for_the_next_seconds() { std::this_thread::sleep_for(2100ms); }

struct S3Contract : testing::Test {
  S3Contract() : store(open(options())) {}

  // Each test has a repository of its own in the bucket.
  static net::S3Options options() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    net::S3Options with;
    with.endpoint = environment("FORERUN_S3_ENDPOINT");
    with.bucket = environment("FORERUN_S3_BUCKET");
    with.prefix = fmt::format("{}/{}", test->name(), ::getpid());
    with.credentials = {environment("FORERUN_S3_KEY"), environment("FORERUN_S3_SECRET"), ""};
    with.unix_seconds = os::unix_seconds;
    return with;
  }
  static std::unique_ptr<S3Store> open(net::S3Options with) {
    auto opened = S3Store::create(std::move(with));
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }
  std::set<std::string> paths_in(const std::string& folder) {
    std::set<std::string> paths;
    const Status listed = store->list(folder, [&](const repository::ObjectInfo& object) {
      EXPECT_TRUE(paths.insert(object.path).second) << object.path;
      return Status{};
    });
    EXPECT_TRUE(listed) << listed.error().message;
    return paths;
  }
  std::vector<std::string> listed_images() {
    const auto list = store->fetch("images.json", kMiB);
    if (!list) return {"none"};
    return *repository::parse_image_list(as_text(*list));
  }

  std::unique_ptr<S3Store> store;
};

TEST_F(S3Contract, GivesBackWhatWasPut) {
  ASSERT_TRUE(store->put("chunks/ab/abcd", as_bytes("content")));
  ASSERT_TRUE(store->put("empty", {}));
  ASSERT_TRUE(store->flush());
  EXPECT_TRUE(store->contains("chunks/ab/abcd"));
  EXPECT_EQ(as_text(*open(options())->fetch("chunks/ab/abcd", 7)), "content");
  EXPECT_TRUE(store->fetch("empty", 0)->empty());
}

TEST_F(S3Contract, ReplacesWhole) {
  ASSERT_TRUE(store->put("a", as_bytes("a long first version")));
  ASSERT_TRUE(store->put("a", as_bytes("second")));
  EXPECT_EQ(as_text(*store->fetch("a", 100)), "second");
}

TEST_F(S3Contract, HoldsTheLimit) {
  ASSERT_TRUE(store->put("a", as_bytes("12345")));
  EXPECT_TRUE(store->fetch("a", 5));
  EXPECT_EQ(store->fetch("a", 4).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(as_text(*store->fetch("a", 5)), "12345");  // the connection is as good as before
}

TEST_F(S3Contract, SaysWhatIsMissing) {
  const auto none = store->fetch("chunks/ab/abcd", 10);
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(none.error().message,
              HasSubstr("/chunks/ab/abcd: the service answers 404 NoSuchKey"));
  EXPECT_FALSE(store->contains("chunks/ab/abcd"));
  EXPECT_EQ(store->renew("chunks/ab/abcd").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store->remove("chunks/ab/abcd", *store->now()), false);
  EXPECT_TRUE(paths_in("chunks").empty());
  EXPECT_TRUE(store->list_images()->empty());
}

TEST_F(S3Contract, KeepsAListOfImages) {
  for (const char* name : {"b", "a-b", "a"})
    ASSERT_TRUE(store->put(repository::image_path(name), as_bytes("{}")));
  ASSERT_TRUE(store->put("images/notes.txt", as_bytes("no tag")));
  const std::vector<std::string> expected{"a", "a-b", "b"};
  EXPECT_EQ(*store->list_images(), expected);
  EXPECT_EQ(listed_images(), expected);

  EXPECT_EQ(store->remove("images/a.json", StoreTime::max()), true);
  EXPECT_EQ(listed_images(), (std::vector<std::string>{"a-b", "b"}));
}

TEST_F(S3Contract, ListsEveryImageOfImportersSideBySide) {
  auto import_four = [](char first) {
    const auto mine = open(options());
    for (int i = 0; i < 4; ++i)
      EXPECT_TRUE(mine->put(repository::image_path(fmt::format("{}{}", first, i)), {}));
  };
  std::thread other([&] { import_four('a'); });
  import_four('b');
  other.join();
  EXPECT_EQ(listed_images().size(), 8u);
}

TEST_F(S3Contract, ListsItsObjectsWithSizeAndTime) {
  ASSERT_TRUE(store->put("chunks/ab/abcd", as_bytes("content")));
  ASSERT_TRUE(store->put("chunks/cd/cdef", as_bytes("x")));
  ASSERT_TRUE(store->put("chunks-not/x", as_bytes("x")));
  ASSERT_TRUE(store->put("indexes/1", as_bytes("y")));
  const auto now = store->now();
  ASSERT_TRUE(now) << now.error().message;
  EXPECT_EQ(paths_in("chunks"), (std::set<std::string>{"chunks/ab/abcd", "chunks/cd/cdef"}));
  EXPECT_EQ(paths_in("chunks/cd"), (std::set<std::string>{"chunks/cd/cdef"}));
  EXPECT_TRUE(paths_in("priors").empty());
  EXPECT_TRUE(paths_in("tmp").empty());  // asking for the time leaves nothing
  ASSERT_TRUE(store->list("indexes", [&](const repository::ObjectInfo& object) {
    EXPECT_EQ(object.size_bytes, 1u);
    EXPECT_LE(object.renewed, *now + 1s);
    EXPECT_GT(object.renewed, *now - 1h);
    return Status{};
  }));
}

TEST_F(S3Contract, ListsMoreObjectsThanAPageHolds) {
  std::set<std::string> expected;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2300; ++i) expected.insert(fmt::format("chunks/{:02x}/{:06}", i % 256, i));
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (size_t i = t; i < 2300; i += 4) {
        const Status put = store->put(fmt::format("chunks/{:02x}/{:06}", i % 256, i), {});
        ASSERT_TRUE(put) << put.error().message;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(paths_in("chunks"), expected);
  size_t visited = 0;
  const Status stopped = store->list("chunks", [&](const repository::ObjectInfo&) -> Status {
    return ++visited < 1500 ? Status{} : fail(ErrorCode::kInternal, "enough");
  });
  EXPECT_EQ(stopped.error().message, "enough");
  EXPECT_EQ(visited, 1500u);
}

TEST_F(S3Contract, RemovesOnlyWhatIsOldEnough) {
  ASSERT_TRUE(store->put("indexes/old", as_bytes("x")));
  ASSERT_TRUE(store->put("indexes/renewed", as_bytes("x")));
  ASSERT_TRUE(store->put("indexes/replaced", as_bytes("x")));
  wait_for_the_next_seconds();
  const auto now = store->now();
  ASSERT_TRUE(now) << now.error().message;
  ASSERT_TRUE(store->renew("indexes/renewed"));
  ASSERT_TRUE(store->put("indexes/replaced", as_bytes("y")));
  ASSERT_TRUE(store->put("indexes/young", as_bytes("x")));

  for (const char* name : {"renewed", "replaced", "young"})
    EXPECT_EQ(store->remove(fmt::format("indexes/{}", name), *now), false) << name;
  EXPECT_EQ(store->remove("indexes/old", *now), true);
  EXPECT_EQ(store->remove("indexes/old", *now), false);

  EXPECT_EQ(paths_in("indexes"),
            (std::set<std::string>{"indexes/renewed", "indexes/replaced", "indexes/young"}));
  EXPECT_EQ(as_text(*store->fetch("indexes/renewed", 10)), "x");
  EXPECT_EQ(store->remove("indexes/young", StoreTime::max()), true);
  EXPECT_FALSE(store->contains("indexes/young"));
}

// Whoever loses the race knows it: a renewal or a put that succeeds keeps the object.
TEST_F(S3Contract, RenewalAndRemovalDoNotBothSucceed) {
  constexpr int kRounds = 60;
  for (int i = 0; i < kRounds; ++i)
    ASSERT_TRUE(store->put(fmt::format("indexes/{}", i), as_bytes("x")));
  wait_for_the_next_seconds();
  const auto now = store->now();
  ASSERT_TRUE(now) << now.error().message;
  const auto other = open(options());
  for (int i = 0; i < kRounds; ++i) {
    const std::string path = fmt::format("indexes/{}", i);
    bool is_renewed = false;
    // The removal makes a request before the one that counts: that gives the renewal a start.
    std::thread renewer([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(i * 100));
      is_renewed = other->renew(path).has_value();
    });
    const auto is_removed = store->remove(path, *now);
    renewer.join();
    ASSERT_TRUE(is_removed) << is_removed.error().message;
    ASSERT_NE(*is_removed, is_renewed);
    ASSERT_EQ(store->contains(path), is_renewed);
  }
}

TEST_F(S3Contract, WhatIsPutWhileItIsRemovedIsThere) {
  constexpr int kRounds = 60;
  for (int i = 0; i < kRounds; ++i)
    ASSERT_TRUE(store->put(fmt::format("indexes/{}", i), as_bytes("x")));
  wait_for_the_next_seconds();
  const auto now = store->now();
  ASSERT_TRUE(now) << now.error().message;
  const auto other = open(options());
  for (int i = 0; i < kRounds; ++i) {
    const std::string path = fmt::format("indexes/{}", i);
    std::thread writer([&] { EXPECT_TRUE(other->put(path, as_bytes("x"))); });
    const auto is_removed = store->remove(path, *now);
    writer.join();
    ASSERT_TRUE(is_removed) << is_removed.error().message;
    ASSERT_TRUE(store->contains(path)) << path;
  }
}

// A large object has more parts than its head; renewing must not lose them.
TEST_F(S3Contract, ALargeObjectSurvivesItsRenewal) {
  Buffer large(70 * kMiB);
  for (size_t i = 0; i < large.size(); ++i) large[i] = std::byte(i * 2654435761u >> 13);
  ASSERT_TRUE(store->put("indexes/large", large));
  ASSERT_TRUE(store->put("indexes/large", large));
  ASSERT_TRUE(store->renew("indexes/large"));
  ASSERT_TRUE(store->renew("indexes/large"));
  // The service's own collection of what was overwritten.
  const std::string collect = environment("FORERUN_S3_COLLECT");
  ASSERT_EQ(std::system(collect.c_str()), 0);
  const auto back = store->fetch("indexes/large", large.size());
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(sha256(*back), sha256(large));
}

TEST_F(S3Contract, TakesAndGivesFromManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 20; ++i) {
        const std::string path = fmt::format("chunks/{:02x}/c", i);
        EXPECT_TRUE(store->put(path, as_bytes(fmt::format("{} by {}", i, t))));
        const auto back = store->fetch(path, 100);
        EXPECT_TRUE(back && as_text(*back).starts_with(fmt::format("{} by ", i)));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(paths_in("chunks").size(), 20u);
}

TEST_F(S3Contract, HoldsImagesWholeAndCollectsWhatNoTagLeadsTo) {
  put_image(*store, "kept", "ab.");
  put_image(*store, "gone", "bcd");
  put_chunks(*store, "e");
  ASSERT_EQ(store->remove(repository::image_path("gone"), StoreTime::max()), true);
  wait_for_the_next_seconds();
  ASSERT_TRUE(store->renew(path_of('e')));
  put_chunks(*store, "f");

  const auto progress =
      repository::collect_garbage(*store, repository::image_kinds(), {.grace = 1s});

  ASSERT_TRUE(progress) << progress.error().message;
  EXPECT_EQ(progress->removed_objects, 3u);  // c, d, and the index
  EXPECT_EQ(paths_in("chunks"),
            (std::set<std::string>{path_of('a'), path_of('b'), path_of('e'), path_of('f')}));
  EXPECT_EQ(paths_in("indexes"), (std::set<std::string>{repository::index_path(digest_of("ab."))}));
  const auto index = repository::fetch_index(*store, digest_of("ab."));
  ASSERT_TRUE(index) << index.error().message;
  for (const auto& ref : index->chunks)
    if (!ref.is_zero()) EXPECT_TRUE(repository::fetch_chunk(*store, ref));
}

TEST_F(S3Contract, ChunksArePutOnceAndRepaired) {
  const Buffer content(repository::kChunkSize, std::byte('q'));
  const ChunkId id = sha256(content);
  EXPECT_EQ(repository::put_chunk(*store, id, content, 1)->kind, repository::PutKind::kNew);
  EXPECT_EQ(repository::put_chunk(*store, id, content, 1)->kind, repository::PutKind::kReused);
  ASSERT_TRUE(store->put(repository::chunk_path(id), as_bytes("damaged")));
  EXPECT_EQ(repository::put_chunk(*store, id, content, 1)->kind, repository::PutKind::kRepaired);
  EXPECT_EQ(repository::put_chunk(*store, id, content, 1)->kind, repository::PutKind::kReused);
}

TEST_F(S3Contract, SaysWhyItIsRefused) {
  net::S3Options wrong = options();
  wrong.credentials.secret_access_key = "not-the-secret";
  const auto put = open(wrong)->put("a", as_bytes("x"));
  EXPECT_EQ(put.error().code, ErrorCode::kDenied);
  EXPECT_THAT(put.error().message, HasSubstr("the secret access key is wrong"));
  EXPECT_EQ(open(wrong)->fetch("a", 10).error().code, ErrorCode::kDenied);
  EXPECT_EQ(open(wrong)->list_images().error().code, ErrorCode::kDenied);
  EXPECT_EQ(open(wrong)->renew("a").error().code, ErrorCode::kDenied);
  EXPECT_FALSE(open(wrong)->contains("a"));

  wrong = options();
  wrong.credentials.access_key_id = "nobody";
  EXPECT_THAT(open(wrong)->fetch("a", 10).error().message, HasSubstr("does not know the access"));

  wrong = options();
  wrong.bucket = "no-such-bucket";
  const auto none = open(wrong)->fetch("a", 10);
  EXPECT_EQ(none.error().code, ErrorCode::kDenied);
  EXPECT_THAT(none.error().message, HasSubstr("no such bucket"));

  wrong = options();
  wrong.unix_seconds = [] { return os::unix_seconds() - 3600; };
  EXPECT_THAT(open(wrong)->fetch("a", 10).error().message, HasSubstr("clock differs"));
}

TEST_F(S3Contract, SpeaksTlsToWhomItsAuthorityVouchesFor) {
  std::signal(SIGPIPE, SIG_IGN);
  net::S3Options with = options();
  with.endpoint = environment("FORERUN_S3_TLS_ENDPOINT");
  with.ca_file = environment("FORERUN_S3_CA");
  ASSERT_TRUE(open(with)->put("a", as_bytes("x")));
  EXPECT_EQ(as_text(*store->fetch("a", 10)), "x");
  with.ca_file = "";
  const auto refused = open(with)->fetch("a", 10);
  EXPECT_EQ(refused.error().code, ErrorCode::kDenied);
  EXPECT_THAT(refused.error().message, HasSubstr("certificate"));
}

TEST_F(S3Contract, FindsABucketByItsHostName) {
  ASSERT_TRUE(store->put("a", as_bytes("x")));
  net::S3Options with = options();
  with.is_path_style = false;
  const size_t colon = with.endpoint.rfind(':');
  // Every name below localhost is this host.
  with.endpoint = "http://s3.localhost" + with.endpoint.substr(colon);
  const auto back = open(with)->fetch("a", 10);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(as_text(*back), "x");
  EXPECT_TRUE(open(with)->put("b", as_bytes("y")));
  EXPECT_EQ(open(with)->list_images()->size(), 0u);
}

}  // namespace
}  // namespace forerun
