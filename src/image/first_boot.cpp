#include "image/first_boot.h"

#include <algorithm>
#include <unordered_map>

#include "image/boot_prior.h"
#include "image/component_prior.h"
#include "repository/fetch.h"

namespace forerun::image {
namespace {

// The composed disk as its repository has it: for the boot graph.
class StoredDisk final : public DiskReader {
 public:
  StoredDisk(const Composition& composition, std::vector<const repository::ImageIndex*> parts,
             repository::Source& source)
      : composition_(composition), parts_(std::move(parts)), source_(source) {}

  uint64_t size_bytes() const override { return composition_.size_bytes; }
  bool known_zero(ByteRange) override { return false; }
  Status read(uint64_t offset, MutableByteView out) override {
    std::fill(out.begin(), out.end(), std::byte{0});
    Status status;
    each_piece({offset, out.size()}, [&](uint32_t part, uint64_t at, ByteRange range) {
      if (!status) return;
      const repository::ChunkRef& ref = parts_[part]->chunks[at / repository::kChunkSize];
      const auto chunk = fetch(ref);
      if (!chunk) {
        status = std::unexpected(chunk.error());
        return;
      }
      const ByteView content = ByteView((*chunk)->content).subspan(at % repository::kChunkSize);
      std::copy_n(content.begin(), std::min<uint64_t>(range.length, content.size()),
                  out.begin() + static_cast<ptrdiff_t>(range.offset - offset));
    });
    return status;
  }

  // Calls piece(part, offset in the part, range on the disk) for what of `range` is data: each
  // within one chunk.
  template <typename Piece>
  void each_piece(const ByteRange& range, const Piece& piece) const {
    auto extent = std::upper_bound(
        composition_.extents.begin(), composition_.extents.end(), range.offset,
        [](uint64_t offset, const CompositionExtent& e) { return offset < e.range.end(); });
    for (; extent != composition_.extents.end() && extent->range.offset < range.end(); ++extent) {
      ByteRange left = intersect(extent->range, range);
      while (!left.empty()) {
        const uint64_t at = extent->part_offset + (left.offset - extent->range.offset);
        const uint64_t count =
            std::min(left.length, repository::kChunkSize - at % repository::kChunkSize);
        const auto& chunks = parts_[extent->part]->chunks;
        const uint64_t number = at / repository::kChunkSize;
        if (number < chunks.size() && !chunks[number].is_zero())
          piece(extent->part, at, ByteRange{left.offset, count});
        left = {left.offset + count, left.length - count};
      }
    }
  }

 private:
  Result<repository::ChunkPtr> fetch(const repository::ChunkRef& ref) {
    const auto [entry, is_new] = chunks_.try_emplace(ref.id);
    if (!is_new) return entry->second;
    // A basis is whole: this ends there.
    const auto basis = [this](const repository::ChunkRef& whole) { return fetch(whole); };
    auto chunk = repository::fetch_chunk(source_, ref, basis);
    if (!chunk || chunks_.size() > kChunksKept) chunks_.clear();
    if (chunk) chunks_[ref.id] = *chunk;
    return chunk;
  }

  static constexpr size_t kChunksKept = 1024;
  const Composition& composition_;
  const std::vector<const repository::ImageIndex*> parts_;
  repository::Source& source_;
  std::unordered_map<ChunkId, repository::ChunkPtr> chunks_;
};

// Whether the store has the components' data, as far as one chunk of each tells.
bool has_data(const std::vector<ResolvedComponent>& components, repository::Store& store) {
  for (const ResolvedComponent& found : components) {
    const auto& chunks = found.index.data.chunks;
    const auto first = std::find_if(chunks.begin(), chunks.end(),
                                    [](const auto& chunk) { return !chunk.is_zero(); });
    if (first == chunks.end() || store.contains(repository::chunk_path(first->id))) continue;
    if (!first->is_delta || !store.contains(repository::delta_path(first->id))) return false;
  }
  return true;
}

// What other compositions of these components foresaw, for those whose data is too far to look at.
PartPriors known_priors(const std::vector<ResolvedComponent>& components,
                        repository::Source& source) {
  PartPriors priors;
  priors.parts.emplace_back();  // what is made here is here
  for (const ResolvedComponent& found : components) {
    auto known = fetch_prior(source, component_prior_path(*found.wish.digest));
    priors.parts.push_back(known ? std::move(*known) : nullptr);
  }
  return priors;
}

}  // namespace

FirstBoot::FirstBoot(const Digest& image, Composition composition, repository::ImageIndex metadata,
                     std::vector<predict::Meaning> meanings,
                     std::vector<ResolvedComponent> components)
    : image_(image),
      composition_(std::move(composition)),
      metadata_(std::move(metadata)),
      meanings_(std::move(meanings)),
      components_(std::move(components)) {}

Result<size_t> FirstBoot::foresee(repository::Store& store) const {
  std::vector<const repository::ImageIndex*> parts{&metadata_};
  for (const ResolvedComponent& found : components_) parts.push_back(&found.index.data);
  const auto part_count = static_cast<uint32_t>(parts.size());
  StoredDisk disk(composition_, std::move(parts), store);
  const auto blocks_of = [&](const ByteRange& range, const EachBlock& each) {
    disk.each_piece(range, [&](uint32_t part, uint64_t at, const ByteRange&) {
      each(part, at / repository::kChunkSize);
    });
  };
  const bool is_here = has_data(components_, store);
  auto priors =
      is_here ? foresee_boot(disk, part_count, blocks_of) : known_priors(components_, store);
  if (!priors) return 0;
  priors->parts[0] = with_meanings(priors->parts[0].get(), meanings_);
  size_t blocks = 0;
  for (uint32_t part = 0; part < part_count; ++part) {
    auto& sequence = priors->parts[part];
    if (!sequence) continue;
    if (part > 0) sequence = with_files(*sequence, components_[part - 1].index.tree);
    blocks += sequence->entries.size();
    FR_CHECK(store.put(part_prior_path(image_, part), predict::serialize(*sequence)));
    if (is_here && part > 0)
      FR_CHECK(learn_component_prior(*components_[part - 1].wish.digest, *sequence, store));
  }
  FR_CHECK(store.flush());
  return blocks;
}

}  // namespace forerun::image
