#include "daemon/basis_fetcher.h"

#include "repository/fetch.h"

namespace forerun::daemon {

Result<repository::ChunkPtr> BasisFetcher::get(const repository::ChunkRef& basis, uint32_t first,
                                               tier::Admission admission, uint64_t& fetched_bytes) {
  if (auto here = tier_.find(basis.id)) return here;
  std::shared_ptr<Flight> flight;
  {
    std::unique_lock lock(mutex_);
    const auto [found, is_first] = flights_.try_emplace(basis.id);
    if (is_first) found->second = std::make_shared<Flight>();
    flight = found->second;
    if (!is_first) {
      landed_.wait(lock, [&] { return flight->is_over; });
      return flight->outcome;
    }
  }
  // It may have landed between the look into the tier and this flight.
  Result<repository::ChunkPtr> outcome = tier_.find_in_memory(basis.id);
  if (!*outcome) {
    outcome = fetch(basis, first, fetched_bytes);
    if (outcome) tier_.insert(*outcome, admission);
  }
  const std::lock_guard lock(mutex_);
  flight->outcome = outcome;
  flight->is_over = true;
  flights_.erase(basis.id);
  landed_.notify_all();
  return outcome;
}

Result<repository::ChunkPtr> BasisFetcher::fetch(const repository::ChunkRef& basis, uint32_t first,
                                                 uint64_t& fetched_bytes) {
  std::optional<Error> worst;
  for (size_t i = 0; i < sources_.size(); ++i) {
    repository::Source& source = *sources_[(first + i) % sources_.size()];
    auto chunk = repository::fetch_chunk(source, basis, {}, &fetched_bytes);
    if (chunk) return chunk;
    if (!worst || worst->code == ErrorCode::kNotFound) worst = std::move(chunk.error());
  }
  return std::unexpected(*worst);
}

}  // namespace forerun::daemon
