#include "daemon/checkpoint_pages.h"

#include <algorithm>

#include "core/log.h"

namespace forerun::daemon {

using migrate::kPageBytes;

Result<std::unique_ptr<CheckpointPages>> CheckpointPages::open(CheckpointStore& store,
                                                               const std::string& vm) {
  std::optional<CheckpointStore::Newest> newest;
  {
    const auto held = store.hold();
    FR_TRY(newest, store.newest(vm));
  }
  if (!newest) return nullptr;
  std::unique_ptr<CheckpointPages> pages(new CheckpointPages(store, std::move(*newest)));
  FR_TRY(pages->hashes_, store.page_hashes(pages->newest_.shelf, pages->newest_.index));
  uint64_t first = 0;
  for (const auto& memory : pages->newest_.index.memory) {
    for (const repository::ChunkRef& chunk : memory.chunks) {
      if (chunk.is_zero()) continue;
      pages->places_.push_back({first, chunk});
      first += chunk.size / kPageBytes;
    }
  }
  return pages;
}

std::string CheckpointPages::words() const {
  const CheckpointShelf& shelf = newest_.shelf;
  return shelf.host.empty()
             ? fmt::format("checkpoint {}", newest_.index.number)
             : fmt::format("checkpoint {} of host {}", newest_.index.number, shelf.host);
}

const Buffer& CheckpointPages::content_of(const Place& place) {
  for (const Kept& kept : kept_)
    if (kept.first == place.first) return kept.content;
  Kept& kept = kept_[next_kept_++ % kChunksKept];
  kept.first = place.first;
  auto content = store_.get(place.chunk);
  if (!content)
    log::warn("VM {}: {}: {}; its pages come from the other host", newest_.shelf.vm, words(),
              content.error().message);
  kept.content = content ? std::move(*content) : Buffer();
  return kept.content;
}

bool CheckpointPages::read(uint64_t number, MutableByteView out) {
  if (number >= hashes_.size()) return false;
  const auto after =
      std::upper_bound(places_.begin(), places_.end(), number,
                       [](uint64_t page, const Place& place) { return page < place.first; });
  const Place& place = *std::prev(after);
  const Buffer& content = content_of(place);
  const uint64_t at = (number - place.first) * kPageBytes;
  if (at + kPageBytes > content.size()) return false;
  const ByteView page = ByteView(content).subspan(at, kPageBytes);
  if (migrate::hash_of_page(page) != hashes_[number]) return false;
  std::copy(page.begin(), page.end(), out.begin());
  return true;
}

}  // namespace forerun::daemon
