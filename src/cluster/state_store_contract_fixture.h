// What every StateStore must do; a test program instantiates it with its store.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cluster/state_store.h"

namespace forerun::cluster {

class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual StateStore& store() = 0;
  // Returns once so much time has passed for the store.
  virtual void let_pass(Nanos time) = 0;
  // Of all keys of this test.
  virtual std::string prefix() const = 0;
  // How long an event may take to come.
  virtual Nanos patience() const = 0;
};

using MakeStore = std::unique_ptr<StoreUnderTest> (*)();

class StateStoreContract : public testing::TestWithParam<MakeStore> {
 protected:
  StateStoreContract() : under_test_(GetParam()()), store_(under_test_->store()) {}

  std::string key(const std::string& name) const { return under_test_->prefix() + name; }

  Committed put(const std::string& name, const std::string& value, LeaseId lease = 0) {
    const auto done = store_.commit({{}, {{key(name), value, lease}}});
    EXPECT_TRUE(done.has_value()) << done.error().message;
    return done.value_or(Committed{});
  }
  Committed remove(const std::string& name) {
    const auto done = store_.commit({{}, {{key(name), std::nullopt}}});
    EXPECT_TRUE(done.has_value()) << done.error().message;
    return done.value_or(Committed{});
  }
  std::optional<KeyValue> get(const std::string& name) {
    const auto found = store_.get(key(name));
    EXPECT_TRUE(found.has_value()) << found.error().message;
    return found.value_or(std::nullopt);
  }
  std::vector<std::string> names() {
    const auto listing = store_.list(under_test_->prefix());
    EXPECT_TRUE(listing.has_value()) << listing.error().message;
    std::vector<std::string> names;
    if (listing)
      for (const KeyValue& entry : listing->entries)
        names.push_back(entry.key.substr(under_test_->prefix().size()));
    return names;
  }
  std::unique_ptr<Watch> watch_after(Revision revision) {
    auto watch = store_.watch(under_test_->prefix(), revision);
    EXPECT_TRUE(watch.has_value()) << watch.error().message;
    return std::move(*watch);
  }
  // Returns the next events as "+name=value" and "-name", until there are `count` or none comes.
  std::vector<std::string> events(Watch& watch, size_t count) {
    std::vector<std::string> seen;
    while (seen.size() < count) {
      const auto batch = watch.next(under_test_->patience());
      EXPECT_TRUE(batch.has_value()) << batch.error().message;
      if (!batch || batch->is_compacted || batch->events.empty()) break;
      for (const Event& event : batch->events) {
        const std::string name = event.entry.key.substr(under_test_->prefix().size());
        seen.push_back(event.is_removal ? "-" + name : "+" + name + "=" + event.entry.value);
      }
    }
    return seen;
  }
  LeaseId lease_of(Nanos ttl) {
    const auto lease = store_.grant(ttl);
    EXPECT_TRUE(lease.has_value()) << lease.error().message;
    return lease.value_or(Lease{}).id;
  }

  const std::unique_ptr<StoreUnderTest> under_test_;
  StateStore& store_;
};

using testing::ElementsAre;
using testing::IsEmpty;

