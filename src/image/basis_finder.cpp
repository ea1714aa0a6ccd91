#include "image/basis_finder.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <unordered_set>

#include "repository/delta.h"
#include "repository/fetch.h"

namespace forerun::image {
namespace {

constexpr size_t kRunBytes = 16;
// One run in so many is sampled, of large components fewer: 2,000 of a chunk.
constexpr uint64_t kSampledMin = 32;
// A run that more chunks have says little: padding, tables, what every function begins with.
constexpr size_t kChunksPerRunMax = 8;
constexpr double kLikenessMin = 3;

uint64_t hash_of(const std::byte* at) {
  uint64_t words[2];
  std::memcpy(words, at, kRunBytes);
  uint64_t hash = words[0] * 0x9E3779B97F4A7C15ull;
  hash = (hash ^ (hash >> 29) ^ words[1]) * 0xBF58476D1CE4E5B9ull;
  return hash ^ (hash >> 32);
}

std::vector<repository::ChunkRef> whole_chunks(const ComponentIndex& index) {
  std::vector<repository::ChunkRef> whole;
  std::unordered_set<ChunkId> seen;
  for (const auto* chunks : {&index.data.chunks, &index.data.bases})
    for (const repository::ChunkRef& chunk : *chunks)
      if (!chunk.is_zero() && !chunk.is_delta && seen.insert(chunk.id).second)
        whole.push_back(chunk);
  return whole;
}

}  // namespace

Result<std::unique_ptr<BasisFinder>> BasisFinder::create(repository::Source& source,
                                                         const ComponentIndex& old,
                                                         const ParallelFor& parallel_for,
                                                         size_t samples_max) {
  std::unique_ptr<BasisFinder> finder(new BasisFinder);
  finder->chunks_ = whole_chunks(old);
  uint64_t one_in = kSampledMin;
  while (finder->chunks_.size() * repository::kChunkSize / one_in > samples_max) one_in *= 2;
  finder->mask_ = one_in - 1;
  std::mutex mutex;  // guards what follows and samples_
  Status status;
  const auto body = [&](size_t i) {
    const auto chunk = repository::fetch_chunk(source, finder->chunks_[i]);
    std::vector<Sample> found;
    if (chunk) finder->sample((*chunk)->content, static_cast<uint32_t>(i), found);
    const std::lock_guard lock(mutex);
    if (!chunk) status = std::unexpected(chunk.error());
    finder->samples_.insert(finder->samples_.end(), found.begin(), found.end());
  };
  if (parallel_for) {
    parallel_for(finder->chunks_.size(), body);
  } else {
    for (size_t i = 0; i < finder->chunks_.size(); ++i) body(i);
  }
  FR_CHECK(std::move(status));
  std::ranges::sort(finder->samples_);
  return finder;
}

void BasisFinder::sample(ByteView content, uint32_t chunk, std::vector<Sample>& out) const {
  for (size_t at = 0; at + kRunBytes <= content.size(); ++at) {
    const uint64_t run = hash_of(&content[at]);
    if ((run & mask_) == 0) out.push_back({run, chunk});
  }
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
}

std::vector<repository::ChunkRef> BasisFinder::find(ByteView content) const {
  std::vector<Sample> wanted;
  sample(content, 0, wanted);
  // Of each run that some chunks have: which.
  std::vector<std::vector<uint32_t>> owners;
  for (const Sample& sample : wanted) {
    std::vector<uint32_t> chunks;
    for (auto found = std::ranges::lower_bound(samples_, Sample{sample.run, 0});
         found != samples_.end() && found->run == sample.run && chunks.size() <= kChunksPerRunMax;
         ++found)
      chunks.push_back(found->chunk);
    if (!chunks.empty() && chunks.size() <= kChunksPerRunMax) owners.push_back(std::move(chunks));
  }
  std::vector<repository::ChunkRef> best;
  while (best.size() < repository::kBasesMax) {
    std::vector<double> likeness(chunks_.size());
    for (const auto& chunks : owners)
      for (const uint32_t chunk : chunks)
        likeness[chunk] += 1.0 / static_cast<double>(chunks.size());
    const auto most = std::ranges::max_element(likeness);
    if (most == likeness.end() || *most < kLikenessMin) break;
    const auto number = static_cast<uint32_t>(most - likeness.begin());
    best.push_back(chunks_[number]);
    std::erase_if(owners, [&](const auto& chunks) {
      return std::ranges::find(chunks, number) != chunks.end();
    });
  }
  return best;
}

}  // namespace forerun::image
