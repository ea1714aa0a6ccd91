#include "daemon/cluster_config.h"

#include <unistd.h>

#include <thread>

#include "cluster/etcd_state_store.h"
#include "cluster/sqlite_state_store.h"
#include "core/id.h"
#include "os/file.h"
#include "telemetry/usage.h"

namespace forerun::daemon {
namespace {

constexpr std::string_view kVersion = "0.1.0";

std::unexpected<Error> invalid(std::string_view key, std::string_view what) {
  return fail(ErrorCode::kInvalid, fmt::format("cluster.{} {}", key, what));
}

// Returns the system's name up to its first dot; empty if it cannot name a host.
std::string system_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0) return {};
  const std::string_view whole(name);
  const std::string first(whole.substr(0, whole.find('.')));
  return is_valid_name(first) ? first : std::string();
}

// Others could not reach such an address.
bool is_any_address(const std::string& listen) {
  return listen.starts_with("0.0.0.0:") || listen.starts_with("[::]:");
}

Status check_etcd(const Config& config) {
  if (config.cluster_address.empty() && is_any_address(config.migration_listen))
    return invalid("address", fmt::format("is needed: others cannot reach this host at {}",
                                          config.migration_listen));
  if (config.cluster_endpoints.empty()) return invalid("endpoints", "are needed with etcd");
  bool has_https = false;
  for (const std::string& url : config.cluster_endpoints) {
    FR_TRY(const net::HttpEndpoint endpoint, net::parse_endpoint(url));
    has_https = has_https || endpoint.is_https;
  }
  if (has_https && config.cluster_ca.empty()) return invalid("ca", "is needed for https");
  if (config.cluster_certificate.empty() != config.cluster_key.empty())
    return invalid("key", "and cluster.certificate go together");
  for (const auto& [key, path] : {std::pair{"ca", &config.cluster_ca},
                                  {"certificate", &config.cluster_certificate},
                                  {"key", &config.cluster_key}})
    if (!path->empty() && !path->starts_with('/')) return invalid(key, "must be an absolute path");
  return {};
}

// Returns what tells this state folder from all others, made at the first start.
Result<std::string> host_id(const std::string& state_dir) {
  const std::string path = state_dir + "/host_id";
  if (!os::path_exists(path)) {
    FR_TRY(const auto random, os::read_file("/proc/sys/kernel/random/uuid", 64));
    FR_CHECK(os::write_file_atomic(path, ByteView(random)));
  }
  FR_TRY(const auto text, os::read_file(path, 64));
  std::string id(as_text(text));
  while (!id.empty() && id.back() == '\n') id.pop_back();
  if (id.empty()) return fail(ErrorCode::kCorrupt, fmt::format("{} is empty", path));
  return id;
}

}  // namespace

Status check_cluster(const Config& config) {
  if (config.cluster_store != "sqlite" && config.cluster_store != "etcd")
    return invalid("store", "is one of sqlite, etcd");
  if (!is_valid_name(config.cluster_name)) return invalid("name", "is no name");
  if (!config.cluster_host.empty() && !is_valid_name(config.cluster_host))
    return invalid("host", "cannot name a host");
  if (!is_valid_name(config.cluster_zone)) return invalid("zone", "is no name");
  if (!config.cluster_address.empty() && !parse_address(config.cluster_address))
    return invalid("address", "must be ADDRESS:PORT");
  if (config.cluster_lease_s < 3 || config.cluster_lease_s > 600)
    return invalid("lease_seconds", "must be in 3 … 600");
  if (config.cluster_labels.size() > 64) return invalid("labels", "are at most 64");
  for (const std::string& label : config.cluster_labels)
    if (const size_t at = label.find('='); at == std::string::npos || at > 64 ||
                                           label.size() > 256 ||
                                           !is_valid_name(label.substr(0, at)))
      return invalid("labels", "must be NAME=VALUE");
  return config.cluster_store == "etcd" ? check_etcd(config) : Status{};
}

Result<cluster::HostRecord> describe_host(const Config& config) {
  cluster::HostRecord host;
  host.name = config.cluster_host.empty() ? system_name() : config.cluster_host;
  if (host.name.empty() && config.cluster_store == "etcd")
    return invalid("host", "is needed: the system's name cannot name a host");
  if (host.name.empty()) host.name = "host";
  FR_TRY(host.id, host_id(config.state_dir));
  host.address = config.cluster_address.empty() ? config.migration_listen : config.cluster_address;
  host.zone = config.cluster_zone;
  host.version = kVersion;
  host.cpus = std::max(1u, std::thread::hardware_concurrency());
  if (const auto text = os::read_file("/proc/meminfo", 64 << 10)) {
    telemetry::HostCounters counters;
    if (telemetry::parse_meminfo(as_text(*text), counters))
      host.memory_bytes = counters.memory_total_bytes;
  }
  for (const std::string& label : config.cluster_labels) {
    const size_t at = label.find('=');
    host.labels[label.substr(0, at)] = label.substr(at + 1);
  }
  return host;
}

Result<std::unique_ptr<cluster::StateStore>> open_cluster_store(const Config& config,
                                                                const Clock& clock) {
  if (config.cluster_store == "etcd") {
    cluster::EtcdOptions options;
    options.endpoints = config.cluster_endpoints;
    options.tls = {config.cluster_certificate, config.cluster_key, config.cluster_ca};
    FR_TRY(auto etcd, cluster::EtcdStateStore::create(std::move(options), clock));
    return etcd;
  }
  cluster::SqliteStateStoreOptions options;
  options.path = config.state_dir + "/cluster.db";
  FR_TRY(auto sqlite, cluster::SqliteStateStore::open(std::move(options), clock));
  return sqlite;
}

}  // namespace forerun::daemon
