#include "image/component_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ranges>
#include <thread>

#include "image/component_fixture.h"

namespace forerun::image {
namespace {

using repository::kChunkSize;
using repository::MemoryStore;

using Files = std::map<std::string, std::string>;

Result<BuiltComponent> build(MemoryStore& store, const Files& files,
                             BuildOptions options = build_options()) {
  MemoryFile scratch;
  FR_TRY(const auto builder, ComponentBuilder::create(store, scratch, std::move(options)));
  for (const auto& [path, content] : files) FR_CHECK(add_file(*builder, path, content));
  return builder->publish();
}

const TreeInode& inode_at(const ComponentIndex& index, std::string_view path) {
  return index.tree.inodes[index.tree.names[index.tree.find(path).value()].inode];
}

// 60 files of all sorts of sizes.
Files some_files() {
  Files files;
  Rng rng(7);
  for (int i = 0; i < 60; ++i) {
    const size_t size = rng.chance(0.1) ? rng.between(60'000, 200'000) : rng.below(20'000);
    files[fmt::format("dir{}/file{:02}", i / 20, i)] = random_text(size, rng.next());
  }
  return files;
}

TEST(ComponentBuilder, GivesEveryFileBack) {
  MemoryStore store;
  const Files files = some_files();
  const auto built = build(store, files);
  ASSERT_TRUE(built) << built.error().message;
  const auto tag = fetch_component_tag(store, "part");
  ASSERT_TRUE(tag) << tag.error().message;
  EXPECT_EQ(*tag, built->tag);
  const auto index = fetch_component_index(store, tag->index);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(*index, built->index);
  for (const auto& [path, content] : files)
    EXPECT_EQ(*read_file(store, *index, "/" + path), content);
}

TEST(ComponentBuilder, MakesTheSameComponentInAnyOrder) {
  MemoryStore one, two;
  const Files files = some_files();
  const auto forward = build(one, files);
  MemoryFile scratch;
  const auto builder = ComponentBuilder::create(two, scratch, build_options());
  ASSERT_TRUE(builder);
  for (const auto& [path, content] : std::ranges::reverse_view(files))
    ASSERT_TRUE(add_file(**builder, path, content));
  const auto backward = (*builder)->publish();
  ASSERT_TRUE(forward && backward);
  EXPECT_EQ(forward->tag, backward->tag);
  EXPECT_EQ(one.objects(), two.objects());
}

TEST(ComponentBuilder, MakesTheSameComponentOnThreads) {
  MemoryStore one, two;
  BuildOptions options = build_options();
  options.chunks.parallel_for = [](size_t count, const std::function<void(size_t)>& body) {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < count; ++i) threads.emplace_back(body, i);
    for (std::thread& thread : threads) thread.join();
  };
  const auto alone = build(one, some_files());
  const auto together = build(two, some_files(), options);
  ASSERT_TRUE(alone && together);
  EXPECT_EQ(alone->totals, together->totals);
  EXPECT_EQ(one.objects(), two.objects());
}

TEST(ComponentBuilder, StoresEqualContentOnce) {
  MemoryStore store;
  const std::string small = random_text(5000, 1), large = random_text(100'000, 2);
  const auto built = build(store, {{"a", small}, {"b", small}, {"c", large}, {"d", large}});
  ASSERT_TRUE(built);
  EXPECT_EQ(inode_at(built->index, "/a").extents, inode_at(built->index, "/b").extents);
  EXPECT_EQ(inode_at(built->index, "/c").extents, inode_at(built->index, "/d").extents);
  EXPECT_EQ(built->index.data.chunks.size(), 3u);
  EXPECT_EQ(built->totals.content_bytes, 2 * (small.size() + large.size()));
}

TEST(ComponentBuilder, PutsLargeFilesAtChunksAndSmallOnesAtBlocks) {
  MemoryStore store;
  const auto built = build(store, some_files());
  ASSERT_TRUE(built);
  size_t large = 0;
  for (const TreeInode& inode : built->index.tree.inodes) {
    if (inode.kind != InodeKind::kRegular || inode.size == 0) continue;
    ASSERT_EQ(inode.extents.size(), 1u);
    const uint64_t at = inode.extents[0].data_offset;
    if (inode.size >= kChunkSize) {
      ++large;
      EXPECT_EQ(at % kChunkSize, 0u);
    } else {  // within one chunk
      EXPECT_EQ(at / kChunkSize, (at + inode.size - 1) / kChunkSize);
    }
  }
  EXPECT_GT(large, 2u);
}

TEST(ComponentBuilder, LeavesZeroesOut) {
  MemoryStore store;
  // Blocks of a large file: data, zeroes, data; a chunk of zeroes; a tail of 100 bytes.
  std::string large = random_text(4096, 1) + std::string(4096, '\0') + random_text(4096, 2);
  large.resize(2 * kChunkSize);
  large += random_text(100, 3);
  std::string small = std::string(8192, '\0') + "end";
  const auto built = build(store, {{"large", large},
                                   {"small", small},
                                   {"zeroes", std::string(50'000, '\0')},
                                   {"zeros", std::string(150'000, '\0')},
                                   {"empty", ""}});
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_EQ(inode_at(built->index, "/large").extents,
            (std::vector<FileExtent>{
                {0, 0, 4096}, {8192, 8192, 4096}, {2 * kChunkSize, kChunkSize, 100}}));
  EXPECT_EQ(inode_at(built->index, "/small").extents,
            (std::vector<FileExtent>{{8192, 2 * kChunkSize + 8192, 3}}));
  EXPECT_TRUE(inode_at(built->index, "/zeroes").extents.empty());
  EXPECT_TRUE(inode_at(built->index, "/zeros").extents.empty());
  EXPECT_EQ(built->index.data.chunks.size(), 3u);
  EXPECT_EQ(*read_file(store, built->index, "/large"), large);
  EXPECT_EQ(*read_file(store, built->index, "/small"), small);
  EXPECT_EQ(read_file(store, built->index, "/zeros")->size(), 150'000u);
  EXPECT_EQ(*read_file(store, built->index, "/empty"), "");
}

TEST(ComponentBuilder, SharesAllButWhatChangedWithTheVersionBefore) {
  MemoryStore store;
  Files files = some_files();
  const auto first = build(store, files, build_options("one"));
  const auto large = std::ranges::find_if(
      files, [](const auto& file) { return file.second.size() > 2 * kChunkSize; });
  ASSERT_NE(large, files.end());
  large->second[kChunkSize + 5] = '!';
  files["dir1/file22"] += "!";
  files["dir1/new"] = "new";
  const auto second = build(store, files, build_options("two"));
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->tag.index, second->tag.index);
  // One chunk of the large file, and the packs until the next end that content sets.
  EXPECT_LE(second->totals.chunks.new_chunks, 6u);
  EXPECT_GT(second->totals.chunks.reused_chunks, 10u);
  EXPECT_EQ(*read_file(store, second->index, "/" + large->first), large->second);
}

TEST(ComponentBuilder, StoresNothingTwice) {
  MemoryStore store;
  ASSERT_TRUE(build(store, some_files(), build_options("one")));
  const auto again = build(store, some_files(), build_options("two"));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->totals.chunks.new_chunks, 0u);
  EXPECT_EQ(again->totals.chunks.stored_bytes, 0u);
}

TEST(ComponentBuilder, ReplacesAStoredChunkThatIsBroken) {
  MemoryStore store;
  const auto first = build(store, some_files());
  ASSERT_TRUE(first);
  const auto& chunks = first->index.data.chunks;
  store.spoil(repository::chunk_path(chunks[0].id), Buffer(10));
  store.spoil(repository::chunk_path(chunks[1].id), {});
  const auto again = build(store, some_files());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->totals.chunks.repaired_chunks, 2u);
  for (const auto& [path, content] : some_files())
    EXPECT_EQ(*read_file(store, again->index, "/" + path), content);
}

TEST(ComponentBuilder, PublishesInTheOrderThatSurvivesACrash) {
  MemoryStore store;
  const auto built = build(store, some_files());
  ASSERT_TRUE(built);
  auto history = store.history();
  ASSERT_GT(history.size(), 5u);
  const std::vector<std::string> last(history.end() - 5, history.end());
  EXPECT_THAT(last, testing::ElementsAre("flush", component_path(built->tag.index), "flush",
                                         component_tag_path("part"), "flush"));
}

TEST(ComponentBuilder, LeavesNoTagThatNamesMissingThingsWhereverItStops) {
  Files files = some_files();
  files.erase(files.begin(), std::next(files.begin(), 50));
  size_t published = 0;
  for (size_t puts = 0; puts < 14; ++puts) {
    MemoryStore store;
    store.fail_puts_after(puts);
    const auto built = build(store, files);
    store.crash();
    const auto tag = fetch_component_tag(store, "part");
    ASSERT_EQ(tag.has_value(), built.has_value()) << puts;
    if (!tag) continue;
    ++published;
    EXPECT_TRUE(fetch_component_index(store, tag->index));
  }
  EXPECT_GT(published, 0u);
  EXPECT_LT(published, 10u);
}

TEST(ComponentBuilder, RefusesAFileThatIsShorterThanItSays) {
  for (const uint64_t size : {100u, 200'000u}) {
    MemoryStore store;
    MemoryFile scratch;
    const auto builder = ComponentBuilder::create(store, scratch, build_options());
    TreeInode inode = plain_inode(InodeKind::kRegular);
    inode.size = size;
    const std::string content = random_text(size - 1, 1);
    const Status added = (*builder)->add("short", inode, stream_of(as_bytes(content)));
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().message, "'short': the file is shorter than it says");
  }
}

TEST(ComponentBuilder, StopsAtItsLimit) {
  MemoryStore store;
  BuildOptions options = build_options();
  options.content_bytes_max = 1000;
  EXPECT_TRUE(build(store, {{"a", random_text(600, 1)}, {"b", random_text(400, 2)}}, options));
  const auto over = build(store, {{"a", random_text(600, 1)}, {"b", random_text(401, 2)}}, options);
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, ErrorCode::kTooLarge);
}

TEST(ComponentBuilder, RefusesOptionsThatNameNothing) {
  MemoryStore store;
  MemoryFile scratch;
  auto refused = [&](auto spoil) {
    BuildOptions options = build_options();
    spoil(options);
    const auto builder = ComponentBuilder::create(store, scratch, std::move(options));
    return !builder && builder.error().code == ErrorCode::kInvalid;
  };
  EXPECT_FALSE(refused([](BuildOptions&) {}));
  EXPECT_TRUE(refused([](BuildOptions& options) { options.info.name = "a/b"; }));
  EXPECT_TRUE(refused([](BuildOptions& options) { options.tag = "../a"; }));
  EXPECT_TRUE(refused([](BuildOptions& options) { options.created = "now"; }));
  EXPECT_TRUE(refused([](BuildOptions& options) { options.info.version = "1\n"; }));
  EXPECT_TRUE(refused([](BuildOptions& options) { options.info.depends = {"b c"}; }));
  EXPECT_TRUE(refused([](BuildOptions& options) { options.chunks.batch_chunks = 0; }));
}

TEST(ComponentBuilder, StopsWhenItsCallerSaysSo) {
  MemoryStore store;
  BuildOptions options = build_options();
  options.on_progress = [](const BuildProgress& progress) -> Status {
    if (progress.names < 5) return {};
    return fail(ErrorCode::kTimedOut, "enough");
  };
  const auto built = build(store, some_files(), options);
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().message, "enough");
}

TEST(ComponentBuilder, RenewsWhatItReliesUpon) {
  MemoryStore store;
  ASSERT_TRUE(build(store, some_files(), build_options("one")));
  const auto before = store.now();
  ASSERT_TRUE(before);
  store.advance(std::chrono::hours(1));
  ASSERT_TRUE(build(store, some_files(), build_options("two")));
  size_t chunks = 0;
  ASSERT_TRUE(store.list("chunks", [&](const repository::ObjectInfo& object) -> Status {
    ++chunks;
    EXPECT_GT(object.renewed, *before) << object.path;
    return {};
  }));
  EXPECT_GT(chunks, 10u);
}

TEST(ComponentTag, LeadsToAllThatAComponentNeeds) {
  MemoryStore store;
  const auto built = build(store, some_files());
  ASSERT_TRUE(built);
  const auto kinds = component_kinds();
  const auto roots = kinds[0].list_roots(store);
  ASSERT_TRUE(roots);
  EXPECT_THAT(*roots, testing::ElementsAre(component_tag_path("part")));
  std::vector<std::string> objects;
  size_t chunks = 0;
  repository::ReferenceWalk walk(store, kinds);
  const auto visit = [&](const std::string& path, const Result<repository::Needs>& needs,
                         const std::string&) -> Status {
    objects.push_back(path);
    if (needs) chunks += needs->chunks.size();
    return needs ? Status() : std::unexpected(needs.error());
  };
  ASSERT_TRUE(walk.from((*roots)[0], visit));
  EXPECT_THAT(objects, testing::ElementsAre((*roots)[0], component_path(built->tag.index)));
  EXPECT_EQ(chunks, built->index.data.chunks.size());
  store.spoil(component_path(built->tag.index), Buffer(100));
  EXPECT_FALSE(repository::ReferenceWalk(store, kinds).from((*roots)[0], visit));
}

TEST(ComponentTag, RefusesWhatIsNone) {
  MemoryStore store;
  ASSERT_TRUE(build(store, {{"a", "a"}}));
  EXPECT_EQ(fetch_component_tag(store, "other").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(fetch_component_tag(store, "../a").error().code, ErrorCode::kInvalid);
  auto spoilt = [&](std::string_view from, std::string_view to) {
    std::string text(as_text(store.objects().at(component_tag_path("part"))));
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    const auto tag = parse_component_tag(text);
    return tag ? ErrorCode::kInternal : tag.error().code;
  };
  EXPECT_EQ(spoilt("\"version\":1", "\"version\":2"), ErrorCode::kUnsupported);
  EXPECT_EQ(spoilt("\"version\":1", "\"version\":\"\""), ErrorCode::kCorrupt);
  EXPECT_EQ(spoilt("\"part\"", "\"a/b\""), ErrorCode::kCorrupt);
  EXPECT_EQ(spoilt("\"index\":\"", "\"index\":\"x"), ErrorCode::kCorrupt);
  EXPECT_EQ(spoilt("\"names\":", "\"names\":-"), ErrorCode::kCorrupt);
  EXPECT_EQ(spoilt("\"data_bytes\"", "\"bytes\""), ErrorCode::kCorrupt);
  EXPECT_EQ(spoilt("T02", " 02"), ErrorCode::kCorrupt);
  EXPECT_EQ(spoilt("{", "["), ErrorCode::kCorrupt);
}

TEST(ComponentTag, AndIndexMustBeWhatTheyAreNamed) {
  MemoryStore store;
  const auto one = build(store, {{"a", "a"}}, build_options("one"));
  const auto two = build(store, {{"b", "b"}}, build_options("two"));
  ASSERT_TRUE(one && two);
  const auto objects = store.objects();
  store.spoil(component_tag_path("one"), objects.at(component_tag_path("two")));
  EXPECT_EQ(fetch_component_tag(store, "one").error().code, ErrorCode::kCorrupt);
  store.spoil(component_path(one->tag.index), objects.at(component_path(two->tag.index)));
  EXPECT_EQ(fetch_component_index(store, one->tag.index).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace forerun::image
