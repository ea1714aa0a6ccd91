// The thread on which the recurrent networks of all VMs learn from what their models saw. Each VM
// has its own: what one guest does says nothing of another's, tokens stand for other gaps there,
// and a network goes with its VM to another host.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

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
  // Begins to learn. Every network begins as `begin`.
  RnnTraining(Options options, const Clock& clock, predict::RnnNetPtr begin);
  ~RnnTraining();

  // Returns a VM's own trainer. This thread, and nobody else, trains it, a step in turn with the
  // others, while somebody holds it.
  std::shared_ptr<predict::RnnTrainer> make_trainer();

 private:
  void run();
  // Makes one step with each that has something to learn from. Returns whether any had.
  bool train_all();

  const Options options_;
  const Clock& clock_;
  const predict::RnnNetPtr begin_;
  std::mutex mutex_;  // guards trainers_ and is_stopping_
  std::vector<std::weak_ptr<predict::RnnTrainer>> trainers_;
  std::condition_variable stop_;
  bool is_stopping_ = false;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace forerun::daemon
