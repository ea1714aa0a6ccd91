#include "repository/layered_store.h"

#include <gmock/gmock.h>

#include "repository/memory_store.h"

namespace forerun::repository {
namespace {

Buffer bytes(std::string_view text) {
  const ByteView view = as_bytes(text);
  return Buffer(view.begin(), view.end());
}

// Answers nothing: away.
class Away final : public Source {
 public:
  Result<Buffer> fetch(const std::string&, size_t) override {
    return fail(ErrorCode::kUnavailable, "away");
  }
  Result<std::vector<std::string>> list_images() override {
    return fail(ErrorCode::kUnavailable, "away");
  }
  std::string_view name() const override { return "away"; }
};

TEST(LayeredStore, TakesFromTheFirstThatHasItAndPutsInFront) {
  MemoryStore front, far;
  ASSERT_TRUE(far.put("components/a", bytes("far a")));
  ASSERT_TRUE(far.put("components/b", bytes("far b")));
  LayeredStore store(front, {&far, &front});
  ASSERT_TRUE(store.put("components/a", bytes("front a")));
  EXPECT_EQ(*store.fetch("components/a", 100), bytes("front a"));
  EXPECT_EQ(*store.fetch("components/b", 100), bytes("far b"));
  EXPECT_FALSE(store.contains("components/b"));
  EXPECT_EQ(*far.fetch("components/a", 100), bytes("far a"));
}

TEST(LayeredStore, KeepsComponentIndexesThatAreWhatTheirNamesSay) {
  MemoryStore front, far, keep;
  const std::string right = "components/" + sha256(bytes("index")).hex();
  const std::string wrong = "components/" + sha256(bytes("another")).hex();
  ASSERT_TRUE(far.put(right, bytes("index")));
  ASSERT_TRUE(far.put(wrong, bytes("index")));
  ASSERT_TRUE(far.put("component-tags/a.json", bytes("{}")));
  LayeredStore store(front, {&far}, &keep);
  for (const std::string& path : {right, wrong, std::string("component-tags/a.json")})
    EXPECT_TRUE(store.fetch(path, 100));
  EXPECT_EQ(keep.history(), std::vector{right});
  EXPECT_TRUE(store.contains(right));
  far.spoil(right, {});
  EXPECT_EQ(*store.fetch(right, 100), bytes("index"));
  EXPECT_FALSE(store.contains(wrong));
}

TEST(LayeredStore, WhatIsNowhereIsNotFoundUnlessSomebodyIsAway) {
  MemoryStore front, far;
  Away away;
  EXPECT_EQ(LayeredStore(front, {&far}).fetch("x", 10).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(LayeredStore(front, {&far, &away}).fetch("x", 10).error().code,
            ErrorCode::kUnavailable);
  EXPECT_EQ(LayeredStore(front, {&away, &far}).fetch("x", 10).error().code,
            ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace forerun::repository
