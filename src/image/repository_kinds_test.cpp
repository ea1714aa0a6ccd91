#include "image/repository_kinds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "image/assembler.h"
#include "image/boot_prior.h"
#include "image/component_builder.h"
#include "image/memory_file.h"
#include "predict/sequence.h"
#include "repository/gc.h"
#include "repository/memory_store.h"
#include "repository/verify.h"

namespace forerun::image {
namespace {

using repository::MemoryStore;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr Nanos kGrace = 24h;

struct RepositoryKindsTest : testing::Test {
  RepositoryKindsTest() {
    add("base", "base", {{"etc/passwd", "root:x:0:0::/:/bin/sh\n"}, {"etc/group", "root:x:0:\n"}});
    add("nginx", "service", {{"usr/bin/nginx", std::string(100'000, 'n')}});
    add("redis", "service", {{"usr/bin/redis", std::string(100'000, 'r')}});
    compose("one", "nginx");
    compose("two", "redis");
  }

  void add(const std::string& name, const std::string& function,
           const std::vector<std::pair<std::string, std::string>>& files) {
    MemoryFile scratch;
    BuildOptions options;
    options.info = {.name = name, .version = "1", .function = function, .architecture = "amd64"};
    options.created = "2026-11-21T02:40:00Z";
    auto builder = ComponentBuilder::create(store, scratch, options).value();
    for (const auto& [path, content] : files) {
      TreeInode inode;
      inode.kind = InodeKind::kRegular;
      inode.mode = 0644;
      inode.size = content.size();
      const ByteStream stream = [&](MutableByteView out) -> Result<size_t> {
        std::copy_n(as_bytes(content).begin(), out.size(), out.begin());
        return out.size();
      };
      builder->add(path, inode, stream).value();
    }
    builder->publish().value();
  }

  AssembledImage compose(const std::string& name, const std::string& component) {
    const auto manifest =
        parse_manifest(fmt::format("version = 1\nbase = \"base\"\ncomponents = [\"{}\"]\n"
                                   "writable_bytes = 16777216\n",
                                   component),
                       "m.toml");
    auto image =
        assemble(*manifest, store, {.image_name = name, .created = "2026-11-21T02:40:00Z"});
    // What a first boot of it would read, as if its systemd were there.
    const auto prior = predict::make_block_sequence(1, {{.block = 1, .support = 1}});
    store.put(part_prior_path(image->tag.index, 1), predict::serialize(*prior)).value();
    return *image;
  }

  void untag(const std::string& path) { ASSERT_TRUE(*store.remove(path, Nanos::max())); }
  repository::GcProgress collect() {
    store.advance(kGrace + 1s);
    const auto done = collect_garbage(store, repository_kinds(), {.grace = kGrace});
    EXPECT_TRUE(done) << done.error().message;
    return done ? *done : repository::GcProgress{};
  }
  std::vector<repository::Problem> problems() {
    auto report = repository::verify(store, repository_kinds(), {});
    EXPECT_TRUE(report) << report.error().message;
    return report ? report->problems : std::vector<repository::Problem>{};
  }
  std::set<std::string> folders() {
    std::set<std::string> found;
    for (const auto& [path, data] : store.objects()) found.insert(path.substr(0, path.find('/')));
    return found;
  }

  MemoryStore store;
};

TEST_F(RepositoryKindsTest, NothingOfAWholeRepositoryIsGarbageOrWrong) {
  const auto before = store.objects();
  EXPECT_EQ(collect().garbage_objects, 0u);
  EXPECT_EQ(store.objects(), before);
  EXPECT_TRUE(problems().empty());
  EXPECT_EQ(folders(), (std::set<std::string>{"chunks", "component-tags", "components", "composed",
                                              "compositions", "images", "indexes", "priors"}));
}

TEST_F(RepositoryKindsTest, AComposedImageKeepsItsPartsWithoutTheirTags) {
  untag(component_tag_path("nginx"));
  untag(component_tag_path("base"));
  EXPECT_EQ(collect().garbage_objects, 0u);
  EXPECT_TRUE(problems().empty());
}

TEST_F(RepositoryKindsTest, AnImageThatIsGoneTakesItsCompositionNoteAndPriorsWithIt) {
  const size_t before = store.objects().size();
  untag("images/one.json");
  // Composition, note, prior, metadata's index, metadata's chunks; the components are tagged.
  const auto done = collect();
  EXPECT_EQ(done.removed_objects, done.garbage_objects);
  EXPECT_GE(done.removed_objects, 5u);
  EXPECT_EQ(store.objects().size(), before - 1 - done.removed_objects);
  size_t left = 0;
  for (const auto& [path, data] : store.objects())
    left += path.starts_with("compositions/") || path.starts_with("composed/") ||
            path.starts_with("priors/");
  EXPECT_EQ(left, 3u);
  EXPECT_TRUE(problems().empty());
}

TEST_F(RepositoryKindsTest, WhatIsComposedAgainInTimeIsKept) {
  untag("images/one.json");
  store.advance(kGrace + 1s);
  repository::GcOptions options{.grace = kGrace, .batch_objects = 1};
  bool is_composed = false;
  options.on_progress = [&](const repository::GcProgress&) -> Status {
    if (!std::exchange(is_composed, true)) compose("again", "nginx");
    return {};
  };
  ASSERT_TRUE(collect_garbage(store, repository_kinds(), options));
  ASSERT_TRUE(is_composed);
  EXPECT_TRUE(problems().empty());
}

TEST_F(RepositoryKindsTest, VerificationNamesWhatIsWrongWithAComposedImage) {
  const auto image = compose("three", "redis");
  const std::string prior = part_prior_path(image.tag.index, 1);
  store.spoil(prior, Buffer(3));
  const auto found = problems();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].path, prior);
  EXPECT_THAT(found[0].needed_by, ElementsAre("images/three.json", "images/two.json"));

  untag(composition_path(image.tag.index));
  const auto missing = problems();
  ASSERT_EQ(missing.size(), 1u);
  EXPECT_EQ(missing[0].error.code, ErrorCode::kNotFound);
  EXPECT_THAT(missing[0].path, StartsWith("indexes/"));
  EXPECT_THAT(missing[0].error.message, HasSubstr(", nor compositions/"));
  EXPECT_EQ(missing[0].needed_by_count, 2u);
}

TEST_F(RepositoryKindsTest, ALookAtChunksFindsMissingAndTruncatedOnes) {
  const auto is_chunk = [](const auto& object) { return object.first.starts_with("chunks/"); };
  const auto objects = store.objects();
  const auto first = std::ranges::find_if(objects, is_chunk);
  const auto second = std::find_if(std::next(first), objects.end(), is_chunk);
  ASSERT_NE(second, objects.end());
  untag(first->first);
  store.spoil(second->first, {});
  const auto report = repository::verify(store, repository_kinds(), {.reads_chunks = false});
  ASSERT_TRUE(report);
  ASSERT_EQ(report->problems.size(), 2u);
  EXPECT_EQ(report->problems[0].path, first->first);
  EXPECT_EQ(report->problems[0].error.code, ErrorCode::kNotFound);
  EXPECT_EQ(report->problems[1].path, second->first);
  EXPECT_EQ(report->problems[1].error.code, ErrorCode::kCorrupt);
  EXPECT_EQ(report->totals.bytes_read, 0u);
}

}  // namespace
}  // namespace forerun::image
