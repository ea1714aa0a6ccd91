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
