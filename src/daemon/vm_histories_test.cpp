#include "daemon/vm_histories.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "os/file.h"
#include "predict/rnn_pretrain.h"
#include "repository/memory_store.h"

namespace forerun::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Models = std::vector<std::unique_ptr<predict::Model>>;

constexpr VmId kVm{1};

// A host: its state folder, its catalog, and a session of VM "web".
class VmHistoriesTest : public testing::Test {
 protected:
  struct Host {
    explicit Host(const std::string& folder) : folder_(folder) {
      // In another order on each host, so with other numbers.
      std::vector<std::string> names = {"base", "nginx", "other"};
      if (folder.ends_with("b")) std::reverse(names.begin(), names.end());
      for (const std::string& name : names) catalog_.add_component(digest(name), {}, "");
      histories_.visit_by([this](VmId, const VmHistories::Look& look) { look(models_); });
    }
    static Digest digest(std::string_view name) { return sha256(as_bytes(name)); }
    ComponentId id(std::string_view name) const { return *catalog_.find(digest(name)); }

    void begin(Models models) {
      models_ = std::move(models);
      histories_.open(kVm, "web", {id("base"), id("nginx")});
      histories_.restore(kVm, models_);
    }

    std::string folder_;
    repository::MemoryStore cache_;
    ImageCatalog catalog_{{}, cache_};
    Histories components_{folder_, catalog_};
    ManualClock clock_;
    VmHistories histories_{{}, folder_, clock_, catalog_, components_};
    Models models_;
  };

  void SetUp() override {
    char name[] = "/tmp/forerun-histories-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static Models rnn() {
    Models models;
    models.push_back(std::make_unique<predict::RnnModel>(
        predict::RnnModel::Options{},
        std::make_shared<predict::RnnTrainer>(predict::RnnTrainer::Options{},
                                              predict::pretrained_rnn())));
    return models;
  }
  static void teach(predict::Model& model, ComponentId component) {
    std::vector<predict::Candidate> out;
    for (uint64_t i = 0; i < 200; ++i)
      model.on_access({.at = kTimeZero + i * 1ms,
                       .component = component,
                       .first_block = i * 100,
                       .block_count = 1},
                      out);
  }
  static Buffer state(const Models& models) { return models[0]->save({}); }
  std::string file() const { return folder_ + "/a/vms/web"; }
  std::unique_ptr<Host> host(const std::string& name) const {
    return std::make_unique<Host>(folder_ + "/" + name);
  }

  std::string folder_;
};

TEST_F(VmHistoriesTest, ModelsGoOnAfterARestart) {
  auto first = host("a");
  first->begin(rnn());
  teach(*first->models_[0], first->id("base"));
  first->histories_.save(kVm);
  const Buffer learned = state(first->models_);

  auto second = host("a");
  second->begin(rnn());
  EXPECT_EQ(state(second->models_), learned);
}

TEST_F(VmHistoriesTest, AnotherVmBeginsWithoutThem) {
  auto first = host("a");
  first->begin(rnn());
  teach(*first->models_[0], first->id("base"));
  first->histories_.save(kVm);
  const Models others = rnn();
  first->histories_.open(VmId{2}, "db", {first->id("base")});
  first->histories_.restore(VmId{2}, others);
  EXPECT_THAT(state(others), IsEmpty());
}

TEST_F(VmHistoriesTest, SavesNowAndThenAndOnlyWhatIsAtWork) {
  auto one = host("a");
  one->histories_.open(VmId{2}, "booting", {one->id("base")});
  one->begin(rnn());
  teach(*one->models_[0], one->id("base"));
  one->clock_.advance(119s);
  one->histories_.save_due();
  EXPECT_FALSE(os::path_exists(file()));
  one->clock_.advance(1s);
  one->histories_.save_due();
  EXPECT_TRUE(os::path_exists(file()));
  EXPECT_FALSE(os::path_exists(folder_ + "/a/vms/booting"));
  std::filesystem::remove(file());
  one->histories_.save_due();
  EXPECT_FALSE(os::path_exists(file())) << "it was just saved";
  one->histories_.save_all();
  EXPECT_TRUE(os::path_exists(file()));
  one->histories_.remove("web");
  EXPECT_FALSE(os::path_exists(file()));
}

TEST_F(VmHistoriesTest, ADamagedFileIsSetAsideAndLearningStartsAfresh) {
  auto first = host("a");
  first->begin(rnn());
  teach(*first->models_[0], first->id("base"));
  first->histories_.save(kVm);
  Buffer bytes = *os::read_file(file(), 1 << 20);
  bytes[bytes.size() / 2] ^= std::byte{4};
  ASSERT_TRUE(os::write_file_atomic(file(), bytes));

  auto second = host("a");
  second->begin(rnn());
  EXPECT_THAT(state(second->models_), IsEmpty());
  EXPECT_FALSE(os::path_exists(file()));
  EXPECT_EQ(*os::read_file(file() + ".damaged", 1 << 20), bytes);
  teach(*second->models_[0], second->id("base"));
  second->histories_.save(kVm);
  EXPECT_TRUE(os::path_exists(file()));
}

