// Constant strides of two blocks or more, forward or backward, many interleaved: three accesses of
// one size at equal distance make a suspicion, the fourth confirms it, and only then something is
// said.
#pragma once

#include <array>
#include <vector>

#include "predict/model.h"

namespace forerun::predict {

// One thread.
class StrideModel final : public Model {
 public:
  struct Options {
    uint32_t streams_max = 32;   // the one idle longest is replaced
    uint32_t stride_max = 1024;  // blocks, either way
    uint32_t ahead_max = 8;      // accesses ahead, once well confirmed
  };
  StrideModel();
  explicit StrideModel(Options options);

  std::string_view name() const override { return "stride"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  void on_end(Time now) override;
  size_t state_bytes() const override;

 private:
  static constexpr size_t kRecent = 16;
  struct Touch {
    ComponentId component;
    uint64_t block = 0;
    uint32_t size = 0;  // 0: none yet
  };
  struct Stream {
    Touch last;
    int64_t delta = 0;
    uint32_t confirmed = 0;  // equal distances seen in a row
    uint64_t used_at = 0;
    Time last_at{};
    float pace_s = 0;
  };
  Stream* match(const trace::Access& access);
  void suspect(const trace::Access& access);
  void say(const Stream& stream, Time now, std::vector<Candidate>& out) const;

  Options options_;
  std::vector<Stream> streams_;
  std::array<Touch, kRecent> recent_{};  // a ring
  size_t next_recent_ = 0;
  uint64_t accesses_ = 0;
};

}  // namespace forerun::predict
