// The images of the repositories, and the components that disks are made of, as this process
// numbers them.
#pragma once

#include <map>
#include <shared_mutex>
#include <string>
#include <vector>

#include "core/result.h"
#include "image/composition.h"
#include "image/mapping_table.h"
#include "predict/prior.h"
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

  // What a composition says of one of its parts.
  struct Part {
    std::string name;
    bool is_component = false;  // otherwise the metadata made for this disk
    std::string function;       // of a component
  };
  // What a disk begins as: the parts of a composition, or one whole-image component.
  struct Layout {
    Digest digest;  // of the composition, or of the component's index
    image::MappingTable table;
    predict::Priors priors;             // what a first boot is expected to read; may be empty
    std::map<ComponentId, Part> parts;  // of a composition; empty for a whole image
    std::vector<ComponentId> components() const;
  };
  using LayoutPtr = std::shared_ptr<const Layout>;
  struct Image {
    repository::ImageTag tag;
    LayoutPtr layout;
  };
  // Returns the image of this name as it is now, fetching what it is made of if that is not known
  // yet.
  // ERRORS: kNotFound; kUnavailable if no repository answers; kCorrupt.
  Result<Image> open(const std::string& name);
  // Returns the image of this digest, whatever its name points at now: a VM keeps the image it
  // began with.
  Result<LayoutPtr> open_digest(const Digest& digest);
  // Returns the names, sorted. Repositories that cannot be reached are left out with a log line.
  Result<std::vector<std::string>> names();

  // Returns the chunk at a block of a component, or a zero chunk if there is none.
  repository::ChunkRef resolve(ComponentId component, uint64_t block) const;
  // Returns what a component is called where it is a companion of others, in every process: the
  // first bytes of its digest; 0 for the metadata of one composed disk, which no other disk has.
  uint64_t name_of(ComponentId component) const;
  // Returns the digest of a component's index.
  Digest digest_of(ComponentId component) const;

 private:
  // Returns the object at `path`, as the cache or a repository has it and `parse` accepts it.
  template <typename T, typename Parse>
  Result<T> load(const std::string& path, const Digest& digest, size_t size_max,
                 const Parse& parse);
  Result<image::ComponentPtr> open_part(const image::CompositionPart& part);
  Result<LayoutPtr> compose(const Digest& digest, const image::Composition& composition);
  using PriorPtr = std::shared_ptr<const predict::BlockSequence>;
  // Returns the prior at `path`, or null if there is none.
  Result<PriorPtr> load_prior(const std::string& path);

  std::vector<repository::Source*> sources_;
  repository::Store& cache_;
  mutable std::shared_mutex mutex_;  // guards all below; never held across a fetch
  std::map<Digest, LayoutPtr> layouts_;
  std::map<Digest, image::ComponentPtr> by_digest_;
  std::vector<image::ComponentPtr> by_id_;
  std::map<ComponentId, std::string> functions_;  // of components that are no whole image
};

}  // namespace forerun::daemon
