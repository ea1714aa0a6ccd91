// Reads a composed disk back and compares it with the tree it was made from: for tests.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "image/disk_reader.h"
#include "image/ext4_writer.h"
#include "image/tree_merge.h"

namespace forerun::image {

// A composed disk as a guest sees it: metadata, and what extents show of the components. Image and
// data stay the caller's. Not thread-safe.
class ComposedDisk final : public DiskReader {
 public:
  ComposedDisk(const Ext4Image& image, std::vector<ByteView> component_data)
      : image_(image), data_(std::move(component_data)) {}

  uint64_t size_bytes() const override { return image_.size_bytes; }
  bool known_zero(ByteRange) override { return false; }
  Status read(uint64_t offset, MutableByteView out) override {
    image_.metadata.read(offset, out);
    for (const DataExtent& extent : image_.extents) {
      const ByteRange part = intersect(extent.range, {offset, out.size()});
      if (part.empty()) continue;
      const uint64_t from = extent.component_offset + (part.offset - extent.range.offset);
      const ByteView source = data_[extent.component].subspan(from, part.length);
      std::ranges::copy(source, out.begin() + static_cast<ptrdiff_t>(part.offset - offset));
    }
    return {};
  }

 private:
  const Ext4Image& image_;
  const std::vector<ByteView> data_;
};

// Returns every way in which the file system on `disk` differs from `tree`, whose files have their
// content in `component_data`: names, kinds, modes, owners, times, sizes, content, holes, links,
// devices, attributes. Checksums are verified on the way.
std::vector<std::string> differences(DiskReader& disk, const MergedTree& tree,
                                     std::span<const ByteView> component_data);

}  // namespace forerun::image
