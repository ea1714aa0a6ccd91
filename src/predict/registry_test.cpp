#include "predict/registry.h"

#include <gtest/gtest.h>

namespace forerun::predict {
namespace {

TEST(Registry, MakesEveryModelUnderItsName) {
  for (const std::string_view name : model_names()) {
    const auto model = make_model(name, {});
    ASSERT_TRUE(model.has_value()) << name;
    EXPECT_EQ((*model)->name(), name);
  }
}

TEST(Registry, MakesTheDefaultOnesWhenNoneIsNamed) {
  const auto models = make_models({}, {});
  ASSERT_TRUE(models.has_value());
  EXPECT_EQ(models->size(), default_model_names().size());
  EXPECT_EQ(models->back()->name(), default_model_names().back());
}

TEST(Registry, RefusesUnknownAndRepeatedNames) {
  const std::vector<std::string> unknown{"oracle"}, repeated{"stride", "stride"};
  EXPECT_EQ(make_models(unknown, {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(make_models(repeated, {}).error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace forerun::predict
