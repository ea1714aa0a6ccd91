#include "image/boot_prior.h"

#include <fmt/format.h>

#include <map>

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
// Only the order is known. The pace is that of a recorded boot on demand; a session adapts it.
constexpr float kFirstReadS = 1.0f;
constexpr float kSecondsPerBlock = 0.012f;

class Blocks {
 public:
  explicit Blocks(const repository::ImageIndex& index) : index_(index) {}

  void add(const ByteRange& range, FileId file, float probability) {
    if (range.empty()) return;
    const uint64_t last = (range.end() - 1) / kChunkSize;
    for (uint64_t block = range.offset / kChunkSize; block <= last; ++block) {
      if (block >= index_.chunks.size() || index_.chunks[block].is_zero()) continue;
      Known& known = known_[block];
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
    }
  }

  std::vector<predict::SequenceEntry> entries() const {
    std::vector<std::pair<uint64_t, Known>> ordered;
    for (const auto& [block, known] : known_) {
      if (1 - known.missed >= kProbabilityMin) ordered.emplace_back(block, known);
    }
    std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
      return std::tuple(!a.second.is_placed, a.second.place, a.first) <
             std::tuple(!b.second.is_placed, b.second.place, b.first);
    });
    if (ordered.size() > kBlocksMax) ordered.resize(kBlocksMax);
    std::vector<predict::SequenceEntry> entries;
    for (const auto& [block, known] : ordered) {
      const auto rank = static_cast<float>(entries.size());
      entries.push_back({block, std::min(1 - known.missed, kProbabilityMax), rank,
                         kFirstReadS + rank * kSecondsPerBlock});
    }
    return entries;
  }

 private:
  struct Known {
    float missed = 1;  // probability that no file's read touches it
    FileId file = 0;   // the last that did, with its probability
    float of_file = 0;
    bool is_placed = false;
    uint64_t place = 0;
  };
  const repository::ImageIndex& index_;
  std::map<uint64_t, Known> known_;
  uint64_t placed_ = 0;
};

std::vector<predict::SequenceEntry> blocks_of(const BootGraph& graph,
                                              const repository::ImageIndex& index) {
  Blocks blocks(index);
  for (const BootRead& read : graph.reads) {
    blocks.add(read.range, read.file, read.probability);
    if (!read.is_record) continue;
    const uint64_t window = round_down(read.range.offset, kRecordWindow);
    blocks.add({window, kRecordWindow}, read.file, read.probability * kRecordWindowShare);
  }
  return blocks.entries();
}

}  // namespace

Result<BootPrior> foresee_boot(DiskReader& disk, const repository::ImageIndex& index) {
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
    std::vector<predict::SequenceEntry> entries = blocks_of(*graph, index);
    return BootPrior{predict::make_block_sequence(1, std::move(entries)), graph->file_count,
                     graph->unit_count, graph->init};
  }
  return std::unexpected(std::move(error));
}

std::string prior_path(const Digest& index) { return "priors/" + index.hex(); }

Result<std::shared_ptr<const predict::BlockSequence>> fetch_prior(repository::Source& source,
                                                                  const Digest& index) {
  FR_TRY(const Buffer data, source.fetch(prior_path(index), kPriorBytesMax));
  return predict::parse_block_sequence(data);
}

}  // namespace forerun::image
