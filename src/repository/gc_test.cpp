#include "repository/gc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/rng.h"
#include "repository/memory_store.h"
#include "repository/store_fixture.h"

namespace forerun::repository {
namespace {

using namespace repository::testing;

constexpr Nanos kGrace = 24h;

GcProgress collected(Store& store, GcOptions options = {}) {
  options.grace = kGrace;
  const auto progress = collect_garbage(store, image_kinds(), options);
  EXPECT_TRUE(progress) << progress.error().message;
  return progress ? *progress : GcProgress{};
}

std::set<std::string> paths_of(const MemoryStore& store) {
  std::set<std::string> paths;
  for (const auto& [path, data] : store.objects()) paths.insert(path);
  return paths;
}

void untag(Store& store, const std::string& name) {
  ASSERT_TRUE(*store.remove(image_path(name), Nanos::max()));
}

TEST(Gc, RemovesOldObjectsThatNoTagLeadsTo) {
  MemoryStore store;
  put_image(store, "kept", "ab.");
  put_image(store, "gone", "bcd");
  ASSERT_TRUE(store.put("priors/" + digest_of("bcd").hex(), Buffer(9)));
  ASSERT_TRUE(store.put("priors/" + digest_of("ab.").hex(), Buffer(9)));
  untag(store, "gone");
  store.advance(kGrace + 1s);

  const GcProgress progress = collected(store);

  EXPECT_EQ(progress.removed_objects, 4u);
  EXPECT_EQ(progress.removed_objects, progress.garbage_objects);
  EXPECT_EQ(progress.removed_bytes, progress.garbage_bytes);
  EXPECT_EQ(paths_of(store), (std::set<std::string>{path_of('a'), path_of('b'), "images/kept.json",
                                                    index_path(digest_of("ab.")),
                                                    "priors/" + digest_of("ab.").hex()}));
}

TEST(Gc, KeepsYoungObjectsAndWhatTheyLeadTo) {
  MemoryStore store;
  put_chunks(store, "ab");
  store.advance(kGrace + 1s);
  put_chunks(store, "c");
  put_index(store, "abc");

  EXPECT_EQ(collected(store).removed_objects, 0u);

  store.advance(kGrace + 1s);
  EXPECT_EQ(collected(store).removed_objects, 4u);
}

TEST(Gc, KeepsWhatIsRenewed) {
  MemoryStore store;
  put_chunks(store, "ab");
  store.advance(kGrace + 1s);
  ASSERT_TRUE(store.renew(path_of('a')));

  collected(store);

  EXPECT_EQ(paths_of(store), (std::set<std::string>{path_of('a')}));
}

TEST(Gc, KeepsWhatIsInUse) {
  MemoryStore store;
  put_image(store, "one", "ab");
  put_chunks(store, "cd");
  untag(store, "one");
  store.advance(kGrace + 1s);

  collected(
      store, {.in_use = [] {
        return Result<Needs>(Needs{.objects = {index_path(digest_of("ab")), "indexes/elsewhere"},
                                   .chunks = index_of("c").chunks});
      }});

  EXPECT_EQ(paths_of(store), (std::set<std::string>{path_of('a'), path_of('b'), path_of('c'),
                                                    index_path(digest_of("ab"))}));
}

// Calls `act` the second time a pass asks what is in use: garbage is known, nothing is removed.
GcProgress collected_with(Store& store, const std::function<Needs()>& act) {
  int asked = 0;
  return collected(store,
                   {.in_use = [&]() -> Result<Needs> { return ++asked == 2 ? act() : Needs{}; }});
}

TEST(Gc, KeepsWhatAVmBeginsToUseDuringThePass) {
  MemoryStore store;
  put_index(store, "ab");
  put_chunks(store, "abc");
  store.advance(kGrace + 1s);

  collected_with(store, [] { return Needs{.objects = {index_path(digest_of("ab"))}}; });

  EXPECT_EQ(paths_of(store),
            (std::set<std::string>{path_of('a'), path_of('b'), index_path(digest_of("ab"))}));
}

TEST(Gc, KeepsTheChunksOfAnIndexThatIsRenewedDuringThePass) {
  MemoryStore store;
  put_index(store, "ab");
  put_chunks(store, "abc");
  store.advance(kGrace + 1s);

  collected_with(store, [&] {
    EXPECT_TRUE(store.renew(index_path(digest_of("ab"))));
    return Needs{};
  });

  EXPECT_EQ(paths_of(store),
            (std::set<std::string>{path_of('a'), path_of('b'), index_path(digest_of("ab"))}));
}

TEST(Gc, OnlyCountsInADryRun) {
  MemoryStore store;
  put_chunks(store, "ab");
  store.advance(kGrace + 1s);

  const GcProgress progress = collected(store, {.is_dry_run = true});

  EXPECT_EQ(progress.garbage_objects, 2u);
  EXPECT_EQ(progress.removed_objects, 0u);
  EXPECT_EQ(paths_of(store).size(), 2u);
}

TEST(Gc, RemovesNothingIfATagOrIndexCannotBeRead) {
  for (const bool is_tag : {true, false}) {
    MemoryStore store;
    put_image(store, "one", "ab");
    store.spoil(is_tag ? "images/one.json" : index_path(digest_of("ab")), Buffer(20));
    store.advance(kGrace + 1s);

    const auto progress = collect_garbage(store, image_kinds(), {.grace = kGrace});

    ASSERT_FALSE(progress);
    EXPECT_EQ(progress.error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(paths_of(store).size(), 4u);
  }
}

TEST(Gc, LeavesAloneWhatIsNoObject) {
  MemoryStore store;
  ASSERT_TRUE(store.put("chunks/ab/notes.txt", Buffer(1)));
  ASSERT_TRUE(store.put("indexes/README", Buffer(1)));
  ASSERT_TRUE(store.put("elsewhere/" + digest_of("a").hex(), Buffer(1)));
  store.advance(kGrace + 1s);

  EXPECT_EQ(collected(store).garbage_objects, 0u);
  EXPECT_EQ(paths_of(store).size(), 3u);
}

TEST(Gc, LeavesWhatIsOverItsLimitForTheNextPass) {
  MemoryStore store;
  put_index(store, "ab");
  put_chunks(store, "ab");
  store.advance(kGrace + 1s);

  EXPECT_EQ(collected(store, {.garbage_max = 2}).removed_objects, 2u);
  EXPECT_FALSE(store.contains(index_path(digest_of("ab"))));
  EXPECT_EQ(collected(store, {.garbage_max = 2}).removed_objects, 1u);
}

// A crash between two removals leaves no index without its chunks.
TEST(Gc, RemovesIndexesBeforeChunks) {
  MemoryStore store;
  put_index(store, "ab");
  put_chunks(store, "ab");
  store.advance(kGrace + 1s);
  const auto stop_at_first = [&](const GcProgress& progress) -> Status {
    if (progress.removed_objects == 0) return {};
    return fail(ErrorCode::kTimedOut, "stopped");
  };

  ASSERT_FALSE(collect_garbage(
      store, image_kinds(), {.grace = kGrace, .batch_objects = 1, .on_progress = stop_at_first}));

  EXPECT_EQ(paths_of(store), (std::set<std::string>{path_of('a'), path_of('b')}));
}

// ---- Beside others: between any two steps of a pass, importers, operators and VMs take steps.
// ----

// What one other does to the store, step by step.
class Actor {
 public:
  virtual ~Actor() = default;
  virtual void step(MemoryStore& store, Rng& rng) = 0;
  // Whether it has put or renewed what no tag names yet: then time may not pass the grace.
  virtual bool is_busy() const = 0;
};

std::string random_letters(Rng& rng) {
  std::string letters;
  for (uint64_t i = rng.between(1, 5); i > 0; --i)
    letters.push_back(static_cast<char>('a' + rng.below(8)));
  return letters;
}
std::string random_name(Rng& rng) { return std::string(1, static_cast<char>('p' + rng.below(4))); }

// Imports images, some of chunks that are there already.
class Importer final : public Actor {
 public:
  void step(MemoryStore& store, Rng& rng) override {
    if (letters_.empty()) {
      letters_ = random_letters(rng);
      next_ = 0;
    } else if (next_ < letters_.size()) {
      const char letter = letters_[next_++];
      if (!store.renew(path_of(letter))) put_chunks(store, std::string(1, letter));
    } else if (next_++ == letters_.size()) {
      put_index(store, letters_);
    } else {
      put_tag(store, random_name(rng), letters_);
      letters_.clear();
    }
  }
  bool is_busy() const override { return !letters_.empty(); }

 private:
  std::string letters_;
  size_t next_ = 0;
};

// Removes tags, and gives images second names.
class Operator final : public Actor {
 public:
  void step(MemoryStore& store, Rng& rng) override {
    if (is_renewed_) {
      tag_->name = random_name(rng);
      ASSERT_TRUE(store.put(image_path(tag_->name), as_bytes(serialize(*tag_))));
      tag_.reset();
      is_renewed_ = false;
    } else if (tag_) {
      is_renewed_ = store.renew(index_path(tag_->index)).has_value();
      if (!is_renewed_) tag_.reset();
    } else if (rng.chance(0.5)) {
      ASSERT_TRUE(store.remove(image_path(random_name(rng)), Nanos::max()));
    } else if (const auto data = store.fetch(image_path(random_name(rng)), kTagBytesMax)) {
      tag_ = *parse_tag(as_text(*data));
    }
  }
  bool is_busy() const override { return is_renewed_; }

 private:
  std::optional<ImageTag> tag_;
  bool is_renewed_ = false;
};

// Starts a VM from a tag, reads its disk at leisure, stops.
class Vm final : public Actor {
 public:
  void step(MemoryStore& store, Rng& rng) override {
    if (!wanted_) {
      const auto data = store.fetch(image_path(random_name(rng)), kTagBytesMax);
      if (data) wanted_ = parse_tag(as_text(*data))->index;
    } else if (!is_told_) {
      is_told_ = true;
    } else if (!index_) {
      const auto data = store.fetch(index_path(*wanted_), kIndexBytesMax);
      if (data) index_ = *parse_index(*data);
      if (!data) stop();  // collected before it was told: start again from the tag
    } else if (rng.chance(0.1)) {
      stop();
    } else {
      const ChunkRef& chunk = index_->chunks[rng.below(index_->chunks.size())];
      ASSERT_TRUE(store.contains(chunk_path(chunk.id))) << "a chunk of a running VM is gone";
    }
  }
  bool is_busy() const override { return false; }  // may run for ever

  void add_to(Needs& in_use) const {
    if (is_told_) in_use.objects.push_back(index_path(*wanted_));
    if (index_)
      in_use.chunks.insert(in_use.chunks.end(), index_->chunks.begin(), index_->chunks.end());
  }

 private:
  void stop() {
    wanted_.reset();
    is_told_ = false;
    index_.reset();
  }

  std::optional<Digest> wanted_;
  bool is_told_ = false;  // in_use has it
  std::optional<ImageIndex> index_;
};

// A store beside which others act: before each call, any of them may take steps.
class BusyStore final : public Store {
 public:
  explicit BusyStore(uint64_t seed) : rng_(seed) {}

  Result<Buffer> fetch(const std::string& path, size_t size_max) override {
    others();
    return inner.fetch(path, size_max);
  }
  Result<std::vector<std::string>> list_images() override {
    others();
    return inner.list_images();
  }
  std::string_view name() const override { return "busy"; }
  bool contains(const std::string& path) override { return inner.contains(path); }
  Status put(const std::string& path, ByteView data) override { return inner.put(path, data); }
  Status flush() override {
    others();
    return inner.flush();
  }
  Result<StoreTime> now() override {
    others();
    return inner.now();
  }
  Status list(const std::string& folder, const Visit& visit) override {
    others();
    return inner.list(folder, [&](const ObjectInfo& object) {
      others();
      return visit(object);
    });
  }
  Status renew(const std::string& path) override { return inner.renew(path); }
  Result<bool> remove(const std::string& path, StoreTime newest) override {
    others();
    return inner.remove(path, newest);
  }

  void others() {
    for (uint64_t i = rng_.chance(0.3) ? rng_.below(12) : 0; i > 0; --i) {
      std::array<Actor*, 6> actors{&importers_[0], &importers_[1], &operators_[0],
                                   &operators_[1], &vms_[0],       &vms_[1]};
      Actor& actor = *actors[rng_.below(actors.size())];
      const bool was_busy = actor.is_busy();
      actor.step(inner, rng_);
      if (!was_busy && actor.is_busy()) busy_since_.emplace(&actor, *inner.now());
      if (!actor.is_busy()) busy_since_.erase(&actor);
    }
    pass_time();
  }
  Needs in_use() const {
    Needs needs;
    for (const Vm& vm : vms_) vm.add_to(needs);
    return needs;
  }

  MemoryStore inner;

 private:
  // Hours pass, but no writer takes longer than the grace: that is what writers owe.
  void pass_time() {
    Nanos step = rng_.chance(0.5) ? Nanos(0) : Nanos(std::chrono::hours(rng_.below(30)));
    for (const auto& [actor, since] : busy_since_)
      step = std::min(step, since + kGrace - 1s - *inner.now());
    inner.advance(step);
  }

  Rng rng_;
  std::array<Importer, 2> importers_;
  std::array<Operator, 2> operators_;
  std::array<Vm, 2> vms_;
  std::map<const Actor*, StoreTime> busy_since_;
};

// What every tag leads to is there.
void expect_whole(MemoryStore& store) {
  const ObjectKinds kinds = image_kinds();
  ReferenceWalk walk(store, kinds);
  const auto roots = list_tags(store, "images");
  ASSERT_TRUE(roots);
  for (const std::string& root : *roots) {
    ASSERT_TRUE(walk.from(
        root,
        [&](const std::string& path, const Result<Needs>& needs, const std::string&) -> Status {
          EXPECT_TRUE(needs) << path;
          if (!needs) return {};
          for (const ChunkRef& chunk : needs->chunks)
            EXPECT_TRUE(store.contains(chunk_path(chunk.id))) << path << " lacks a chunk";
          return {};
        }));
  }
}

// Returns how many objects were removed and saved over some passes.
GcProgress run_beside_others(uint64_t seed) {
  BusyStore store(seed);
  GcProgress sum;
  for (int pass = 0; pass < 6; ++pass) {
    for (int i = 0; i < 20; ++i) store.others();
    const GcProgress progress =
        collected(store, {.batch_objects = 3, .in_use = [&] { return store.in_use(); }});
    sum.removed_objects += progress.removed_objects;
    sum.saved_objects += progress.saved_objects;
    expect_whole(store.inner);
  }
  return sum;
}

TEST(Gc, BesideOthersTakesNothingThatIsNeeded) {
  GcProgress sum;
  for (uint64_t seed = 1; seed <= 40 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    const GcProgress progress = run_beside_others(seed);
    sum.removed_objects += progress.removed_objects;
    sum.saved_objects += progress.saved_objects;
  }
  // The runs met what they are for.
  EXPECT_GT(sum.removed_objects, 300u);
  EXPECT_GT(sum.saved_objects, 20u);
}

}  // namespace
}  // namespace forerun::repository
