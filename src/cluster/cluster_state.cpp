#include "cluster/cluster_state.h"

#include <map>

#include "core/id.h"

namespace forerun::cluster {
namespace {

Status check_name(const std::string& name) {
  if (is_valid_name(name)) return {};
  return fail(ErrorCode::kInvalid, fmt::format("'{}' is no name", name));
}

Result<Document> document_of(const KeyValue& entry) {
  auto document = parse_document(entry.value);
  if (!document) return std::unexpected(std::move(document.error()).within(entry.key));
  document->revision = entry.modified;
  return document;
}

}  // namespace

ClusterState::ClusterState(StateStore& store, const std::string& cluster)
    : store_(store), prefix_("forerun/" + cluster + "/") {
  FR_ASSERT(is_valid_name(cluster));
}

Result<std::vector<HostEntry>> ClusterState::hosts() {
  // Those who are known first: who registers writes both at once.
  FR_TRY(const Listing known, store_.list(prefix_ + "hosts/"));
  FR_TRY(const Listing alive, store_.list(prefix_ + "members/"));
  std::map<std::string, HostEntry> hosts;
  for (const auto& [listing, is_alive] : {std::pair{&known, false}, std::pair{&alive, true}})
    for (const KeyValue& entry : listing->entries) {
      auto host = parse_host(entry.value);
      if (!host) return std::unexpected(std::move(host.error()).within(entry.key));
      const std::string name = host->name;
      hosts[name] = {std::move(*host), is_alive};
    }
  std::vector<HostEntry> result;
  for (auto& [name, entry] : hosts) result.push_back(std::move(entry));
  return result;
}

Status ClusterState::forget_host(const std::string& name) {
  FR_CHECK(check_name(name));
  FR_TRY(const auto known, store_.get(host_key(name)));
  if (!known) return fail(ErrorCode::kNotFound, fmt::format("the cluster knows no host {}", name));
  Transaction forget;
  forget.conditions = {{member_key(name), Condition::On::kCreated, 0},
                       {host_key(name), Condition::On::kModified, known->modified}};
  forget.changes = {{host_key(name), std::nullopt}};
  FR_TRY(const Committed done, store_.commit(forget));
  if (!done.is_applied)
    return fail(ErrorCode::kExists, fmt::format("host {} is there: its lease has not ended", name));
  return {};
}

Result<ClusterState::Leader> ClusterState::leader() {
  FR_TRY(const auto entry, store_.get(leader_key()));
  if (!entry) return Leader{};
  FR_TRY(LeaderRecord record, parse_leader(entry->value));
  return Leader{std::move(record.host), static_cast<uint64_t>(entry->created)};
}

Result<std::optional<Document>> ClusterState::get(const std::string& key) {
  FR_TRY(const auto entry, store_.get(key));
  if (!entry) return std::nullopt;
  FR_TRY(Document document, document_of(*entry));
  return document;
}

Result<std::vector<NamedDocument>> ClusterState::list(const std::string& prefix) {
  FR_TRY(const Listing listing, store_.list(prefix));
  std::vector<NamedDocument> documents;
  for (const KeyValue& entry : listing.entries) {
    FR_TRY(Document document, document_of(entry));
    documents.push_back({entry.key.substr(prefix.size()), std::move(document)});
  }
  return documents;
}

Result<Revision> ClusterState::as_leader(uint64_t token, std::vector<Change> changes) {
  if (token == 0 || token > INT64_MAX)
    return fail(ErrorCode::kDenied, "this host does not lead the cluster");
  Transaction transaction;
  transaction.conditions = {{leader_key(), Condition::On::kCreated, static_cast<Revision>(token)}};
  transaction.changes = std::move(changes);
  FR_TRY(const Committed done, store_.commit(transaction));
  if (!done.is_applied)
    return fail(ErrorCode::kDenied,
                fmt::format("this host leads the cluster no more: its token {} is over", token));
  return done.revision;
}

Result<Revision> ClusterState::put_as_leader(const std::string& key, const Document& document) {
  FR_TRY(std::string value, encode(document));
  return as_leader(document.token, {{key, std::move(value)}});
}

Result<std::optional<Document>> ClusterState::get_policy(const std::string& name) {
  FR_CHECK(check_name(name));
  return get(prefix_ + "policies/" + name);
}

Result<Revision> ClusterState::put_policy(const std::string& name, const Document& policy) {
  FR_CHECK(check_name(name));
  FR_TRY(std::string value, encode(policy));
  const std::string key = prefix_ + "policies/" + name;
  FR_TRY(const Committed done,
         store_.commit({{{key, Condition::On::kModified, policy.revision}}, {{key, value}}}));
  if (!done.is_applied)
    return fail(ErrorCode::kExists, fmt::format("policy {} was changed meanwhile", name));
  return done.revision;
}

Status ClusterState::remove_policy(const std::string& name, Revision revision) {
  FR_CHECK(check_name(name));
  const std::string key = prefix_ + "policies/" + name;
  FR_TRY(const Committed done,
         store_.commit({{{key, Condition::On::kModified, revision}}, {{key, std::nullopt}}}));
  if (!done.is_applied)
    return fail(ErrorCode::kExists, fmt::format("policy {} was changed meanwhile", name));
  return {};
}

Result<Revision> ClusterState::put_placement(const std::string& vm, const Document& placement) {
  FR_CHECK(check_name(vm));
  return put_as_leader(prefix_ + "placements/" + vm, placement);
}

Status ClusterState::remove_placement(const std::string& vm, uint64_t token) {
  FR_CHECK(check_name(vm));
  FR_CHECK(as_leader(token, {{prefix_ + "placements/" + vm, std::nullopt}}));
  return {};
}

Result<std::optional<Document>> ClusterState::get_memory(const std::string& name) {
  FR_CHECK(check_name(name));
  return get(prefix_ + "memory/" + name);
}

Result<Revision> ClusterState::change_as_leader(uint64_t token,
                                                std::span<const LeaderChange> changes) {
  std::vector<Change> all;
  for (const LeaderChange& change : changes) {
    FR_CHECK(check_name(change.name));
    const bool is_memory = change.of == LeaderChange::Of::kMemory;
    Change& added = all.emplace_back();
    added.key = prefix_ + (is_memory ? "memory/" : "placements/") + change.name;
    if (!change.json) continue;
    FR_TRY(added.value, encode(Document{.json = *change.json, .token = token}));
  }
  return as_leader(token, std::move(all));
}

}  // namespace forerun::cluster
