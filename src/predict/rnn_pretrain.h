// Where a network begins: taught by made-up workloads, so that the first guest does not meet random
// numbers. Reproducible: the same seed and length give the same bits.
#pragma once

#include <functional>
#include <memory>

#include "core/rng.h"
#include "predict/rnn.h"

namespace forerun::predict {

// One made-up guest: a few requests of one kind of work after another: sequential readers, alone
// and side by side, with and without writes between; strides; loops over scattered places; walks by
// the same few gaps; random reads.
class MadeUpWork {
 public:
  explicit MadeUpWork(uint64_t seed) : rng_(seed) {}
  trace::Access next();

 private:
  enum class Kind : uint8_t { kStreams, kStride, kLoop, kGaps, kRandom, kKinds };
  void begin();
  uint64_t place();
  uint32_t size();

  Rng rng_;
  Kind kind_ = Kind::kRandom;
  uint32_t left_ = 0;  // requests of this kind
  uint32_t size_ = 1;
  uint64_t at_ = 0;
  size_t turn_ = 0;
  int64_t stride_ = 0;
  double write_share_ = 0;
  std::vector<uint64_t> places_;  // of streams, loops
  std::vector<int64_t> gaps_;
  Time now_{};
};

// Returns a network that was trained on so many made-up requests. `progress` is called now and then
// with the share that is done and the mean cost in nats per request; it may be empty.
RnnNetPtr pretrain_rnn(uint64_t seed, uint64_t requests,
                       const std::function<void(double share, double loss)>& progress);
// Returns the mean cost of a network on made-up work of that seed, in nats per request, while it
// learns nothing.
double cost_of_rnn(const RnnNetPtr& net, uint64_t seed, uint64_t requests);
// Returns the network that comes with Forerun (rnn_pretrained.bin).
RnnNetPtr pretrained_rnn();

}  // namespace forerun::predict
