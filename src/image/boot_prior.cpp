#include "image/boot_prior.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>

#include "image/boot_graph.h"
#include "image/ext4.h"
#include "image/partitions.h"

namespace forerun::image {
namespace {

using repository::kChunkSize;

constexpr uint32_t kBlocksMax = predict::kSequenceBlocksMax;
constexpr size_t kPriorBytesMax = 2 * kMiB;
constexpr float kProbabilityMax = 0.98f;
constexpr float kProbabilityMin = 0.05f;
// A chunk whose first mention is this unlikely takes its place by a later, likelier one.
constexpr float kPlacing = 0.3f;
// ext4 reads inode tables ahead by 32 blocks of 4 KiB (s_inode_readahead_blks), aligned.
constexpr uint64_t kRecordWindow = 128 * kKiB;
constexpr float kRecordWindowShare = 0.9f;
// Records lie in order of directories, so those of files that no graph knows are read too: of the
// chunks between records that are in the graph about a third (composed Debian images).
constexpr float kBetweenRecordsShare = 0.35f;
constexpr uint64_t kBetweenRecordsMax = 32;  // chunks from one record to the next
// Only the order is known. The pace is that of a recorded boot on demand; a session adapts it.
constexpr float kFirstReadS = 1.0f;
constexpr float kSecondsPerBlock = 0.012f;

class Blocks {
 public:
  explicit Blocks(const BlocksOf& blocks_of) : blocks_of_(blocks_of) {}

  void add(const ByteRange& range, FileId file, float probability) {
    if (range.empty()) return;
    blocks_of_(range, [&](uint32_t part, uint64_t block) {
      Known& known = known_[{part, block}];
      // The reads of one file are no independent witnesses of the chunk.
      if (known.file == file && file != 0) {
        if (probability > known.of_file) {
          known.missed *= (1 - probability) / (1 - known.of_file);
          known.of_file = probability;
        }
      } else {
        known.missed *= 1 - probability;
        known.file = file, known.of_file = probability;
      }
      if (!known.is_placed && 1 - known.missed >= kPlacing) {
        known.is_placed = true;
        known.place = placed_++;
      }
    });
  }

  // Returns the entries of each part.
  std::vector<std::vector<predict::SequenceEntry>> entries(uint32_t part_count) const {
    std::vector<std::pair<PartBlock, Known>> ordered;
    for (const auto& [block, known] : known_) {
      if (1 - known.missed >= kProbabilityMin) ordered.emplace_back(block, known);
    }
    std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
      return std::tuple(!a.second.is_placed, a.second.place, a.first) <
             std::tuple(!b.second.is_placed, b.second.place, b.first);
    });
    if (ordered.size() > kBlocksMax) ordered.resize(kBlocksMax);
    std::vector<std::vector<predict::SequenceEntry>> entries(part_count);
    float rank = 0;
    for (const auto& [at, known] : ordered) {
      entries.at(at.first).push_back({at.second, std::min(1 - known.missed, kProbabilityMax), rank,
                                      kFirstReadS + rank * kSecondsPerBlock});
      ++rank;
    }
    return entries;
  }

 private:
  using PartBlock = std::pair<uint32_t, uint64_t>;
  struct Known {
    float missed = 1;  // probability that no file's read touches it
    FileId file = 0;   // the last that did, with its probability
    float of_file = 0;
    bool is_placed = false;
    uint64_t place = 0;
  };
  const BlocksOf& blocks_of_;
  std::map<PartBlock, Known> known_;
  uint64_t placed_ = 0;
};

std::vector<std::shared_ptr<const predict::BlockSequence>> sequences_of(const BootGraph& graph,
                                                                        uint32_t part_count,
                                                                        const BlocksOf& blocks_of) {
  Blocks blocks(blocks_of);
  std::set<uint64_t> records;
  for (const BootRead& read : graph.reads) {
    if (read.is_record) records.insert(read.range.offset / kChunkSize);
  }
  std::optional<uint64_t> before;
  for (const uint64_t record : records) {
    if (before && record - *before <= kBetweenRecordsMax)
      blocks.add({(*before + 1) * kChunkSize, (record - *before - 1) * kChunkSize}, 0,
                 kBetweenRecordsShare);
    before = record;
  }
  for (const BootRead& read : graph.reads) {
    blocks.add(read.range, read.file, read.probability);
    if (!read.is_record) continue;
    const uint64_t window = round_down(read.range.offset, kRecordWindow);
    blocks.add({window, kRecordWindow}, read.file, read.probability * kRecordWindowShare);
  }
  std::vector<std::shared_ptr<const predict::BlockSequence>> sequences;
  for (auto& entries : blocks.entries(part_count)) {
    sequences.push_back(entries.empty() ? nullptr
                                        : predict::make_block_sequence(1, std::move(entries)));
  }
  return sequences;
}

