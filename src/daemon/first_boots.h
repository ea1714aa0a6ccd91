// First boots foreseen beside the start of the disks they are of: reading the programs and units of
// a composed disk takes longer than composing it, and no guest has to wait for that.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/id.h"
#include "daemon/image_catalog.h"
#include "image/first_boot.h"
#include "repository/source.h"

namespace forerun::daemon {

// Thread-safe.
class FirstBoots {
 public:
  // `store` has the disks, and takes their priors; both outlive this object.
  FirstBoots(repository::Store& store, ImageCatalog& catalog);
  ~FirstBoots();
  // Ends the thread; what it is at is finished, what waits is given up.
  void stop();

  // Has the boot foreseen: at once if somebody waits for it, otherwise in a moment. The catalog
  // knows the priors as soon as they are known.
  void add(std::shared_ptr<const image::FirstBoot> boot);
  bool is_pending(const Digest& image) const;
  // Calls `then` once the boot of `image` is foreseen, or cannot be, from this object's thread.
  // Returns whether it will: not for a disk that nobody is at.
  bool when_foreseen(const Digest& image, std::function<void()> then);

 private:
  using Waiting = std::deque<std::shared_ptr<const image::FirstBoot>>;

  void run();
  // Returns the first that somebody waits for. REQUIRES: mutex_ is held.
  Waiting::iterator find_wanted();
  void foresee(const image::FirstBoot& boot);

  repository::Store& store_;
  ImageCatalog& catalog_;
  mutable std::mutex mutex_;  // guards all below but the thread
  std::condition_variable changed_;
  Waiting waiting_;
  std::map<Digest, std::vector<std::function<void()>>> pending_;  // what comes after each
  bool is_stopping_ = false;
  std::jthread thread_;
};

}  // namespace forerun::daemon
