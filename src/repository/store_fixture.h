// For tests: images in a Store, chunk by chunk.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "repository/chunk.h"
#include "repository/image_index.h"
#include "repository/source.h"

namespace forerun::repository::testing {

// Returns the chunk that is 64 KiB of `letter`; of zeroes for '.'.
inline const EncodedChunk& chunk_of(char letter) {
  static std::map<char, EncodedChunk> known;
  const auto [found, is_new] = known.try_emplace(letter);
  if (is_new)
    found->second = encode_chunk(Buffer(kChunkSize, std::byte(letter == '.' ? 0 : letter)));
  return found->second;
}
inline std::string path_of(char letter) { return chunk_path(chunk_of(letter).ref.id); }

// Returns the index of a disk with one chunk for each of `letters`.
inline ImageIndex index_of(std::string_view letters) {
  ImageIndex index{.size_bytes = letters.size() * uint64_t{kChunkSize}};
  for (const char letter : letters) index.chunks.push_back(chunk_of(letter).ref);
  return index;
}
inline Digest digest_of(std::string_view letters) { return sha256(serialize(index_of(letters))); }

inline void put_chunks(Store& store, std::string_view letters) {
  for (const char letter : letters) {
    const EncodedChunk chunk = chunk_of(letter);
    if (!chunk.ref.is_zero()) ASSERT_TRUE(store.put(chunk_path(chunk.ref.id), chunk.stored));
  }
}
inline void put_index(Store& store, std::string_view letters) {
  ASSERT_TRUE(store.put(index_path(digest_of(letters)), serialize(index_of(letters))));
}
inline void put_tag(Store& store, const std::string& name, std::string_view letters) {
  const ImageTag tag{name, digest_of(letters), letters.size() * uint64_t{kChunkSize}, 1,
                     "2026-11-21T02:40:00Z"};
  ASSERT_TRUE(store.put(image_path(name), as_bytes(serialize(tag))));
}
inline void put_image(Store& store, const std::string& name, std::string_view letters) {
  put_chunks(store, letters);
  put_index(store, letters);
  put_tag(store, name, letters);
}

}  // namespace forerun::repository::testing
