// forerund's configuration: built-in defaults, then one TOML file, then FORERUN_* variables, then
// flags. Every value has a default, so that no file is needed. docs/configuration.md lists them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace forerun::daemon {

struct RepositoryConfig {
  std::string path;              // a folder, or …
  std::string url;               // … http(s)://…, or …
  std::string s3;                // … s3://bucket/prefix
  std::string ca_file;           // https, s3: whom to trust; empty: the system's store
  std::string certificate_file;  // https: who we are
  std::string key_file;
  std::string endpoint;         // s3: http(s)://host; empty: AWS's for the region
  std::string region;           // s3; empty: us-east-1
  std::string access_key_file;  // s3; empty: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
  bool is_path_style = true;    // s3: endpoint/bucket/key; false: bucket.endpoint/key
  // Whether its tags need no signature; unset: only a folder's need none.
  std::optional<bool> allow_unsigned = std::nullopt;
  bool operator==(const RepositoryConfig&) const = default;
};

// Another forerund that VMs may be moved to, and taken from.
struct HostConfig {
  std::string name;     // the one in its certificate
  std::string address;  // of its [migration] listen, "10.0.0.2:7070"
  bool operator==(const HostConfig&) const = default;
};

enum class PrefetchPolicy : uint8_t {
  kOn,
  kObserve,  // models learn and are scored, nothing is fetched ahead
  kOff,
  kTraceReplayFifo,  // the recorded trace read ahead, 8 deep, no priorities: what others do, kept
                     // to compare with
};

struct Config {
  std::string state_dir;  // VMs, overlays, histories, the tier's file
  std::string run_dir;    // sockets
  std::string socket;     // of the API; empty: run_dir/forerund.sock
  std::string log_level = "info";

  std::vector<RepositoryConfig> repositories;  // tried in this order; none: state_dir/repository

  std::vector<std::string> trust_keys;     // "ed25519:…", or the path of a file with one
  std::vector<std::string> trust_revoked;  // the same
  std::string trust_signing_key;           // a file: with it what is made here is signed

  uint64_t tier_memory_bytes = 256ull << 20;
  uint64_t tier_memory_bytes_min = 64ull << 20;  // kept when the host runs short
  uint64_t tier_file_bytes = 4ull << 30;
  // Of the host's memory (or its cgroup's limit): with less available than the first, the tier
  // gives memory back up to the second.
  double tier_available_low_ratio = 0.05, tier_available_high_ratio = 0.10;
  double tier_stall_ratio = 0.10;  // between the two: share of time that tasks waited for memory

  PrefetchPolicy prefetch = PrefetchPolicy::kOn;
  std::vector<std::string> models = {"replay", "prior",     "sequential",
                                     "stride", "successor", "neighbourhood"};
  double probability_min = 0.55;  // a proposal below this is not fetched
  // Once the guest is at work; empty: those of the boot go on.
  std::vector<std::string> models_work = {"markov",     "association", "rnn",
                                          "sequential", "stride",      "successor"};
  double probability_min_work = 0.6;    // at 64 KiB a block is dear; docs/prediction.md
  uint64_t budget_bytes = 64ull << 20;  // each VM's first prefetch allowance
  double rate_bytes_per_s_max =
      0;  // all prefetches together; 0: a little over the link's measured rate

  uint64_t history_bytes = 1ull << 30;  // of how the host and its VMs were used
  // Another keeper of it, which the history is filled from; empty: none.
  std::string prometheus_url;
  std::string prometheus_instance;  // this host there; empty: all of its series are of it
  std::string prometheus_queries;   // a file; empty: the usual ones
  std::string prometheus_ca, prometheus_certificate, prometheus_key, prometheus_token_file;

  PrefetchPolicy launches = PrefetchPolicy::kOn;  // kOn, kObserve or kOff
  uint32_t launch_period_s = 60;                  // how often launches are foreseen
  uint32_t launch_horizon_s = 600;                // how far ahead: a multiple of the period
  double launch_probability_min = 0.3;            // what is less likely is not fetched for
  uint64_t launch_budget_bytes = 64ull << 20;     // fetched for launches and not used yet, at most
  std::vector<std::string> launch_history;        // files of past launches to learn from

  uint32_t fetch_threads = 16;  // per repository

  std::string
      nbd_listen;  // "127.0.0.1:10809" for NBD over TCP besides the unix socket; empty: none
  std::string
      tls_dir;  // ca-cert.pem, server-cert.pem, server-key.pem; needed for any other address
  std::vector<std::string>
      tls_allowed_names;  // distinguished names; empty: any certificate of the CA

  std::string migration_listen;  // "10.0.0.1:7070"; empty: no VM comes here
  std::string migration_certificate, migration_key, migration_ca;  // paths of PEM files
  std::vector<HostConfig> hosts;                                   // by name

  std::string cluster_store = "sqlite";  // or "etcd"
  std::string cluster_name = "default";  // in the store
  std::string cluster_host;              // this host's name; empty: the system's
  std::string cluster_zone = "default";
  std::string cluster_address;              // of this host; empty: migration_listen
  std::vector<std::string> cluster_labels;  // "rack=7"
  uint32_t cluster_lease_s = 10;
  std::vector<std::string> cluster_endpoints;                // of etcd: "https://10.0.0.1:2379"
  std::string cluster_certificate, cluster_key, cluster_ca;  // for https: paths of PEM files

  std::string api_socket() const { return socket.empty() ? run_dir + "/forerund.sock" : socket; }
  std::string nbd_socket() const { return run_dir + "/nbd.sock"; }
  bool operator==(const Config&) const = default;
};

struct HostAddress {
  std::string host;
  uint16_t port = 0;
};
// Returns the parts of "10.0.0.2:7070" or "[::1]:7070". ERRORS: kInvalid.
Result<HostAddress> parse_address(const std::string& text);

// Returns the defaults of this user: /var/lib/forerun and /run/forerun for root, XDG folders for
// others.
Config default_config();
// Lays the TOML text over `config`. ERRORS: kInvalid, naming the key and the line: an unknown key
// is an error too, for a misspelt limit must not be silently without effect.
Status apply_toml(Config& config, std::string_view text, const std::string& file_name);
// Lays FORERUN_<SECTION>_<KEY> variables over `config`, for every scalar key of the file.
Status apply_environment(Config& config, const std::map<std::string, std::string>& environment);
// Returns `config` if its values fit together. ERRORS: kInvalid, naming the key.
Status check(const Config& config);

}  // namespace forerun::daemon
