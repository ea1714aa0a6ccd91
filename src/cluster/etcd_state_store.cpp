#include "cluster/etcd_state_store.h"

#include <algorithm>

#include "cluster/etcd_client.h"
#include "cluster/etcd_messages.h"
#include "cluster/etcd_watch.h"
#include "cluster/keys.h"

namespace forerun::cluster {
namespace {

constexpr uint32_t kPageEntries = 500;
constexpr int kListAttemptsMax = 3;
constexpr size_t kEndpointsMax = 16;

}  // namespace

EtcdStateStore::EtcdStateStore(std::unique_ptr<Client> client) : client_(std::move(client)) {}
EtcdStateStore::~EtcdStateStore() = default;

Result<std::unique_ptr<EtcdStateStore>> EtcdStateStore::create(EtcdOptions options,
                                                               const Clock& clock) {
  if (options.endpoints.empty() || options.endpoints.size() > kEndpointsMax)
    return fail(ErrorCode::kInvalid, fmt::format("etcd has 1 to {} endpoints, not {}",
                                                 kEndpointsMax, options.endpoints.size()));
  std::vector<net::HttpEndpoint> endpoints;
  for (const std::string& url : options.endpoints) {
    FR_TRY(net::HttpEndpoint endpoint, net::parse_endpoint(url));
    endpoints.push_back(std::move(endpoint));
  }
  std::unique_ptr<net::TlsClient> tls;
  if (std::ranges::any_of(endpoints, &net::HttpEndpoint::is_https)) {
    FR_TRY(tls, net::TlsClient::load(options.tls));
  }
  return std::unique_ptr<EtcdStateStore>(new EtcdStateStore(
      std::make_unique<Client>(std::move(options), std::move(endpoints), std::move(tls), clock)));
}

Result<std::optional<KeyValue>> EtcdStateStore::get(const std::string& key) {
  FR_CHECK(check_key(key));
  FR_TRY(const std::string text, client_->ask("/v3/kv/range", etcd::encode(etcd::RangeRequest{key}),
                                              Client::Repeat::kAllowed));
  FR_TRY(etcd::RangeAnswer answer, etcd::parse_range(text));
  if (answer.entries.empty()) return std::nullopt;
  return std::move(answer.entries.front());
}

Result<Listing> EtcdStateStore::list(const std::string& prefix) {
  FR_CHECK(check_key(prefix));
  for (int attempt = 1;; ++attempt) {
    Listing listing;
    size_t bytes = 0;
    etcd::RangeRequest request{prefix, end_of_prefix(prefix), kPageEntries};
    for (;;) {
      auto text = client_->ask("/v3/kv/range", etcd::encode(request), Client::Repeat::kAllowed);
      // The revision that the first page was of may be gone meanwhile: once more from the start.
      if (!text && text.error().code == ErrorCode::kInvalid && request.revision != 0 &&
          attempt < kListAttemptsMax)
        break;
      if (!text) return std::unexpected(std::move(text.error()));
      FR_TRY(etcd::RangeAnswer page, etcd::parse_range(*text));
      if (request.revision == 0) listing.revision = request.revision = page.revision;
      for (KeyValue& entry : page.entries) {
        bytes += entry.value.size();
        listing.entries.push_back(std::move(entry));
      }
      if (listing.entries.size() > kListEntriesMax || bytes > kListBytesMax)
        return fail(ErrorCode::kTooLarge, fmt::format("too much is kept under {}", prefix));
      if (!page.has_more || page.entries.empty()) return listing;
      request.key = listing.entries.back().key + '\0';
    }
  }
}

Result<Committed> EtcdStateStore::commit(const Transaction& transaction) {
  FR_CHECK(check(transaction));
  FR_TRY(const std::string text,
         client_->ask("/v3/kv/txn", etcd::encode(transaction), Client::Repeat::kForbidden));
  return etcd::parse_committed(text);
}

Result<Lease> EtcdStateStore::grant(Nanos ttl) {
  FR_CHECK(check_ttl(ttl));
  // One that nobody heard of ends by itself.
  FR_TRY(const std::string text,
         client_->ask("/v3/lease/grant", etcd::encode_grant(ttl), Client::Repeat::kAllowed));
  return etcd::parse_grant(text);
}

Result<Nanos> EtcdStateStore::keep_alive(LeaseId lease) {
  FR_TRY(const std::string text,
         client_->ask("/v3/lease/keepalive", etcd::encode_lease(lease), Client::Repeat::kAllowed));
  FR_TRY(const Nanos ttl, etcd::parse_keep_alive(text));
  if (ttl == Nanos::zero())
    return fail(ErrorCode::kNotFound, fmt::format("lease {} has ended", lease));
  return ttl;
}

Status EtcdStateStore::revoke(LeaseId lease) {
  FR_CHECK(client_->ask("/v3/lease/revoke", etcd::encode_lease(lease), Client::Repeat::kForbidden));
  return {};
}

Status EtcdStateStore::compact(Revision revision) {
  FR_CHECK(client_->ask("/v3/kv/compaction", etcd::encode_compaction(revision),
                        Client::Repeat::kForbidden));
  return {};
}

Result<std::unique_ptr<Watch>> EtcdStateStore::watch(const std::string& prefix, Revision after) {
  FR_CHECK(check_key(prefix));
  return std::make_unique<EtcdWatch>(*client_, prefix, after);
}

}  // namespace forerun::cluster
