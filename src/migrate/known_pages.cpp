#include "migrate/known_pages.h"

#include "core/id.h"

namespace forerun::migrate {

PageHash hash_of_page(ByteView page) {
  const Digest digest = sha256(page);
  PageHash hash;
  std::memcpy(hash.bytes.data(), digest.bytes.data(), hash.bytes.size());
  return hash;
}

KnownReferences::KnownReferences(const std::vector<PageHash>& hashes, Options options)
    : pages_(options.unsettled_max) {
  numbers_.reserve(hashes.size());
  for (size_t i = 0; i < hashes.size() && i < kKnownPagesMax; ++i)
    numbers_.emplace(hashes[i], static_cast<uint32_t>(i));
}

std::optional<uint64_t> KnownReferences::find(ByteView page) const {
  if (numbers_.empty() || pages_.full()) return std::nullopt;
  const auto found = numbers_.find(hash_of_page(page));
  if (found == numbers_.end()) return std::nullopt;
  return found->second;
}

void KnownReferences::add(PageKey key, ByteView page) {
  unsettled_.push_back(key);
  [[maybe_unused]] const bool is_kept = pages_.set(key, page);
}

KnownReferences::Settled KnownReferences::settle(bool is_there) {
  Settled settled{unsettled_.front(), nullptr};
  unsettled_.pop_front();
  if (const PageBytes* page = pages_.find(settled.key); page != nullptr && !is_there)
    settled.page = std::make_unique<PageBytes>(*page);
  pages_.erase(settled.key);
  return settled;
}

}  // namespace forerun::migrate
