#include "predict/neighbourhood.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace forerun::predict {
namespace {

constexpr uint32_t kCentre = 32;    // where in a window the looked-at block lies
constexpr uint16_t kContexts = 24;  // as context_of() tells them apart
// What a neighbour's probability is multiplied by in another file than the touched block's, and
// among several small files. Of those proposed in boots of services that were new, 0 and 0.31 were
// read, 0.75 of those within one file.
constexpr float kInOtherFile = 0.15f, kAmongSmallFiles = 0.5f;

// What is known of the surroundings of an untouched block.
struct Surroundings {
  uint32_t left = 0;      // distance to the nearest touched block before it; 0: none within 16
  uint32_t right = 0;     // and after it
  uint32_t left_run = 0;  // touched blocks in a row that end there
  uint32_t right_run = 0;
};

Surroundings look(uint64_t window, uint32_t at) {
  Surroundings seen;
  const uint64_t below = window << (64 - at);  // the block before `at` is the top bit
  const uint64_t above = window >> (at + 1);   // the block after it is the lowest
  const auto left = static_cast<uint32_t>(std::countl_zero(below));
  const auto right = static_cast<uint32_t>(std::countr_zero(above));
  if (left < 16) {
    seen.left = left + 1;
    seen.left_run = static_cast<uint32_t>(std::countl_one(below << left));
  }
  if (right < 16) {
    seen.right = right + 1;
    seen.right_run = static_cast<uint32_t>(std::countr_one(above >> right));
  }
  return seen;
}

// The prior: a logistic regression of whether a neighbour of a just touched block is read later,
// fitted to which 64 KiB blocks a Debian boot reads; on the disk of a VM at work it orders
// neighbours as well (area under the curve 0.73 and 0.70). Few and coarse terms, so that it says
// little about one image; the arbiter's calibration does the rest.
float prior(const Surroundings& seen, bool is_after, uint32_t distance, uint32_t access_blocks) {
  float z = -0.4f;
  z -= distance == 1 ? 0.0f : distance == 2 ? 0.35f : distance <= 4 ? 0.7f : 1.3f;
  if (is_after) z += 0.3f + (access_blocks <= 2 ? 0.3f : access_blocks == 3 ? 0.7f : -1.0f);
  if (seen.right > 0) z -= seen.right == 1 ? 0.6f : 0.35f;
  if (seen.left > 0 && seen.right > 0) z += 0.6f;
  if (seen.left_run >= 3) z += seen.left_run <= 8 ? 0.2f : 0.7f;
  if (seen.right_run >= 2) z += seen.right_run < 4 ? 0.6f : 1.0f;
  return 1 / (1 + std::exp(-z));
}

uint16_t context_of(const Surroundings& seen, bool is_after, uint32_t distance) {
  const uint32_t far = distance == 1 ? 0 : distance == 2 ? 1 : distance <= 4 ? 2 : 3;
  const uint32_t right = seen.right == 0 ? 0 : seen.right_run < 2 ? 1 : 2;
  return static_cast<uint16_t>((far * 2 + (is_after ? 1 : 0)) * 3 + right);
}

enum class Place : uint8_t { kSameFile, kOtherFile, kSmallFiles };

// Where `block` is, seen from the touched block `from`; in the same file if nothing is known.
Place place_of(const BlockSequence* prior, uint64_t from, uint64_t block) {
  if (!prior || prior->file_runs.empty()) return Place::kSameFile;
  const auto& runs = prior->file_runs;
  const auto run_of = [&](uint64_t at) {
    return std::upper_bound(runs.begin(), runs.end(), at,
                            [](uint64_t b, const FileRun& run) { return b < run.first_block; });
  };
  const auto run = run_of(block);
  if (run != run_of(from)) return Place::kOtherFile;
  return run != runs.begin() && std::prev(run)->is_shared ? Place::kSmallFiles : Place::kSameFile;
}

}  // namespace

NeighbourhoodModel::NeighbourhoodModel() : NeighbourhoodModel(Options{}) {}
NeighbourhoodModel::NeighbourhoodModel(Options options, Priors priors)
    : options_(options), priors_(std::move(priors)), touched_(options.words_max) {
  options_.ahead = std::min(options_.ahead, 16u);
  options_.behind = std::min(options_.behind, 16u);
}

void NeighbourhoodModel::on_start(Time, std::vector<Candidate>&) {}
void NeighbourhoodModel::on_end(Time) {}

uint64_t NeighbourhoodModel::window(ComponentId component, uint64_t first) const {
  const uint64_t word = first / 64;
  const uint32_t shift = first % 64;
  const uint64_t* low = touched_.find({component, word});
  uint64_t bits = low ? *low >> shift : 0;
  if (shift > 0) {
    const uint64_t* high = touched_.find({component, word + 1});
    if (high) bits |= *high << (64 - shift);
  }
  return bits;
}

bool NeighbourhoodModel::touch(const trace::Access& access) {
  bool is_first = false;
  const uint64_t end = access.first_block + access.block_count;
  for (uint64_t block = access.first_block; block < end;) {
    const uint64_t stop = std::min(end, (block / 64 + 1) * 64);
    const uint64_t count = stop - block;
    const uint64_t bits = (count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1) << (block % 64);
    const BlockKey key{access.component, block / 64};
    if (touched_.full() && !touched_.contains(key)) touched_.clear();
    uint64_t& word = touched_.insert(key);
    is_first |= (word & bits) != bits;
    word |= bits;
    block = stop;
  }
  return is_first;
}

void NeighbourhoodModel::say(const trace::Access& access, uint64_t block, uint64_t window,
                             uint32_t at, uint32_t distance, std::vector<Candidate>& out) const {
  if ((window >> at) & 1) return;
  const Surroundings seen = look(window, at);
  const bool is_after = block > access.first_block;
  float said = prior(seen, is_after, distance, access.block_count);
  uint16_t context = context_of(seen, is_after, distance);
  const auto known = priors_.find(access.component);
  const uint64_t from = access.first_block + (is_after ? access.block_count - 1 : 0);
  switch (place_of(known == priors_.end() ? nullptr : known->second.get(), from, block)) {
    case Place::kSameFile:
      break;
    case Place::kOtherFile:
      said *= kInOtherFile;
      context += kContexts;
      break;
    case Place::kSmallFiles:
      said *= kAmongSmallFiles;
      context += 2 * kContexts;
      break;
  }
  out.push_back(
      {access.component, block, 1, said, context, access.at + options_.due_per_block * distance});
}

void NeighbourhoodModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || access.block_count == 0 || !touch(access)) return;
  const uint64_t end = access.first_block + access.block_count;
  // Windows are kept clear of block 0 by looking from block 32 on: below it, bits are shifted in as
  // untouched.
  const auto around = [&](uint64_t block) {
    return block >= kCentre ? window(access.component, block - kCentre)
                            : window(access.component, 0) << (kCentre - block);
  };
  const uint64_t after = around(end);
  for (uint32_t i = 0; i < options_.ahead; ++i)
    say(access, end + i, after, kCentre + i, i + 1, out);
  const uint64_t before = around(access.first_block);
  for (uint32_t i = 1; i <= options_.behind && i <= access.first_block; ++i)
    say(access, access.first_block - i, before, kCentre - i, i, out);
}

}  // namespace forerun::predict
