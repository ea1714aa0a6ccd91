// What the first boot of a disk that was just composed is expected to read: foreseen when it is
// made, or beside its start.
#pragma once

#include <vector>

#include "core/result.h"
#include "image/composition.h"
#include "image/dependencies.h"
#include "predict/sequence.h"
#include "repository/image_index.h"
#include "repository/source.h"

namespace forerun::image {

class FirstBoot {
 public:
  // `components`: those of `composition`, in its order, behind the part that was made for the disk;
  // `meanings`: of that part's chunks.
  FirstBoot(const Digest& image, Composition composition, repository::ImageIndex metadata,
            std::vector<predict::Meaning> meanings, std::vector<ResolvedComponent> components);

  const Digest& image() const { return image_; }  // of the composition
  const std::vector<ResolvedComponent>& components() const { return components_; }
  // Puts a prior for each part (part_prior_path) into `store`, where the disk is. Where the store
  // has the components' data, programs and units on the disk are read, some 10 MB; elsewhere it is
  // what other compositions of the components foresaw. The metadata's says what its blocks mean, so
  // that boots of other disks foresee it too. Returns how many chunks are expected; 0: the
  // disk tells nothing, which is no error, as a prior is no more than a guess. ERRORS: as put and
  // flush.
  Result<size_t> foresee(repository::Store& store) const;

 private:
  Digest image_;
  Composition composition_;
  repository::ImageIndex metadata_;
  std::vector<predict::Meaning> meanings_;
  std::vector<ResolvedComponent> components_;
};

}  // namespace forerun::image