TEST_F(VmHistoriesTest, ASessionWithOtherModelsKeepsWhatThatOneHadNot) {
  auto first = host("a");
  first->begin(rnn());
  teach(*first->models_[0], first->id("base"));
  first->histories_.save(kVm);
  const auto before = predict::parse_saved_models(*os::read_file(file(), 1 << 20));
  first->begin({});
  first->histories_.save(kVm);
  EXPECT_EQ(predict::parse_saved_models(*os::read_file(file(), 1 << 20))->models, before->models);
}

class TakingAlong : public VmHistoriesTest {
 protected:
  void SetUp() override {
    VmHistoriesTest::SetUp();
    here_ = host("a");
    here_->begin(rnn());
    teach(*here_->models_[0], here_->id("base"));
    here_->histories_.save(kVm);
    boot(*here_, {"base", "nginx"}, {7, 3, 5});
    boot(*here_, {"base", "other"}, {7, 9});  // another VM's
  }
  // Boots a disk of these components: that reads these blocks of the base.
  static void boot(Host& host, const std::vector<std::string>& components,
                   const std::vector<uint64_t>& blocks) {
    std::vector<ComponentId> disk;
    for (const auto& name : components) disk.push_back(host.id(name));
    std::vector<predict::FirstTouch> touches;
    for (const uint64_t block : blocks) touches.push_back({block, 1});
    host.components_.replay()->merge(host.id("base"), disk, touches);
  }
  // What the host knows of "web", as if its layout had been asked for.
  predict::VmHistory known(Host& host) {
    predict::VmHistory history;
    history.vm = "web";
    const std::vector<ComponentId> disk = {host.id("base"), host.id("nginx")};
    for (const ComponentId component : disk) {
      auto saved = host.components_.of_disk(component, disk);
      if (!saved.replay.empty())
        history.parts.push_back({host.catalog_.digest_of(component), saved.replay, {}});
    }
    history.models =
        *predict::parse_saved_models(*os::read_file(host.folder_ + "/vms/web", 1 << 20));
    return history;
  }

  std::unique_ptr<Host> here_;
};

TEST_F(TakingAlong, AnotherHostGoesOnWithTheModelsAndForeseesTheBoot) {
  const auto file = predict::serialize(known(*here_));
  ASSERT_TRUE(file);
  const auto taken = predict::parse_vm_history(*file);
  ASSERT_TRUE(taken) << taken.error().message;
  auto there = host("b");
  const auto info = there->histories_.take_up("web", *taken, nullptr);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_THAT(info->models_taken, ElementsAre("rnn"));
  EXPECT_EQ(info->histories_merged, 1u);
  there->begin(rnn());
  EXPECT_EQ(state(there->models_), state(here_->models_));
  there->components_.load(there->id("base"));
  const auto foreseen = there->components_.replay()->foresee(
      there->id("base"), std::vector{there->id("base"), there->id("nginx")});
  ASSERT_NE(foreseen, nullptr);
  EXPECT_TRUE(foreseen->find(3));
  EXPECT_FALSE(foreseen->find(9)) << "the other VM's stays at home";
}

TEST_F(TakingAlong, WhatIsKnownThereStaysAndIsAddedTo) {
  auto there = host("b");
  there->begin(rnn());
  teach(*there->models_[0], there->id("nginx"));
  teach(*there->models_[0], there->id("base"));
  there->histories_.save(kVm);
  const Buffer before = state(there->models_);
  boot(*there, {"base", "nginx"}, {7, 11});
  const auto info = there->histories_.take_up("web", known(*here_), nullptr);
  ASSERT_TRUE(info);
  EXPECT_THAT(info->models_kept, ElementsAre("rnn"));
  EXPECT_THAT(info->models_taken, IsEmpty());
  there->begin(rnn());
  EXPECT_EQ(state(there->models_), before);
  const auto foreseen = there->components_.replay()->foresee(
      there->id("base"), std::vector{there->id("base"), there->id("nginx")});
  EXPECT_TRUE(foreseen->find(3));
  EXPECT_TRUE(foreseen->find(11));
  EXPECT_EQ(there->components_.boots(there->id("base")), 2u);
}

TEST_F(TakingAlong, DamageIsRefusedAsAWholeWithItsPlace) {
  const auto refused = [&](predict::VmHistory history) {
    const auto parsed = predict::parse_vm_history(*predict::serialize(history));
    return parsed ? "no error" : parsed.error().message;
  };
  predict::VmHistory history = known(*here_);
  history.parts[0].replay[30] ^= std::byte{1};
  EXPECT_THAT(refused(history), HasSubstr("component " + Host::digest("base").short_hex() +
                                          ": saved statistics: its checksum does not match"));
  history = known(*here_);
  history.models.models[0].state[30] ^= std::byte{1};
  EXPECT_THAT(refused(history), HasSubstr("its models: saved statistics: its checksum"));
  history = known(*here_);
  history.models.models[0].name = "oracle";
  EXPECT_THAT(refused(history), HasSubstr("its models: no model is named 'oracle'"));
  history = known(*here_);
  history.parts.push_back(history.parts[0]);
  EXPECT_THAT(refused(history), HasSubstr("twice"));
  history.vm = "../web";
  EXPECT_THAT(refused(history), HasSubstr("name is none"));
  const Buffer good = *predict::serialize(known(*here_));
  for (size_t cut = 0; cut < good.size(); cut += 4999)
    EXPECT_FALSE(predict::parse_vm_history(ByteView(good).first(cut)));
}

}  // namespace
}  // namespace forerun::daemon
