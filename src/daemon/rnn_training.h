// The thread on which the host's recurrent network learns from what its models saw.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "core/time.h"
#include "predict/rnn.h"

namespace forerun::daemon {

// Thread-safe.
class RnnTraining {
 public:
  struct Options {
    Nanos look_every = std::chrono::milliseconds(50);  // for windows to learn from
    int rest_per_work = 9;  // it rests so many times as long as it worked: a tenth of a core
  };
  // Begins to learn. `trainer` is shared with the models; nobody else trains it.
  RnnTraining(Options options, const Clock& clock, std::shared_ptr<predict::RnnTrainer> trainer);
  ~RnnTraining();

  const std::shared_ptr<predict::RnnTrainer>& trainer() const { return trainer_; }

 private:
  void run();

  const Options options_;
  const Clock& clock_;
  const std::shared_ptr<predict::RnnTrainer> trainer_;
  std::mutex mutex_;  // guards is_stopping_
  std::condition_variable stop_;
  bool is_stopping_ = false;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace forerun::daemon
