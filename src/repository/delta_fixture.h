// For tests: a chunk, and what became of it in a program that was built anew.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "core/rng.h"
#include "repository/delta.h"
#include "repository/source.h"

namespace forerun::repository::testing {

inline Buffer random_content(uint64_t seed, size_t size = kChunkSize) {
  Rng rng(seed);
  Buffer content(size);
  for (std::byte& byte : content) byte = static_cast<std::byte>(rng.below(256));
  return content;
}

// Returns `old` as addresses in it became others: four bytes in every forty are 7 more, and all
// after the first kilobyte stands 48 bytes later.
inline Buffer rebuilt(const Buffer& old) {
  Buffer content = old;
  for (size_t at = 16; at + 4 < content.size(); at += 40)
    for (size_t i = 0; i < 4; ++i)
      content[at + i] = static_cast<std::byte>(std::to_integer<int>(content[at + i]) + 7);
  std::rotate(content.begin() + 1024, content.end() - 48, content.end());
  return content;
}

inline ChunkPtr chunk_with(Buffer content) {
  auto chunk = std::make_shared<Chunk>();
  chunk->id = sha256(content);
  chunk->content = std::move(content);
  return chunk;
}
inline ChunkRef whole_ref(const ChunkPtr& chunk) {
  const auto size = static_cast<uint32_t>(chunk->content.size());
  return {chunk->id, size, size + kStoredHeaderSize};
}
inline ChunkRef delta_ref(const ChunkPtr& chunk, size_t stored_size) {
  ChunkRef ref = whole_ref(chunk);
  ref.stored_size = static_cast<uint32_t>(stored_size);
  ref.is_delta = true;
  return ref;
}
inline void put_whole(Store& store, const ChunkPtr& chunk) {
  ASSERT_TRUE(store.put(chunk_path(chunk->id), pack_chunk(chunk->id, chunk->content).stored));
}

// A chunk that two others tell, in a store: the first half is like one of them, the rest like the
// other.
struct ToldByTwo {
  ToldByTwo() {
    Buffer content = rebuilt(first->content);
    const Buffer other = rebuilt(second->content);
    std::copy_n(other.begin() + kChunkSize / 2, kChunkSize / 2, content.begin() + kChunkSize / 2);
    chunk = chunk_with(std::move(content));
    stored = pack_delta(chunk->content, std::vector{first, second}, kStoredSizeMax).value();
    ref = delta_ref(chunk, stored.size());
  }
  void put(Store& store) const {
    put_whole(store, first);
    put_whole(store, second);
    ASSERT_TRUE(store.put(delta_path(chunk->id), stored));
  }
  std::vector<ChunkRef> bases() const {
    std::vector<ChunkRef> refs{whole_ref(first), whole_ref(second)};
    std::ranges::sort(refs, {}, &ChunkRef::id);
    return refs;
  }
  const ChunkPtr first = chunk_with(random_content(1)), second = chunk_with(random_content(2));
  ChunkPtr chunk;
  Buffer stored;
  ChunkRef ref;
};

}  // namespace forerun::repository::testing
