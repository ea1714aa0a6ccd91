#include "sim/images.h"

#include <fmt/format.h>

#include <cstring>

#include "core/result.h"
#include "repository/chunk.h"
#include "repository/source.h"

namespace forerun::sim {
namespace {

using repository::EncodedChunk;
using repository::kChunkSize;

constexpr size_t kPoolSize = 48;
constexpr uint32_t kLastSize = 40 * 512;

struct PoolChunk {
  Buffer content;
  EncodedChunk encoded;
};

Buffer make_content(Rng& rng, size_t size, bool is_text) {
  Buffer content(size);
  for (size_t at = 0; at + 8 <= size; at += 8) {
    const uint64_t word = is_text ? 0x2020202020202020 + rng.below(4) : rng.next();
    std::memcpy(content.data() + at, &word, 8);
  }
  return content;
}

// The last one is short: it ends an image.
const std::vector<PoolChunk>& pool() {
  static const std::vector<PoolChunk> chunks = [] {
    Rng rng(0x706f6f6c);
    std::vector<PoolChunk> made;
    for (size_t i = 0; i <= kPoolSize; ++i) {
      Buffer content = make_content(rng, i == kPoolSize ? kLastSize : kChunkSize, i % 3 != 0);
      EncodedChunk encoded = repository::encode_chunk(content, 1);
      made.push_back({std::move(content), std::move(encoded)});
    }
    return made;
  }();
  return chunks;
}

std::vector<ByteRange> make_boot(Rng& rng, uint64_t size_bytes) {
  std::vector<ByteRange> reads;
  uint64_t at = 0;
  const size_t count = rng.between(30, 60);
  while (reads.size() < count) {
    if (reads.empty() || rng.chance(0.3)) at = rng.below(size_bytes / 4096) * 4096;
    const uint64_t length = std::min<uint64_t>(rng.between(1, 16) * 4096, size_bytes - at);
    if (length > 0) reads.push_back({at, length});
    at = length == 0 ? 0 : at + length;
  }
  return reads;
}

}  // namespace

SimImage make_image(Rng& rng, uint32_t number, size_t chunks) {
  auto component = std::make_shared<image::Component>();
  auto content = std::make_shared<Buffer>();
  for (size_t i = 0; i + 1 < chunks; ++i) {
    if (rng.chance(0.15)) {
      content->resize(content->size() + kChunkSize);
      component->index.chunks.push_back({{}, kChunkSize, 0});
      continue;
    }
    const PoolChunk& chosen = pool()[rng.below(kPoolSize)];
    content->insert(content->end(), chosen.content.begin(), chosen.content.end());
    component->index.chunks.push_back(chosen.encoded.ref);
  }
  const PoolChunk& last = pool().back();
  content->insert(content->end(), last.content.begin(), last.content.end());
  component->index.chunks.push_back(last.encoded.ref);
  component->index.size_bytes = content->size();
  component->id = ComponentId{number};
  component->digest = sha256(repository::serialize(component->index));
  SimImage image;
  image.boot = make_boot(rng, content->size());
  image.component = std::move(component);
  image.content = std::move(content);
  return image;
}

void fill_store(repository::MemoryStore& store) {
  for (const PoolChunk& chunk : pool()) {
    const Status put =
        store.put(repository::chunk_path(chunk.encoded.ref.id), chunk.encoded.stored);
    FR_ASSERT(put.has_value());
  }
}

void damage_store(Rng& rng, repository::MemoryStore& store, const SimImage& image) {
  const auto& chunks = image.component->index.chunks;
  const repository::ChunkRef& chosen = chunks[rng.below(chunks.size())];
  if (chosen.is_zero()) return;
  const std::string path = repository::chunk_path(chosen.id);
  auto stored = store.fetch(path, repository::kStoredSizeMax);
  if (!stored || stored->empty()) return;
  switch (rng.below(4)) {
    case 0:
      (*stored)[rng.below(stored->size())] ^= std::byte{0x10};
      break;
    case 1:
      stored->resize(rng.below(stored->size()));
      break;
    case 2:
      *stored = pool()[rng.below(kPoolSize)].encoded.stored;
      break;
    default:
      stored->clear();
      break;
  }
  store.spoil(path, std::move(*stored));
}

}  // namespace forerun::sim