TEST_P(StateStoreContract, HasNothingUnderANewPrefix) {
  EXPECT_EQ(get("a"), std::nullopt);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_P(StateStoreContract, TellsWhoMadeAndWhoLastChangedAKey) {
  const Committed made = put("a", "1");
  const Committed changed = put("a", "2");
  EXPECT_GT(changed.revision, made.revision);
  EXPECT_EQ(get("a"), (KeyValue{key("a"), "2", made.revision, changed.revision, 0}));
}

TEST_P(StateStoreContract, MakesAKeyAnewAfterItsRemoval) {
  put("a", "1");
  remove("a");
  EXPECT_EQ(get("a"), std::nullopt);
  const Committed again = put("a", "2");
  EXPECT_EQ(get("a"), (KeyValue{key("a"), "2", again.revision, again.revision, 0}));
}

TEST_P(StateStoreContract, KeepsAnyBytesAndNone) {
  const std::string bytes("\0\xff\n\"\\ä", 7);
  put("bytes", bytes);
  put("empty", "");
  EXPECT_EQ(get("bytes")->value, bytes);
  EXPECT_EQ(get("empty")->value, "");
}

TEST_P(StateStoreContract, ListsWhatBeginsWithAPrefixInOrder) {
  put("b/2", "x");
  put("b/1", "y");
  put("c", "z");
  put("a", "w");
  const auto listing = store_.list(key("b/"));
  ASSERT_TRUE(listing.has_value());
  ASSERT_EQ(listing->entries.size(), 2u);
  EXPECT_EQ(listing->entries[0].key, key("b/1"));
  EXPECT_EQ(listing->entries[1].value, "x");
  EXPECT_GE(listing->revision, get("a")->modified);
}

TEST_P(StateStoreContract, ListsMoreThanOnePage) {
  for (int batch = 0; batch < 20; ++batch) {
    Transaction many;
    for (int i = 0; i < 60; ++i)
      many.changes.push_back({key(fmt::format("many/{:02}{:02}", batch, i)), "v"});
    ASSERT_TRUE(store_.commit(many).has_value());
  }
  const auto listing = store_.list(key("many/"));
  ASSERT_TRUE(listing.has_value());
  ASSERT_EQ(listing->entries.size(), 1200u);
  EXPECT_EQ(listing->entries.front().key, key("many/0000"));
  EXPECT_EQ(listing->entries.back().key, key("many/1959"));
}

TEST_P(StateStoreContract, AppliesAllChangesAsOneRevision) {
  put("old", "1");
  const auto done =
      store_.commit({{}, {{key("a"), "1"}, {key("b"), "2"}, {key("old"), std::nullopt}}});
  ASSERT_TRUE(done.has_value());
  EXPECT_TRUE(done->is_applied);
  EXPECT_EQ(get("a")->modified, done->revision);
  EXPECT_EQ(get("b")->modified, done->revision);
  EXPECT_THAT(names(), ElementsAre("a", "b"));
}

TEST_P(StateStoreContract, LetsOneOfTwoCreateAKey) {
  const Transaction create{{{key("a"), Condition::On::kModified, 0}}, {{key("a"), "mine"}}};
  const auto first = store_.commit(create);
  const auto second = store_.commit(create);
  EXPECT_TRUE(first->is_applied);
  EXPECT_FALSE(second->is_applied);
  EXPECT_EQ(get("a")->created, first->revision);
}

TEST_P(StateStoreContract, SwapsOnlyTheRevisionThatWasRead) {
  const Revision read = put("a", "1").revision;
  put("a", "2");
  const auto stale =
      store_.commit({{{key("a"), Condition::On::kModified, read}}, {{key("a"), "3"}}});
  EXPECT_FALSE(stale->is_applied);
  EXPECT_EQ(get("a")->value, "2");
  const auto fresh = store_.commit(
      {{{key("a"), Condition::On::kModified, get("a")->modified}}, {{key("a"), "3"}}});
  EXPECT_TRUE(fresh->is_applied);
}

TEST_P(StateStoreContract, FencesByTheRevisionThatMadeAKey) {
  const Revision token = put("leader", "h1").revision;
  put("leader", "h1, still");
  const Transaction act{{{key("leader"), Condition::On::kCreated, token}}, {{key("plan"), "1"}}};
  EXPECT_TRUE(store_.commit(act)->is_applied);
  remove("leader");
  EXPECT_FALSE(store_.commit(act)->is_applied);
  put("leader", "h2");
  EXPECT_FALSE(store_.commit(act)->is_applied);
}

TEST_P(StateStoreContract, ChangesNothingUnlessAllConditionsHold) {
  put("a", "1");
  const auto done = store_.commit({{{key("a"), Condition::On::kModified, get("a")->modified},
                                    {key("b"), Condition::On::kModified, 7}},
                                   {{key("a"), "2"}, {key("c"), "3"}}});
  EXPECT_FALSE(done->is_applied);
  EXPECT_EQ(get("a")->value, "1");
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_P(StateStoreContract, RefusesWhatIsBeyondItsLimits) {
  const auto code = [&](const Transaction& bad) {
    const auto done = store_.commit(bad);
    return done ? ErrorCode::kInternal : done.error().code;
  };
  EXPECT_EQ(code({}), ErrorCode::kInvalid);
  EXPECT_EQ(code({{}, {{"", "x"}}}), ErrorCode::kInvalid);
  EXPECT_EQ(code({{}, {{"a\nb", "x"}}}), ErrorCode::kInvalid);
  EXPECT_EQ(code({{}, {{key("a"), "x"}, {key("a"), "y"}}}), ErrorCode::kInvalid);
  EXPECT_EQ(code({{}, {{std::string(kKeyBytesMax + 1, 'k'), "x"}}}), ErrorCode::kTooLarge);
  EXPECT_EQ(code({{}, {{key("a"), std::string(kValueBytesMax + 1, 'v')}}}), ErrorCode::kTooLarge);
  Transaction many;
  for (size_t i = 0; i <= kTransactionChangesMax; ++i)
    many.changes.push_back({key(std::to_string(i)), "x"});
  EXPECT_EQ(code(many), ErrorCode::kTooLarge);
}

TEST_P(StateStoreContract, TakesTheLargestValue) {
  const std::string large(kValueBytesMax, 'v');
  EXPECT_TRUE(put("large", large).is_applied);
  EXPECT_EQ(get("large")->value, large);
}

TEST_P(StateStoreContract, RemovesTheKeysOfALeaseThatEnds) {
  const LeaseId lease = lease_of(std::chrono::seconds(2));
  put("held", "1", lease);
  put("free", "2");
  EXPECT_EQ(get("held")->lease, lease);
  under_test_->let_pass(std::chrono::seconds(4));
  EXPECT_THAT(names(), ElementsAre("free"));
  const auto late = store_.keep_alive(lease);
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code, ErrorCode::kNotFound);
}

TEST_P(StateStoreContract, KeepsTheKeysOfALeaseThatIsKeptAlive) {
  const LeaseId lease = lease_of(std::chrono::seconds(2));
  put("held", "1", lease);
  for (int beat = 0; beat < 4; ++beat) {
    under_test_->let_pass(std::chrono::seconds(1));
    const auto kept = store_.keep_alive(lease);
    ASSERT_TRUE(kept.has_value()) << kept.error().message;
    EXPECT_GE(*kept, std::chrono::seconds(2));
  }
  EXPECT_THAT(names(), ElementsAre("held"));
}

TEST_P(StateStoreContract, RevokesALeaseWithItsKeys) {
  const LeaseId lease = lease_of(std::chrono::seconds(60));
  put("a", "1", lease);
  put("b", "2", lease);
  EXPECT_TRUE(store_.revoke(lease).has_value());
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_EQ(store_.revoke(lease).error().code, ErrorCode::kNotFound);
}

TEST_P(StateStoreContract, FreesAKeyThatIsPutWithoutItsLease) {
  const LeaseId lease = lease_of(std::chrono::seconds(60));
  put("a", "1", lease);
  put("a", "2");
  EXPECT_TRUE(store_.revoke(lease).has_value());
  EXPECT_EQ(get("a")->value, "2");
}

TEST_P(StateStoreContract, RefusesALeaseThatIsNone) {
  const auto put_under = store_.commit({{}, {{key("a"), "1", 4711}}});
  ASSERT_FALSE(put_under.has_value());
  EXPECT_EQ(put_under.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_.grant(std::chrono::milliseconds(10)).error().code, ErrorCode::kInvalid);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_P(StateStoreContract, ShowsAWatchWhatCameAfterARevision) {
  const Revision before = put("a", "0").revision;
  put("a", "1");
  put("b", "2");
  remove("a");
  const auto watch = watch_after(before);
  EXPECT_THAT(events(*watch, 3), ElementsAre("+a=1", "+b=2", "-a"));
  put("b", "3");
  EXPECT_THAT(events(*watch, 1), ElementsAre("+b=3"));
}

TEST_P(StateStoreContract, ShowsAWatchItsPrefixOnly) {
  const Revision before = put("a/1", "0").revision;
  auto watch = store_.watch(key("b/"), before);
  ASSERT_TRUE(watch.has_value());
  put("a/1", "1");
  put("b/1", "2");
  put("c", "3");
  put("b/2", "4");
  EXPECT_THAT(events(**watch, 2), ElementsAre("+b/1=2", "+b/2=4"));
}

TEST_P(StateStoreContract, GoesOnFromTheRevisionOfTheLastEvent) {
  const Revision before = put("a", "0").revision;
  put("a", "1");
  put("a", "2");
  Revision seen = 0;
  {
    const auto first = watch_after(before);
    const auto batch = first->next(under_test_->patience());
    ASSERT_TRUE(batch.has_value());
    ASSERT_FALSE(batch->events.empty());
    seen = batch->events.front().entry.modified;
  }
  const auto second = watch_after(seen);
  EXPECT_THAT(events(*second, 1), ElementsAre("+a=2"));
}

TEST_P(StateStoreContract, ShowsAWatchTheKeysThatALeaseTookAlong) {
  const LeaseId lease = lease_of(std::chrono::seconds(60));
  put("a", "1", lease);
  const Revision before = put("b", "2", lease).revision;
  const auto watch = watch_after(before);
  ASSERT_TRUE(store_.revoke(lease).has_value());
  EXPECT_THAT(events(*watch, 2), testing::UnorderedElementsAre("-a", "-b"));
}

TEST_P(StateStoreContract, SaysWhatAWatchCannotShowAnyMore) {
  const Revision first = put("a", "0").revision;
  Revision last = 0;
  for (int i = 1; i < 6; ++i) last = put("a", std::to_string(i)).revision;
  ASSERT_TRUE(store_.compact(last).has_value());
  const auto watch = watch_after(first);
  const auto batch = watch->next(under_test_->patience());
  ASSERT_TRUE(batch.has_value()) << batch.error().message;
  EXPECT_TRUE(batch->is_compacted);
  EXPECT_EQ(get("a")->value, "5");
  const auto fresh = watch_after(last);
  put("a", "6");
  EXPECT_THAT(events(*fresh, 1), ElementsAre("+a=6"));
}

TEST_P(StateStoreContract, RefusesToForgetWhatIsToCome) {
  const Revision last = put("a", "0").revision;
  const Status done = store_.compact(last + 1'000'000);
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code, ErrorCode::kInvalid);
}

TEST_P(StateStoreContract, EndsAWatchThatIsStopped) {
  const auto watch = watch_after(put("a", "0").revision);
  watch->stop();
  const auto batch = watch->next(std::chrono::hours(1));
  ASSERT_FALSE(batch.has_value());
  EXPECT_EQ(batch.error().code, ErrorCode::kUnavailable);
}

}  // namespace forerun::cluster
