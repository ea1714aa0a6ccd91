// A composed disk as the repository has it, for reading its file system again.
#pragma once

#include <unordered_map>

#include "daemon/image_catalog.h"
#include "image/boot_prior.h"
#include "image/disk_reader.h"
#include "repository/fetch.h"

namespace forerun::bench {

// One thread. Layout and source stay the caller's.
class LayoutDisk final : public image::DiskReader {
 public:
  LayoutDisk(const daemon::ImageCatalog::Layout& layout, repository::Source& source)
      : layout_(layout), source_(source) {}

  uint64_t size_bytes() const override { return layout_.table.size_bytes(); }
  bool known_zero(ByteRange) override { return false; }
  Status read(uint64_t offset, MutableByteView out) override;

  // What image::foresee_boot asks: the component's id stands for the part.
  void each_block(const ByteRange& range, const image::EachBlock& block) const;

 private:
  Result<repository::ChunkPtr> chunk(const repository::ChunkRef& ref);

  const daemon::ImageCatalog::Layout& layout_;
  repository::Source& source_;
  std::unordered_map<ChunkId, repository::ChunkPtr> chunks_;
};

// Returns the boot prior of an image as it would be made now. ERRORS: as image::foresee_boot.
Result<predict::Priors> foresee_again(const daemon::ImageCatalog::Layout& layout,
                                      repository::Source& source);

}  // namespace forerun::bench
