#include "cluster/state_store.h"

#include <algorithm>
#include <set>

namespace forerun::cluster {

Status check_key(const std::string& key) {
  if (key.empty()) return fail(ErrorCode::kInvalid, "a key is empty");
  if (key.size() > kKeyBytesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("a key has {} bytes, at most {} are kept", key.size(), kKeyBytesMax));
  // Printable ASCII, so that a key reads the same in every tool.
  const auto is_odd = [](char c) { return c <= ' ' || c > '~'; };
  if (std::any_of(key.begin(), key.end(), is_odd))
    return fail(ErrorCode::kInvalid, "a key has a byte that is not printable ASCII");
  return {};
}

Status check(const Transaction& transaction) {
  if (transaction.changes.empty())
    return fail(ErrorCode::kInvalid, "a transaction changes nothing");
  if (transaction.changes.size() > kTransactionChangesMax ||
      transaction.conditions.size() > kTransactionChangesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("a transaction has more than {} changes or conditions",
                            kTransactionChangesMax));
  for (const Condition& condition : transaction.conditions) {
    FR_CHECK(check_key(condition.key));
    if (condition.revision < 0)
      return fail(ErrorCode::kInvalid, fmt::format("no revision: {}", condition.revision));
  }
  std::set<std::string_view> keys;
  size_t bytes = 0;
  for (const Change& change : transaction.changes) {
    FR_CHECK(check_key(change.key));
    if (!keys.insert(change.key).second)
      return fail(ErrorCode::kInvalid, fmt::format("{} is changed twice at once", change.key));
    if (change.lease != 0 && !change.value)
      return fail(ErrorCode::kInvalid, fmt::format("{} is removed under a lease", change.key));
    bytes += change.value ? change.value->size() : 0;
  }
  if (bytes > kValueBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("a transaction has {} bytes, at most {} are kept",
                                                  bytes, kValueBytesMax));
  return {};
}

Status check_ttl(Nanos ttl) {
  if (ttl < std::chrono::seconds(1) || ttl > std::chrono::hours(1))
    return fail(ErrorCode::kInvalid,
                fmt::format("a lease of {} s; 1 s to 1 h are possible", to_seconds(ttl)));
  return {};
}

}  // namespace forerun::cluster
