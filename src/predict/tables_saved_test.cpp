// What markov and association keep: the same proposals after it was saved and restored, under
// other numbers too; bounded; refused where it is damaged.
#include <gmock/gmock.h>

#include "core/codec.h"
#include "core/id.h"
#include "core/rng.h"
#include "predict/association.h"
#include "predict/markov.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

const std::vector<ComponentId> kHere = {ComponentId{3}, ComponentId{8}};
const std::vector<ComponentId> kThere = {ComponentId{5}, ComponentId{1}};

// Walks of 12 requests, each of one component, again and again in an order of the seed.
std::vector<trace::Access> work(uint64_t seed, size_t requests,
                                const std::vector<ComponentId>& components) {
  Rng rng(seed);
  std::vector<trace::Access> accesses;
  while (accesses.size() < requests) {
    const uint64_t walk = rng.below(40);
    for (uint64_t step = 0; step < 12; ++step) {
      auto access =
          read_of((walk * 7919 + step * step * 131) % 100'000, 1 + walk % 4, accesses.size() * 1ms);
      access.component = components[walk % 2];
      accesses.push_back(access);
    }
  }
  return accesses;
}

template <typename M>
class TablesSaved : public ::testing::Test {
 protected:
  static std::unique_ptr<M> taught(uint64_t seed, const std::vector<ComponentId>& components) {
    auto model = std::make_unique<M>();
    for (const auto& access : work(seed, 4000, components)) said_of(*model, access);
    return model;
  }
  // Changes four bytes, and makes the checksum right again.
  static Buffer with(const Buffer& saved, size_t at, uint32_t value) {
    ByteWriter out;
    out.bytes(ByteView(saved).first(at));
    out.u32(value);
    out.bytes(ByteView(saved).subspan(at + 4, saved.size() - 32 - at - 4));
    const Digest digest = sha256(out.view());
    out.bytes({reinterpret_cast<const std::byte*>(digest.bytes.data()), 32});
    return out.take();
  }
};

using TheModels = ::testing::Types<MarkovModel, AssociationModel>;
TYPED_TEST_SUITE(TablesSaved, TheModels);

TYPED_TEST(TablesSaved, SavedTwiceIsTheSameAndOfTheSeedAlone) {
  const Buffer saved = this->taught(1, kHere)->save(kHere);
  EXPECT_EQ(this->taught(1, kHere)->save(kHere), saved);
  EXPECT_NE(this->taught(2, kHere)->save(kHere), saved);
  TypeParam again;
  ASSERT_TRUE(again.restore(saved, kHere));
  EXPECT_EQ(again.save(kHere), saved);
  EXPECT_LE(saved.size(), 2 * this->taught(1, kHere)->state_bytes());
}

TYPED_TEST(TablesSaved, ARestoredModelForeseesAtOnceUnderOtherNumbersToo) {
  const Buffer saved = this->taught(1, kHere)->save(kHere);
  TypeParam here, there, fresh;
  ASSERT_TRUE(here.restore(saved, kHere));
  ASSERT_TRUE(there.restore(saved, kThere));
  const auto ours = work(7, 240, kHere), theirs = work(7, 240, kThere);
  size_t said = 0, said_fresh = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const auto a = said_of(here, ours[i]), b = said_of(there, theirs[i]);
    ASSERT_EQ(a.size(), b.size()) << i;
    for (size_t k = 0; k < a.size(); ++k) {
      EXPECT_EQ(a[k].first_block, b[k].first_block);
      EXPECT_EQ(a[k].confidence, b[k].confidence);
      EXPECT_EQ(b[k].component, theirs[i].component);
    }
    said += i < 24 ? a.size() : 0;
    said_fresh += i < 24 ? said_of(fresh, ours[i]).size() : 0;
  }
  EXPECT_GT(said, 40U);
  EXPECT_LT(said_fresh, said / 2);
  EXPECT_EQ(here.save(kHere), there.save(kThere));
}

TYPED_TEST(TablesSaved, WhatIsOfAComponentThatIsGoneSaysNothing) {
  const Buffer saved = this->taught(1, kHere)->save(kHere);
  TypeParam model;
  ASSERT_TRUE(model.restore(saved, std::vector{kNoComponent, kHere[1]}));
  const auto accesses = work(7, 120, kHere);
  size_t of_gone = 0, of_here = 0;
  for (const auto& access : accesses) {
    const size_t said = said_of(model, access).size();
    (access.component == kHere[0] ? of_gone : of_here) += said;
  }
  EXPECT_GT(of_here, 2 * of_gone);
}

TYPED_TEST(TablesSaved, NothingIsSavedOfNothing) { EXPECT_TRUE(TypeParam().save(kHere).empty()); }

TYPED_TEST(TablesSaved, DamageIsRefusedAndLeavesTheModelAsItWas) {
  const Buffer saved = this->taught(1, kHere)->save(kHere);
  TypeParam model;
  for (size_t cut = 0; cut < saved.size(); cut += 1009)
    EXPECT_FALSE(model.restore(ByteView(saved).first(cut), kHere));
  EXPECT_FALSE(model.restore(this->with(saved, 8, 2), kHere)) << "version";
  EXPECT_FALSE(model.restore(this->with(saved, 12, 513), kHere)) << "components";
  EXPECT_FALSE(model.restore(this->with(saved, 16, 2), kHere)) << "a component that is not there";
  EXPECT_FALSE(model.restore(this->with(saved, 20, 0), kHere)) << "the same component twice";
  EXPECT_FALSE(model.restore(saved, std::vector{kHere[0]}));
  const auto refuses_all_from = [&](size_t from, uint32_t value) {
    for (size_t at = from; at < from + 12; at += 4)
      EXPECT_FALSE(model.restore(this->with(saved, at, value), kHere)) << at;
  };
  // Pace, sets, entries; association's count of reads takes four bytes, markov's eight.
  refuses_all_from(std::is_same_v<TypeParam, MarkovModel> ? 32 : 28, 0x7fc00000);
  EXPECT_TRUE(model.save(kHere).empty());
}

}  // namespace
}  // namespace forerun::predict
