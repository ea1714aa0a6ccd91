// The images of the repositories, and the components that disks are made of, as this process
// numbers them.
#pragma once

#include <map>
#include <shared_mutex>
#include <string>
#include <vector>

#include "core/result.h"
#include "image/mapping_table.h"
#include "predict/sequence.h"
#include "repository/image_index.h"
#include "repository/source.h"

namespace forerun::daemon {

// Thread-safe.
class ImageCatalog {
 public:
  // `sources`: in the order in which they are asked. `cache` keeps the indexes of images that were
  // opened, so that a restarted daemon serves its VMs before any repository answers; it outlives
  // this object.
  ImageCatalog(std::vector<repository::Source*> sources, repository::Store& cache)
      : sources_(std::move(sources)), cache_(cache) {}

  struct Image {
    repository::ImageTag tag;
    image::ComponentPtr component;
  };
  // Returns the image of this name as it is now, fetching its index if it is not known yet.
  // ERRORS: kNotFound; kUnavailable if no repository answers; kCorrupt.
  Result<Image> open(const std::string& name);
  // Returns the image whose index has this digest, whatever its name points at now: a VM keeps the
  // image it began with.
  Result<image::ComponentPtr> open_digest(const Digest& digest);
  // Returns the names, sorted. Repositories that cannot be reached are left out with a log line.
  Result<std::vector<std::string>> names();

  // Returns the chunk at a block of a component, or a zero chunk if there is none.
  repository::ChunkRef resolve(ComponentId component, uint64_t block) const;
  // Returns what the first boot of a component is expected to read; null if nobody foresaw it.
  std::shared_ptr<const predict::BlockSequence> prior_of(ComponentId component) const;
  // Returns the digest of a component's index.
  Digest digest_of(ComponentId component) const;

 private:
  Result<repository::ImageIndex> load(const Digest& digest);
  std::shared_ptr<const predict::BlockSequence> load_prior(const Digest& digest);

  std::vector<repository::Source*> sources_;
  repository::Store& cache_;
  mutable std::shared_mutex mutex_;  // guards all below; never held across a fetch
  std::map<Digest, image::ComponentPtr> by_digest_;
  std::vector<image::ComponentPtr> by_id_;
  std::vector<std::shared_ptr<const predict::BlockSequence>> priors_;  // by id
};

}  // namespace forerun::daemon
