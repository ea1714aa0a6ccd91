// What the blocks of a composed file system's metadata mean, in names that other disks have too:
// "records of the first files in /usr/bin", "entries of /etc". They are alike wherever the same
// directories are, whatever else is on the disk. For predict/meaning.h.
#pragma once

#include <cstdint>
#include <vector>

#include "core/bytes.h"
#include "image/ext4_geometry.h"
#include "image/ext4_plan.h"
#include "image/tree_merge.h"

namespace forerun::image {

struct NamedRange {
  ByteRange range;  // on the disk
  uint32_t name = 0;
  bool operator==(const NamedRange&) const = default;
};

namespace ext4 {

// Returns ranges of all that is generated, in no order; those of one name may touch.
std::vector<NamedRange> name_metadata(const MergedTree& tree, const Plan& plan,
                                      const Geometry& geometry);

}  // namespace ext4
}  // namespace forerun::image
