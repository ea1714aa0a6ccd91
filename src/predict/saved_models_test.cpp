#include "predict/saved_models.h"

#include <gmock/gmock.h>

#include "predict/leap.h"
#include "predict/saved_form.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Keeps a number of each component.
class Counting final : public Model {
 public:
  explicit Counting(std::string name) : name_(std::move(name)) {}
  std::string_view name() const override { return name_; }
  void on_start(Time, std::vector<Candidate>&) override {}
  void on_access(const trace::Access& access, std::vector<Candidate>&) override {
    ++counts[access.component];
  }
  void on_end(Time) override {}
  size_t state_bytes() const override { return counts.size(); }
  Buffer save(std::span<const ComponentId> components) const override {
    if (counts.empty()) return {};
    ByteWriter out = begin_saved(SavedKind::kMarkov, 1);
    for (size_t i = 0; i < components.size(); ++i) {
      const auto found = counts.find(components[i]);
      out.u8(found == counts.end() ? 0 : found->second);
    }
    return seal(std::move(out));
  }
  Status restore(ByteView saved, std::span<const ComponentId> components) override {
    FR_TRY(const auto form, open_saved(saved, SavedKind::kMarkov, 1000, 1));
    for (size_t i = 0; i < form.body.size(); ++i)
      if (components[i] != kNoComponent && form.body[i] != std::byte{0})
        counts[components[i]] = static_cast<uint8_t>(form.body[i]);
    return {};
  }
  std::map<ComponentId, uint8_t> counts;

 private:
  std::string name_;
};

using Models = std::vector<std::unique_ptr<Model>>;
const std::vector<ComponentId> kHere = {ComponentId{4}, ComponentId{7}};
const std::vector<Digest> kDigests = {sha256(as_bytes("base")), sha256(as_bytes("nginx"))};

Counting& counting(Models& models) { return dynamic_cast<Counting&>(*models[0]); }

Models models_of(std::string name = "counting") {
  Models models;
  models.push_back(std::make_unique<Counting>(std::move(name)));
  models.push_back(std::make_unique<LeapModel>());  // keeps nothing
  return models;
}

SavedModels learned() {
  Models models = models_of();
  counting(models).counts = {{kHere[0], 3}, {kHere[1], 5}, {ComponentId{9}, 8}};
  return save_models(models, kHere, kDigests);
}

TEST(SavedModels, AreTakenUpByTheNextSessionUnderItsOwnNumbers) {
  const auto saved = parse_saved_models(serialize(learned()));
  ASSERT_TRUE(saved) << saved.error().message;
  EXPECT_EQ(*saved, learned());
  Models next = models_of();
  EXPECT_THAT(restore_models(*saved, std::vector{ComponentId{70}, ComponentId{40}}, next),
              IsEmpty());
  EXPECT_EQ(counting(next).counts,
            (std::map<ComponentId, uint8_t>{{ComponentId{70}, 3}, {ComponentId{40}, 5}}));
}

TEST(SavedModels, WhatIsOfNoComponentOfTheDiskIsDropped) {
  Models next = models_of();
  restore_models(learned(), std::vector{kNoComponent, ComponentId{40}}, next);
  EXPECT_EQ(counting(next).counts, (std::map<ComponentId, uint8_t>{{ComponentId{40}, 5}}));
}

TEST(SavedModels, AModelWhoseStateIsOfNoUseBeginsAfreshAndSaysWhy) {
  SavedModels saved = learned();
  saved.models[0].state[9] ^= std::byte{1};
  Models next = models_of();
  EXPECT_THAT(restore_models(saved, kHere, next),
              ElementsAre(HasSubstr("counting: saved statistics: version")));
  EXPECT_TRUE(counting(next).counts.empty());
  saved.models[0].name = "leap";
  EXPECT_THAT(restore_models(saved, kHere, next), ElementsAre("leap: model 'leap' keeps nothing"));
}

TEST(SavedModels, NothingIsSavedOfModelsThatHaveNothing) {
  EXPECT_TRUE(save_models(models_of(), kHere, kDigests).models.empty());
}

TEST(SavedModels, DamageIsRefusedAsAWhole) {
  const Buffer good = serialize(learned());
  for (size_t cut = 0; cut < good.size(); ++cut)
    EXPECT_FALSE(parse_saved_models(ByteView(good).first(cut)));
  for (size_t at = 0; at < good.size(); ++at) {
    Buffer bad = good;
    bad[at] ^= std::byte{0x20};
    EXPECT_FALSE(parse_saved_models(bad)) << at;
  }
}

std::string error_of(const SavedModels& saved) {
  const auto parsed = parse_saved_models(serialize(saved));
  return parsed ? "no error" : parsed.error().message;
}

TEST(SavedModels, WhatCannotBeIsRefused) {
  const Buffer state(3);
  EXPECT_THAT(error_of({{kDigests[0], kDigests[0]}, {}}), HasSubstr("twice"));
  EXPECT_THAT(error_of({kDigests, {{"a", state}, {"a", state}}}), HasSubstr("model a twice"));
  EXPECT_THAT(error_of({kDigests, {{"../a", state}}}), HasSubstr("name is none"));
  EXPECT_THAT(error_of({kDigests, {{"a", {}}}}), HasSubstr("nothing was saved"));
  EXPECT_THAT(error_of({std::vector<Digest>(SavedModels::kComponentsMax + 1), {}}),
              HasSubstr("513 components"));
}

}  // namespace
}  // namespace forerun::predict
