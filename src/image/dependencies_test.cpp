#include "image/dependencies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/stored_components.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct DependenciesTest : testing::Test {
  DependenciesTest() {
    put_component(store, {.name = "debian-12", .function = "base", .provides = {"debian"}},
                  {{"/base", ""}});
    put_component(store, {.name = "debian-11", .function = "base"}, {{"/old", ""}});
  }

  void put(const std::string& name, std::vector<std::string> depends,
           std::vector<std::string> provides = {}) {
    put_component(store,
                  {.name = name, .depends = std::move(depends), .provides = std::move(provides)},
                  {{"/" + name, name}});
  }

  // Returns the components' names in order, or the error.
  std::vector<std::string> names(const std::vector<std::string>& components,
                                 bool allow_other_base = false) {
    const auto resolved = resolve(components, allow_other_base);
    if (!resolved) return {resolved.error().message};
    std::vector<std::string> names;
    for (const auto& component : *resolved) names.push_back(component.wish.name);
    return names;
  }

  Result<std::vector<ResolvedComponent>> resolve(const std::vector<std::string>& components,
                                                 bool allow_other_base = false) {
    Manifest manifest;
    manifest.base.name = "debian-12";
    manifest.allow_other_base = allow_other_base;
    for (const std::string& name : components) manifest.components.push_back({name, {}});
    FR_TRY(const Manifest pinned, pin_manifest(manifest, store));
    return resolve_components(pinned, store);
  }

  repository::MemoryStore store;
};

TEST_F(DependenciesTest, AreAddedInFrontOfWhatNeedsThem) {
  put("app", {"debian-12", "web", "cache"});
  put("web", {"lib"});
  put("cache", {"debian", "lib"});
  put("lib", {});
  EXPECT_THAT(names({"app"}), ElementsAre("debian-12", "lib", "cache", "web", "app"));
  EXPECT_THAT(names({"app", "web"}), ElementsAre("debian-12", "lib", "cache", "web", "app"));
  EXPECT_THAT(names({"web", "app"}), ElementsAre("debian-12", "lib", "web", "cache", "app"));
  const auto resolved = resolve({"web", "app"});
  ASSERT_TRUE(resolved);
  EXPECT_THAT((*resolved)[0].built_on, IsEmpty());
  EXPECT_THAT((*resolved)[2].built_on, ElementsAre(1u));
  EXPECT_THAT((*resolved)[4].built_on, ElementsAre(1u, 2u, 3u));
}

TEST_F(DependenciesTest, MayBeProvidedByAnother) {
  put("app", {"mta"});
  put("postfix", {}, {"mta"});
  EXPECT_THAT(names({"app"}), ElementsAre("debian-12", "postfix", "app"));
  put("exim", {}, {"mta"});
  EXPECT_THAT(names({"app"}),
              ElementsAre("app needs mta, which several components provide: name one of exim, "
                          "postfix in the manifest"));
  EXPECT_THAT(names({"app", "exim"}), ElementsAre("debian-12", "exim", "app"));
}

TEST_F(DependenciesTest, MissingOnesAndCirclesAreNamedWithTheWayThere) {
  put("app", {"web"});
  put("web", {"lib"});
  EXPECT_THAT(names({"app"}),
              ElementsAre("app needs web needs lib, which the repository does not have"));
  put("lib", {"app"});
  EXPECT_THAT(names({"app"}), ElementsAre(HasSubstr("in a circle: app needs web needs lib needs "
                                                    "app")));
}

TEST_F(DependenciesTest, AnotherBaseIsNamedUnlessAllowed) {
  put("old", {"debian-11"});
  EXPECT_THAT(names({"old"}),
              ElementsAre(HasSubstr("old needs debian-11, which is a base, but the manifest's base "
                                    "is debian-12")));
  EXPECT_THAT(names({"old"}, true), ElementsAre("debian-12", "old"));
}

TEST_F(DependenciesTest, OneComponentUnderTwoNamesIsGivenTwice) {
  put_component(store, {.name = "redis"}, {{"/redis", ""}});
  put_component(store, {.name = "redis"}, {{"/redis", ""}}, "cache");
  EXPECT_THAT(names({"redis", "cache"}),
              ElementsAre("component cache is given twice, also as redis"));
}

TEST_F(DependenciesTest, DamagedOnesAreNamed) {
  put("app", {"lib"});
  put("lib", {});
  store.spoil(component_tag_path("lib"), Buffer(20));
  EXPECT_THAT(names({"app"}), ElementsAre(HasSubstr("app needs lib")));
}

}  // namespace
}  // namespace forerun::image