// A file of a chunk or more begins one and shares none; smaller ones lie between such files
// (component_builder.h).
std::vector<predict::FileRun> file_runs_of(const FileTree& tree) {
  struct Piece {
    uint64_t block = 0;
    uint32_t inode = 0;
    bool is_small = false;
    auto operator<=>(const Piece&) const = default;
  };
  std::vector<Piece> pieces;
  for (uint32_t inode = 0; inode < tree.inodes.size(); ++inode) {
    const TreeInode& file = tree.inodes[inode];
    for (const FileExtent& extent : file.extents)
      pieces.push_back({extent.data_offset / kChunkSize, inode, file.size < kChunkSize});
  }
  std::sort(pieces.begin(), pieces.end());
  std::vector<predict::FileRun> runs;
  const Piece* before = nullptr;
  for (const Piece& piece : pieces) {
    const bool goes_on =
        before && (piece.is_small ? before->is_small : before->inode == piece.inode);
    before = &piece;
    if (goes_on || runs.size() == predict::kFileRunsMax) continue;
    const predict::FileRun run{static_cast<uint32_t>(piece.block), piece.is_small};
    if (runs.empty() || runs.back().first_block < run.first_block) runs.push_back(run);
  }
  return runs;
}

}  // namespace

Result<PartPriors> foresee_boot(DiskReader& disk, uint32_t part_count, const BlocksOf& blocks_of) {
  FR_TRY(const std::vector<ByteRange> parts, find_ext4_parts(disk));
  Error error{ErrorCode::kNotFound, "no ext4 file system is on the disk"};
  for (const ByteRange& part : parts) {
    auto files = open_ext4(disk, part);
    if (!files) {
      error = std::move(files.error());
      continue;
    }
    BootGraphOptions options;
    options.has_boot_loader = part.offset > 0;
    auto graph = read_boot_graph(**files, options);
    if (!graph) {
      error = std::move(graph.error());
      continue;
    }
    return PartPriors{sequences_of(*graph, part_count, blocks_of), graph->file_count,
                      graph->unit_count, graph->init};
  }
  return std::unexpected(std::move(error));
}

Result<BootPrior> foresee_boot(DiskReader& disk, const repository::ImageIndex& index) {
  const auto blocks_of = [&](const ByteRange& range, const EachBlock& each) {
    const uint64_t last = (range.end() - 1) / kChunkSize;
    for (uint64_t block = range.offset / kChunkSize; block <= last; ++block) {
      if (block < index.chunks.size() && !index.chunks[block].is_zero()) each(0, block);
    }
  };
  FR_TRY(PartPriors found, foresee_boot(disk, 1, blocks_of));
  if (!found.parts[0]) return fail(ErrorCode::kNotFound, "nothing of the disk is in a boot");
  return BootPrior{std::move(found.parts[0]), found.file_count, found.unit_count, found.init};
}

std::shared_ptr<const predict::BlockSequence> with_meanings(
    const predict::BlockSequence* prior, std::vector<predict::Meaning> meanings) {
  return predict::make_block_sequence(
      1, prior ? prior->entries : std::vector<predict::SequenceEntry>{}, std::move(meanings));
}

std::shared_ptr<const predict::BlockSequence> with_files(const predict::BlockSequence& prior,
                                                         const FileTree& tree) {
  return predict::make_block_sequence(prior.boots, prior.entries, {}, file_runs_of(tree));
}

std::string part_prior_path(const Digest& composition, uint32_t part) {
  return fmt::format("priors/{}.{}", composition.hex(), part);
}

std::string prior_path(const Digest& index) { return "priors/" + index.hex(); }

Result<std::shared_ptr<const predict::BlockSequence>> fetch_prior(repository::Source& source,
                                                                  const std::string& path) {
  FR_TRY(const Buffer data, source.fetch(path, kPriorBytesMax));
  return predict::parse_block_sequence(data);
}

}  // namespace forerun::image
