// A host's cluster, as the API shows it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace forerun::api {

// A host as it registered itself.
struct ClusterHost {
  bool is_alive = false;  // its lease is there
  bool is_self = false, is_leader = false;
  std::string zone, version;
  uint32_t cpus = 0;
  uint64_t memory_bytes = 0;
  std::vector<std::string> labels;  // "rack=7"
};

// Another host of the configuration, and whether it answers; or one that the cluster knows.
struct PeerInfo {
  std::string name, address;
  bool is_reachable = false;
  std::string detail;                                 // why it does not
  std::optional<ClusterHost> cluster = std::nullopt;  // nothing: it is not registered
};

struct ClusterInfo {
  std::string name, store, host, zone;  // store: "sqlite" or "etcd"
  bool is_registered = false, is_leader = false;
  double lease_seconds = 0;
  double lease_left_seconds = 0;  // until this host must count it as ended; 0: it has
  std::string leader;             // as last seen; empty: nobody leads
  uint64_t leader_token = 0;
  uint64_t fence_token = 0;  // acts of leaders with a lower one are refused here
  uint64_t hosts = 0, hosts_alive = 0;
  std::string error;  // why the store could not be asked last; empty: it could
};

}  // namespace forerun::api
