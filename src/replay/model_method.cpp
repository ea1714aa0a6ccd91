#include "replay/model_method.h"

#include <algorithm>

#include "predict/arbiter.h"
#include "predict/at_work.h"
#include "predict/registry.h"
#include "predict/rnn_pretrain.h"

namespace forerun::replay {
namespace {

constexpr ComponentId kDisk{1};
constexpr size_t kStepsAside = 1;  // of training, after each read

class ModelMethod final : public BlockMethod {
 public:
  ModelMethod(std::string_view name, std::vector<std::unique_ptr<predict::Model>> models,
              std::shared_ptr<predict::RnnTrainer> trainer)
      : name_(name), trainer_(std::move(trainer)), arbiter_(at_work(), std::move(models)) {}
  // As for boots: what was read lately is thought to be in the cache.
  ModelMethod(std::string_view name, std::vector<std::unique_ptr<predict::Model>> models)
      : name_(name), arbiter_({}, std::move(models)) {}

  std::string_view name() const override { return name_; }
  void begin(WhichAreHere which_are_here) override { which_are_here_ = std::move(which_are_here); }

  void on_read(const BlockAccess& access, bool is_hit, double now_us,
               std::vector<BlockRun>& out) override {
    observe(access, is_hit ? trace::ServedFrom::kMemory : trace::ServedFrom::kRepository, now_us);
    for (const predict::Proposal& proposal : proposals_)
      out.push_back({proposal.first_block, proposal.block_count});
  }

  void on_write(const BlockAccess& access, double now_us) override {
    observe(access, trace::ServedFrom::kLocal, now_us);
  }

  void work_aside() override {
    if (trainer_) trainer_->train(kStepsAside);
  }

  size_t state_bytes() const override {
    size_t bytes = 0;
    for (const predict::ModelReport& report : arbiter_.report()) bytes += report.state_bytes;
    return bytes;
  }

 private:
  predict::Arbiter::Options at_work() {
    predict::Arbiter::Options options = predict::work_options();
    options.which_are_here = [this](ComponentId, uint64_t first_block, uint32_t block_count) {
      return which_are_here_ ? which_are_here_(first_block, block_count) : 0;
    };
    return options;
  }
  void observe(const BlockAccess& access, trace::ServedFrom from, double now_us) {
    proposals_.clear();
    arbiter_.on_access({.at = kTimeZero + from_seconds(now_us * 1e-6),
                        .component = kDisk,
                        .first_block = access.first_block,
                        .block_count = access.block_count,
                        .op = access.is_write ? trace::Op::kWrite : trace::Op::kRead,
                        .served_from = from},
                       proposals_);
  }

  std::string name_;
  WhichAreHere which_are_here_;
  std::shared_ptr<predict::RnnTrainer> trainer_;  // null: none of the models is a network
  predict::Arbiter arbiter_;
  std::vector<predict::Proposal> proposals_;
};

}  // namespace

std::unique_ptr<BlockMethod> make_model_method(std::string_view name,
                                               const std::vector<std::string>& models,
                                               uint32_t block_bytes) {
  std::shared_ptr<predict::RnnTrainer> trainer;
  if (std::find(models.begin(), models.end(), "rnn") != models.end())
    trainer = std::make_shared<predict::RnnTrainer>(predict::RnnTrainer::Options{},
                                                    predict::pretrained_rnn());
  auto made = predict::make_models(
      models, {.components = {kDisk}, .rnn = trainer, .block_bytes = block_bytes});
  FR_ASSERT(made.has_value(), "the table of methods names models that exist");
  return std::make_unique<ModelMethod>(name, std::move(*made), std::move(trainer));
}

std::unique_ptr<BlockMethod> make_model_method(std::string_view model, uint32_t block_bytes) {
  return make_model_method(model, {std::string(model)}, block_bytes);
}

std::unique_ptr<BlockMethod> make_boot_method(uint32_t block_bytes) {
  auto made = predict::make_models({}, {.components = {kDisk}, .block_bytes = block_bytes});
  FR_ASSERT(made.has_value(), "the models of boots exist");
  return std::make_unique<ModelMethod>("boot", std::move(*made));
}

}  // namespace forerun::replay
