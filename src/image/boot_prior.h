// The boot prior of an image: its boot graph as blocks, with probabilities, in order. Made once, at
// import; kept in the repository as priors/<index digest> (docs/format_history.md), where every
// host that boots the image for the first time finds it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/id.h"
#include "core/result.h"
#include "image/disk_reader.h"
#include "image/file_tree.h"
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

// Calls `block` with the part and the block in it of every 64 KiB of data that a range of the disk
// touches; not of zeroes.
using EachBlock = std::function<void(uint32_t part, uint64_t block)>;
using BlocksOf = std::function<void(const ByteRange& range, const EachBlock& block)>;

// The same for a disk of several parts: a sequence for each, null where nothing is expected. Ranks
// and times are of the whole boot.
struct PartPriors {
  std::vector<std::shared_ptr<const predict::BlockSequence>> parts;
  size_t file_count = 0, unit_count = 0;
  std::string init;
};
Result<PartPriors> foresee_boot(DiskReader& disk, uint32_t part_count, const BlocksOf& blocks_of);

// Returns the prior of a composed disk's metadata, null if nothing is expected of it, with what its
// blocks mean, so that what boots of other disks read of theirs foresees it too.
std::shared_ptr<const predict::BlockSequence> with_meanings(const predict::BlockSequence* prior,
                                                            std::vector<predict::Meaning> meanings);

// Returns the prior with where the component's files begin: a neighbour in another file is less
// likely. Of more than kFileRunsMax runs the first.
std::shared_ptr<const predict::BlockSequence> with_files(const predict::BlockSequence& prior,
                                                         const FileTree& tree);

// The prior of part `part` of a composition: it depends on what else is in the disk.
std::string part_prior_path(const Digest& composition, uint32_t part);
std::string prior_path(const Digest& index);
// Returns the prior at `path`. ERRORS: kNotFound if there is none; as Source::fetch and
// parse_block_sequence.
Result<std::shared_ptr<const predict::BlockSequence>> fetch_prior(repository::Source& source,
                                                                  const std::string& path);

}  // namespace forerun::image
