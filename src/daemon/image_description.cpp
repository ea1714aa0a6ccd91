#include "daemon/image_description.h"

#include <unordered_set>

#include "image/residence.h"
#include "repository/chunk.h"

namespace forerun::daemon {
namespace {

api::ResidenceInfo residence_info(const image::Residence& residence) {
  return {residence.memory_bytes, residence.tier_file_bytes, residence.remote_bytes,
          residence.zero_bytes};
}

image::Place place_of(tier::Level level) {
  switch (level) {
    case tier::Level::kMemory:
      return image::Place::kMemory;
    case tier::Level::kFile:
      return image::Place::kTierFile;
    case tier::Level::kNone:
      break;
  }
  return image::Place::kRemote;
}

template <typename Visit>
void each_chunk(const image::Component& component, const Visit& visit) {
  for (const repository::ChunkRef& chunk : component.index.chunks)
    if (!chunk.is_zero()) visit(chunk);
}

// What the other images hold.
struct Others {
  std::map<Digest, std::vector<std::string>> parts;  // who has it
  std::unordered_set<ChunkId> chunks;
};

Result<Others> others_than(const std::string& name, ImageCatalog& catalog) {
  Others others;
  std::set<Digest> seen;
  FR_TRY(const auto names, catalog.names());
  for (const std::string& other : names) {
    if (other == name) continue;
    const auto image = catalog.open(other);
    if (!image) continue;
    for (const auto& component : image->layout->table.components()) {
      others.parts[component->digest].push_back(other);
      if (!seen.insert(component->digest).second) continue;
      each_chunk(*component, [&](const auto& chunk) { others.chunks.insert(chunk.id); });
    }
  }
  return others;
}

}  // namespace

api::ImageInfo describe(const std::string& name, const ImageCatalog::Image& image,
                        Histories& histories) {
  api::ImageInfo info;
  info.name = name;
  info.digest = image.layout->digest.hex();
  info.size_bytes = image.tag.size_bytes;
  info.stored_bytes = image.tag.stored_bytes;
  info.chunk_bytes = repository::kChunkSize;
  for (const auto& [component, prior] : image.layout->priors())
    info.prior_chunk_count += prior->entries.size();
  for (const auto& component : image.layout->table.components()) {
    for (const auto& chunk : component->index.chunks)
      ++(chunk.is_zero() ? info.zero_chunk_count : info.chunk_count);
    histories.load(component->id);
    info.learned_boot_count = std::max(info.learned_boot_count, histories.boots(component->id));
  }
  return info;
}

Status add_parts(const ImageCatalog::Image& image, ImageCatalog& catalog, const tier::Tier& tier,
                 api::ImageInfo& info) {
  FR_TRY(const Others others, others_than(info.name, catalog));
  const auto residence = image::residence_of(
      image.layout->table, [&](const ChunkId& id) { return place_of(tier.where(id)); });
  info.gap_bytes = residence.gap_bytes;
  std::unordered_set<ChunkId> counted;
  for (const image::ComponentResidence& from : residence.components) {
    api::ImagePartInfo part;
    part.digest = from.component->digest.hex();
    const auto known = image.layout->parts.find(from.component->id);
    if (known != image.layout->parts.end()) {
      part.name = known->second.name;
      part.function = known->second.function;
      part.kind = known->second.is_component ? "component" : "metadata";
    } else {
      part.name = info.name;
      part.kind = "image";
    }
    part.extent_count = from.extent_count;
    part.residence = residence_info(from.residence);
    std::unordered_set<ChunkId> own;
    each_chunk(*from.component, [&](const repository::ChunkRef& chunk) {
      if (!own.insert(chunk.id).second) return;
      part.stored_bytes += chunk.stored_size;
      if (others.chunks.contains(chunk.id)) return;
      part.unique_stored_bytes += chunk.stored_size;
      if (counted.insert(chunk.id).second) info.unique_stored_bytes += chunk.stored_size;
    });
    if (const auto shared = others.parts.find(from.component->digest); shared != others.parts.end())
      part.shared_with = shared->second;
    info.parts.push_back(std::move(part));
  }
  return {};
}

}  // namespace forerun::daemon
