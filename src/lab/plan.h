// How a lab is laid out: names and addresses of its hosts, and what each one's forerund is told.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace forerun::lab {

struct Host {
  std::string name;            // a, b, …
  std::string address;         // IPv4
  std::string network_device;  // MAC of its bridge, fixed: a VM that comes must not change it
  std::string name_space;      // of the network, as `ip netns` knows it
  std::string folder;          // state, sockets, key and certificate
  std::string api_socket() const { return folder + "/run/forerund.sock"; }
  std::string config_path() const { return folder + "/forerund.toml"; }
  std::string certificate_path() const { return folder + "/tls/cert.pem"; }
  std::string key_path() const { return folder + "/tls/key.pem"; }
  bool operator==(const Host&) const = default;
};

struct PlanOptions {
  std::string folder;  // absolute
  size_t hosts = 2;
  std::string subnet = "10.77.0.0/24";
  std::string prefix = "forerun";  // namespaces are PREFIX-a, …
};

struct Plan {
  std::string folder;
  unsigned prefix_bits = 24;
  std::vector<Host> hosts;
  std::string authority_certificate() const { return folder + "/ca/ca-cert.pem"; }
  std::string authority_key() const { return folder + "/ca/ca-key.pem"; }
  std::string control_socket() const { return folder + "/switch.sock"; }
};

inline constexpr uint16_t kMigrationPort = 9760;
inline constexpr size_t kHostsMin = 2, kHostsMax = 16;
// What a lab's folder may be long at most, so that the sockets in it fit sockaddr_un.
inline constexpr size_t kFolderBytesMax = 60;
inline constexpr size_t kNamespacePrefixBytesMax = 32;

// ERRORS: kInvalid, naming what is wrong.
Result<Plan> plan_lab(const PlanOptions& options);
// Returns the batch of `ip -batch` that gives a host its network: eth0, which the switch made, on a
// bridge br0 with the host's address.
std::string network_commands(const Plan& plan, const Host& host);
// Returns the TOML of a host's forerund.
std::string daemon_config(const Plan& plan, const Host& host);
// Return the configurations of `openssl req -x509` for the lab's own certificate authority and for
// a host: its name and address, as a server and as a client.
std::string authority_request();
std::string certificate_request(const Host& host);

}  // namespace forerun::lab
