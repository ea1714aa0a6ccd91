#include "daemon/histories.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "os/file.h"
#include "os/walk.h"
#include "repository/memory_store.h"

namespace forerun::daemon {
namespace {

class HistoriesTest : public testing::Test {
 protected:
  HistoriesTest() {
    std::string pattern = testing::TempDir() + "forerun-histories-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    marks_ = Marks::open(folder_ + "/shareable").value();
    for (const char* name : {"base", "own"}) {
      const Digest digest = sha256(as_bytes(name));
      catalog_.add_component(digest, {}, "service");
      (base_ == Digest{} ? base_ : own_) = digest;
    }
    open();
  }
  ~HistoriesTest() override { std::ignore = os::remove_tree(folder_); }

  // As at the daemon's start.
  void open() {
    histories_ = std::make_unique<Histories>(folder_ + "/history", catalog_, marks_.get());
  }
  ComponentId id(const Digest& digest) { return *catalog_.find(digest); }
  std::vector<ComponentId> disk() { return {id(base_), id(own_)}; }
  // A boot that reads these blocks of the component.
  void boot(const std::string& tenant, const Digest& component, std::vector<uint64_t> blocks) {
    std::vector<predict::FirstTouch> touches;
    for (const uint64_t block : blocks)
      touches.push_back({block, static_cast<float>(touches.size())});
    histories_->load(id(component), tenant);
    histories_->replay(tenant)->merge(id(component), disk(), touches);
    predict::SuccessorTable jumps;
    for (size_t i = 1; i < blocks.size(); ++i) jumps[blocks[i - 1]].count(blocks[i]);
    histories_->successors(tenant)->learn(id(component), jumps);
    histories_->save(id(component), tenant);
  }
  // Returns the blocks foreseen for a VM of the tenant.
  std::vector<uint64_t> foreseen(const std::string& tenant, const Digest& component) {
    histories_->load(id(component), tenant);
    const auto sequence = histories_->replay(tenant)->foresee(id(component), disk());
    std::vector<uint64_t> blocks;
    if (sequence)
      for (const predict::SequenceEntry& entry : sequence->entries) blocks.push_back(entry.block);
    return blocks;
  }
  bool knows_jumps(const std::string& tenant, const Digest& component) {
    histories_->load(id(component), tenant);
    return histories_->successors(tenant)->table(id(component)) != nullptr;
  }

  std::string folder_;
  repository::MemoryStore store_;
  ImageCatalog catalog_{{}, store_};
  std::unique_ptr<Marks> marks_;
  Digest base_{}, own_{};
  std::unique_ptr<Histories> histories_;
};

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(HistoriesTest, WhatATenantTeachesIsItsOwn) {
  boot("red", own_, {5, 9, 7});
  EXPECT_THAT(foreseen("red", own_), ElementsAre(5, 9, 7));
  EXPECT_THAT(foreseen("blue", own_), IsEmpty());
  EXPECT_THAT(foreseen("", own_), IsEmpty());
  EXPECT_TRUE(knows_jumps("red", own_));
  EXPECT_FALSE(knows_jumps("blue", own_));
}

TEST_F(HistoriesTest, WhatIsShareableServesAll) {
  ASSERT_TRUE(marks_->mark(base_, "base", true));
  boot("red", base_, {5, 9, 7});
  boot("red", own_, {1});
  for (const char* tenant : {"red", "blue", ""}) {
    EXPECT_THAT(foreseen(tenant, base_), ElementsAre(5, 9, 7)) << tenant;
    EXPECT_TRUE(knows_jumps(tenant, base_));
  }
  EXPECT_THAT(foreseen("blue", own_), IsEmpty());
}

TEST_F(HistoriesTest, VmsOfNoTenantShareAmongThemselves) {
  boot("", own_, {5, 9});
  EXPECT_THAT(foreseen("", own_), ElementsAre(5, 9));
  EXPECT_THAT(foreseen("red", own_), IsEmpty());
}

TEST_F(HistoriesTest, AllOfItOutlivesTheDaemon) {
  boot("red", own_, {5, 9});
  boot("", own_, {3});
  open();
  EXPECT_THAT(foreseen("red", own_), ElementsAre(5, 9));
  EXPECT_THAT(foreseen("", own_), ElementsAre(3));
  EXPECT_THAT(foreseen("blue", own_), IsEmpty());
}

TEST_F(HistoriesTest, MarkedLaterWhatTheMostBootsTaughtServesAll) {
  boot("red", own_, {5, 9});
  boot("red", own_, {5, 9});
  boot("blue", own_, {3, 4});
  open();  // nothing of it is in memory
  ASSERT_TRUE(marks_->mark(own_, "own", true));
  histories_->share(own_);
  for (const char* tenant : {"red", "blue", "green", ""})
    EXPECT_THAT(foreseen(tenant, own_), ElementsAre(5, 9)) << tenant;
  const auto jumps = histories_->successors("green")->table(id(own_));
  ASSERT_NE(jumps, nullptr);
  EXPECT_EQ(jumps->at(5).jumps, 2u);
  EXPECT_TRUE(jumps->contains(3)) << "what followed what adds up";
}

TEST_F(HistoriesTest, SharingTwiceCountsOnce) {
  boot("red", own_, {5, 9});
  for (const bool is_shareable : {true, false, true}) {
    ASSERT_TRUE(marks_->mark(own_, "own", is_shareable));
    if (is_shareable) histories_->share(own_);
  }
  EXPECT_EQ(histories_->successors()->table(id(own_))->at(5).jumps, 1u);
}

TEST_F(HistoriesTest, MadePrivateAgainTenantsTeachApart) {
  ASSERT_TRUE(marks_->mark(own_, "own", true));
  boot("red", own_, {5});
  ASSERT_TRUE(marks_->mark(own_, "own", false));
  boot("red", own_, {8});
  EXPECT_THAT(foreseen("red", own_), ElementsAre(8));
  EXPECT_THAT(foreseen("blue", own_), IsEmpty());
  EXPECT_THAT(foreseen("", own_), ElementsAre(5));
}

TEST_F(HistoriesTest, RemembersAFewTenantsAndReadsOthersAgain) {
  boot("first", own_, {5});
  for (size_t i = 0; i < 2 * Histories::kTenantsMax; ++i)
    foreseen(fmt::format("other-{}", i), own_);
  EXPECT_THAT(foreseen("first", own_), ElementsAre(5));
}

TEST_F(HistoriesTest, MarksOutliveTheDaemon) {
  ASSERT_TRUE(marks_->mark(own_, "own", true));
  ASSERT_TRUE(marks_->mark(base_, "base", true));
  ASSERT_TRUE(marks_->mark(base_, "base", false));
  const auto again = Marks::open(folder_ + "/shareable").value();
  EXPECT_TRUE(again->is_shareable(own_));
  EXPECT_FALSE(again->is_shareable(base_));
}

TEST_F(HistoriesTest, RefusesAFileThatIsNoMarks) {
  ASSERT_TRUE(os::write_file_atomic(folder_ + "/bad", as_bytes(own_.hex() + " own\nrubbish\n")));
  const auto marks = Marks::open(folder_ + "/bad");
  ASSERT_FALSE(marks);
  EXPECT_THAT(marks.error().message, testing::HasSubstr("bad, line 2: not a digest and a name"));
}

}  // namespace
}  // namespace forerun::daemon
