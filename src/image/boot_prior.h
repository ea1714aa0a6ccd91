// The boot prior of an image: its boot graph as blocks, with probabilities, in order. Made once, at
// import; kept in the repository as priors/<index digest> (docs/format_history.md), where every
// host that boots the image for the first time finds it.
#pragma once

#include <memory>
#include <string>

#include "core/id.h"
#include "core/result.h"
#include "image/disk_reader.h"
#include "predict/sequence.h"
#include "repository/image_index.h"
#include "repository/source.h"

namespace forerun::image {

struct BootPrior {
  std::shared_ptr<const predict::BlockSequence> sequence;
  size_t file_count = 0, unit_count = 0;
  std::string init;  // what the guest will start: "/usr/lib/systemd/systemd"
};

// Returns what the guest on `disk` will read while it boots. `index` is the disk's: zero chunks are
// left out. ERRORS: kNotFound if there is no ext file system with an init on it, or what keeps it
// from being read. Wrong content can make the prior wrong, nothing else.
Result<BootPrior> foresee_boot(DiskReader& disk, const repository::ImageIndex& index);

std::string prior_path(const Digest& index);
// Returns the prior of the image with this index. ERRORS: kNotFound if it has none; as
// Source::fetch and parse_block_sequence.
Result<std::shared_ptr<const predict::BlockSequence>> fetch_prior(repository::Source& source,
                                                                  const Digest& index);

}  // namespace forerun::image
