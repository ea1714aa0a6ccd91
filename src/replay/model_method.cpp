#include "replay/model_method.h"

#include "predict/arbiter.h"
#include "predict/registry.h"

namespace forerun::replay {
namespace {

constexpr ComponentId kDisk{1};

class ModelMethod final : public BlockMethod {
 public:
  ModelMethod(std::string_view name, std::vector<std::unique_ptr<predict::Model>> models)
      : name_(name), arbiter_({}, std::move(models)) {}

  std::string_view name() const override { return name_; }

  void on_read(const BlockAccess& access, bool is_hit, double now_us,
               std::vector<BlockRun>& out) override {
    observe(access, is_hit ? trace::ServedFrom::kMemory : trace::ServedFrom::kRepository, now_us);
    for (const predict::Proposal& proposal : proposals_)
      out.push_back({proposal.first_block, proposal.block_count});
  }

  void on_write(const BlockAccess& access, double now_us) override {
    observe(access, trace::ServedFrom::kLocal, now_us);
  }

  size_t state_bytes() const override {
    size_t bytes = 0;
    for (const predict::ModelReport& report : arbiter_.report()) bytes += report.state_bytes;
    return bytes;
  }

 private:
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
  predict::Arbiter arbiter_;
  std::vector<predict::Proposal> proposals_;
};

}  // namespace

std::unique_ptr<BlockMethod> make_model_method(std::string_view name,
                                               const std::vector<std::string>& models) {
  auto made = predict::make_models(models, {.components = {kDisk}, .block_bytes = 4096});
  FR_ASSERT(made.has_value(), "the table of methods names models that exist");
  return std::make_unique<ModelMethod>(name, std::move(*made));
}

std::unique_ptr<BlockMethod> make_model_method(std::string_view model) {
  return make_model_method(model, {std::string(model)});
}

}  // namespace forerun::replay
