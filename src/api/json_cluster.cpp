#include <boost/json.hpp>

#include "api/json_out.h"
#include "os/clock.h"

namespace forerun::api {

namespace json = boost::json;

namespace {

json::value text_or_null(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(repair_utf8(text));
}

json::object object_of(const PeerInfo& peer) {
  json::object object{{"name", repair_utf8(peer.name)},
                      {"address", repair_utf8(peer.address)},
                      {"reachable", peer.is_reachable},
                      {"detail", text_or_null(peer.detail)}};
  const ClusterHost host = peer.cluster.value_or(ClusterHost{});
  json::array labels;
  for (const std::string& label : host.labels) labels.emplace_back(repair_utf8(label));
  object["lease"] = peer.cluster ? json::value(host.is_alive ? "alive" : "ended") : nullptr;
  object["self"] = host.is_self;
  object["leader"] = host.is_leader;
  object["zone"] = text_or_null(host.zone);
  object["version"] = text_or_null(host.version);
  object["cpus"] = host.cpus;
  object["memory_bytes"] = host.memory_bytes;
  object["labels"] = std::move(labels);
  return object;
}

}  // namespace

std::string to_json(const std::vector<PeerInfo>& peers, int64_t as_of) {
  json::array items;
  for (const PeerInfo& peer : peers) items.push_back(object_of(peer));
  return json::serialize(
      json::value{{"items", std::move(items)}, {"as_of", os::format_utc(as_of)}});
}

std::string to_json(const ClusterInfo& info) {
  return json::serialize(json::object{{"name", info.name},
                                      {"store", info.store},
                                      {"host", info.host},
                                      {"zone", repair_utf8(info.zone)},
                                      {"registered", info.is_registered},
                                      {"is_leader", info.is_leader},
                                      {"lease_seconds", info.lease_seconds},
                                      {"lease_left_seconds", info.lease_left_seconds},
                                      {"leader", text_or_null(info.leader)},
                                      {"leader_token", info.leader_token},
                                      {"fence_token", info.fence_token},
                                      {"hosts", info.hosts},
                                      {"hosts_alive", info.hosts_alive},
                                      {"error", text_or_null(info.error)}});
}

}  // namespace forerun::api
