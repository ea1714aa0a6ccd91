#include "daemon/rnn_training.h"

#include <utility>

namespace forerun::daemon {

RnnTraining::RnnTraining(Options options, const Clock& clock,
                         std::shared_ptr<predict::RnnTrainer> trainer)
    : options_(options), clock_(clock), trainer_(std::move(trainer)), thread_([this] { run(); }) {}

RnnTraining::~RnnTraining() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  stop_.notify_all();
}

void RnnTraining::run() {
  Nanos rest = options_.look_every;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (stop_.wait_for(lock, rest, [this] { return is_stopping_; })) return;
    }
    const Time begin = clock_.now();
    const bool has_learned = trainer_->train(1) > 0;
    rest = has_learned ? options_.rest_per_work * (clock_.now() - begin) : options_.look_every;
  }
}

}  // namespace forerun::daemon
