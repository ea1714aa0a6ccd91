// Images to boot in a simulation, and repositories that hold them. The chunks come from one pool
// that is made once per process, for hashing and compressing them for each seed would cost more
// than the run.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/bytes.h"
#include "core/rng.h"
#include "image/mapping_table.h"
#include "repository/memory_store.h"

namespace forerun::sim {

struct SimImage {
  image::ComponentPtr component;
  std::shared_ptr<const Buffer> content;  // the truth
  std::vector<ByteRange> boot;            // what its guest reads while it boots, in order
};

// Returns an image of `chunks` chunks, the last one cut short, some of them zeroes, some equal.
SimImage make_image(Rng& rng, uint32_t number, size_t chunks);

// Puts every chunk of the pool into `store`.
void fill_store(repository::MemoryStore& store);
// Spoils or removes the object of a random chunk of `image`.
void damage_store(Rng& rng, repository::MemoryStore& store, const SimImage& image);

}  // namespace forerun::sim
