// The images of the repositories, and the components that disks are made of, as this process
// numbers them.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "core/result.h"
#include "image/composition.h"
#include "image/mapping_table.h"
#include "predict/prior.h"
#include "repository/image_index.h"
#include "repository/object_kind.h"
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
    uint32_t number = 0;  // in the composition
    std::string name;
    bool is_component = false;  // otherwise the metadata made for this disk
    std::string function;       // of a component
  };
  // What a disk begins as: the parts of a composition, or one whole-image component.
  class Layout {
   public:
    Layout(const Digest& of, image::MappingTable mapping) : digest(of), table(std::move(mapping)) {}
    const Digest digest;  // of the composition, or of the component's index
    const image::MappingTable table;
    std::map<ComponentId, Part> parts;  // of a composition; empty for a whole image
    std::vector<ComponentId> components() const;
    // What a first boot is expected to read; may be empty, and grow while it is being foreseen.
    predict::Priors priors() const;

   private:
    friend class ImageCatalog;
    mutable std::mutex mutex_;  // guards priors_
    mutable predict::Priors priors_;
  };
  using LayoutPtr = std::shared_ptr<const Layout>;
  struct Image {
    repository::ImageTag tag;
    LayoutPtr layout;
  };
  // Returns the image of this name as it is now, fetching what it is made of if that is not known
  // yet.
  // ERRORS: kNotFound; kUnavailable if no repository answers; kCorrupt; kDenied: its tag is not
  // trusted.
  Result<Image> open(const std::string& name);
  // Returns the image of this digest, whatever its name points at now: a VM keeps the image it
  // began with.
  Result<LayoutPtr> open_digest(const Digest& digest);
  // The priors of the disk `digest` are being made: nobody looks for them until load_priors() says
  // that they are there.
  void expect_priors(const Digest& digest);
  void load_priors(const Digest& digest);
  // Makes a component known whose index was read already.
  void add_component(const Digest& digest, const repository::ImageIndex& data,
                     const std::string& function);
  // Keeps the index of a component for the next run, if it is not kept yet.
  void keep_component(const Digest& digest);
  // For garbage collection of a repository (repository/gc.h): the disks that are open, or being
  // opened, by whoever holds their layout.
  std::set<Digest> open_disks() const;
  // Adds what the disk `digest` needs: of objects those that `store` has, and the chunks if they
  // are known without asking a repository. Returns whether they are.
  bool add_needs(const Digest& digest, repository::Store& store, repository::Needs& needs);

  // Returns the names, sorted. Repositories that cannot be reached are left out with a log line.
  Result<std::vector<std::string>> names();

  // Returns the chunk at a block of a component, or a zero chunk if there is none.
  repository::ChunkRef resolve(ComponentId component, uint64_t block) const;
  // Returns what a component is called where it is a companion of others, in every process: the
  // first bytes of its digest; 0 for the metadata of one composed disk, which no other disk has.
  uint64_t name_of(ComponentId component) const;
  // Returns the component of this digest, if it was opened since the start.
  std::optional<ComponentId> find(const Digest& component) const;
  // Returns the digest of a component's index.
  Digest digest_of(ComponentId component) const;

 private:
  // Returns the object at `path`, as the cache or a repository has it and `parse` accepts it.
  template <typename T, typename Parse>
  Result<T> load(const std::string& path, const Digest& digest, size_t size_max,
                 const Parse& parse);
  Result<image::ComponentPtr> open_part(const image::CompositionPart& part);
  // Returns the component as it is known from now on.
  image::ComponentPtr know(const Digest& digest, repository::ImageIndex data,
                           std::optional<std::string> function);
  Result<LayoutPtr> compose(const Digest& digest, const image::Composition& composition);
  // What is being opened is in use before its first byte is read.
  class Opening;
  using PriorPtr = std::shared_ptr<const predict::BlockSequence>;
  // Returns the prior at `path`, or null if there is none.
  Result<PriorPtr> load_prior(const std::string& path);
  // Finds the priors of a disk. Returns false if it did not look, as they are being made.
  bool add_priors(const Layout& layout);

  struct FoundTag {
    repository::ImageTag tag;
    repository::Source* source = nullptr;
  };
  Result<FoundTag> find_tag(const std::string& name);
  // Returns whether the cache has what the disk `digest` begins with.
  bool is_kept(const Digest& digest);

  std::vector<repository::Source*> sources_;
  repository::Store& cache_;
  mutable std::shared_mutex mutex_;  // guards all below; never held across a fetch
  std::map<Digest, LayoutPtr> layouts_;
  std::map<Digest, image::ComponentPtr> by_digest_;
  std::vector<image::ComponentPtr> by_id_;
  std::map<ComponentId, std::string> functions_;  // of components that are no whole image
  std::multiset<Digest> opening_;
  std::set<Digest> expected_priors_;  // of these disks
};

}  // namespace forerun::daemon
