#include "daemon/config.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <sstream>

#include "core/id.h"
#include "daemon/cluster_config.h"
#include "net/s3_store.h"

// With exceptions off toml++ reports syntax errors as values; Debian's compiled library has them
// on, hence header only.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/impl/preprocessor.h>
// Of values that are cut off it assumes what does not hold, and then finds the error.
#undef TOML_ASSERT_ASSUME
#define TOML_ASSERT_ASSUME(expr) static_cast<void>(0)
#include <toml++/toml.h>

namespace forerun::daemon {
namespace {

std::string environment_or(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::string where(const toml::source_region& source, const std::string& file) {
  return fmt::format("{}:{}", file, source.begin.line);
}

// One scalar setting: its section and key, and where it is kept.
struct Setting {
  std::string_view section, key;
  std::variant<std::string*, uint64_t*, uint32_t*, double*, PrefetchPolicy*> target;
};

std::vector<Setting> settings_of(Config& config) {
  return {
      {"daemon", "state_dir", &config.state_dir},
      {"daemon", "run_dir", &config.run_dir},
      {"daemon", "socket", &config.socket},
      {"daemon", "log_level", &config.log_level},
      {"history", "bytes", &config.history_bytes},
      {"history", "prometheus_url", &config.prometheus_url},
      {"history", "prometheus_instance", &config.prometheus_instance},
      {"history", "prometheus_queries", &config.prometheus_queries},
      {"history", "prometheus_ca", &config.prometheus_ca},
      {"history", "prometheus_certificate", &config.prometheus_certificate},
      {"history", "prometheus_key", &config.prometheus_key},
      {"history", "prometheus_token_file", &config.prometheus_token_file},
      {"tier", "memory_bytes", &config.tier_memory_bytes},
      {"tier", "memory_bytes_min", &config.tier_memory_bytes_min},
      {"tier", "file_bytes", &config.tier_file_bytes},
      {"tier", "available_low_ratio", &config.tier_available_low_ratio},
      {"tier", "available_high_ratio", &config.tier_available_high_ratio},
      {"tier", "stall_ratio", &config.tier_stall_ratio},
      {"prefetch", "mode", &config.prefetch},
      {"prefetch", "probability_min", &config.probability_min},
      {"prefetch", "probability_min_work", &config.probability_min_work},
      {"prefetch", "budget_bytes", &config.budget_bytes},
      {"prefetch", "rate_bytes_per_s_max", &config.rate_bytes_per_s_max},
      {"trust", "signing_key", &config.trust_signing_key},
      {"launches", "mode", &config.launches},
      {"launches", "period_seconds", &config.launch_period_s},
      {"launches", "horizon_seconds", &config.launch_horizon_s},
      {"launches", "probability_min", &config.launch_probability_min},
      {"launches", "budget_bytes", &config.launch_budget_bytes},
      {"fetch", "threads", &config.fetch_threads},
      {"nbd", "listen", &config.nbd_listen},
      {"nbd", "tls_dir", &config.tls_dir},
      {"migration", "listen", &config.migration_listen},
      {"migration", "certificate", &config.migration_certificate},
      {"migration", "key", &config.migration_key},
      {"migration", "ca", &config.migration_ca},
      {"cluster", "store", &config.cluster_store},
      {"cluster", "name", &config.cluster_name},
      {"cluster", "host", &config.cluster_host},
      {"cluster", "zone", &config.cluster_zone},
      {"cluster", "address", &config.cluster_address},
      {"cluster", "lease_seconds", &config.cluster_lease_s},
      {"cluster", "certificate", &config.cluster_certificate},
      {"cluster", "key", &config.cluster_key},
      {"cluster", "ca", &config.cluster_ca},
  };
}

constexpr std::pair<std::string_view, PrefetchPolicy> kPolicies[] = {
    {"on", PrefetchPolicy::kOn},
    {"observe", PrefetchPolicy::kObserve},
    {"off", PrefetchPolicy::kOff},
    {"trace_replay_fifo", PrefetchPolicy::kTraceReplayFifo},
};

Status set_policy(PrefetchPolicy& target, std::string_view text, const std::string& name) {
  for (const auto& [word, policy] : kPolicies) {
    if (word != text) continue;
    target = policy;
    return {};
  }
  return fail(
      ErrorCode::kInvalid,
      fmt::format("{} is one of on, observe, off, trace_replay_fifo, not '{}'", name, text));
}

Status set_integer(const Setting& setting, int64_t value, const std::string& name) {
  if (value < 0)
    return fail(ErrorCode::kInvalid, fmt::format("{} cannot be negative: {}", name, value));
  if (auto* wide = std::get_if<uint64_t*>(&setting.target)) **wide = static_cast<uint64_t>(value);
  if (auto* narrow = std::get_if<uint32_t*>(&setting.target)) {
    if (value > UINT32_MAX)
      return fail(ErrorCode::kInvalid, fmt::format("{} is too large: {}", name, value));
    **narrow = static_cast<uint32_t>(value);
  }
  return {};
}

Status set_from_toml(const Setting& setting, const toml::node& node, const std::string& name) {
  if (auto* text = std::get_if<std::string*>(&setting.target)) {
    if (!node.is_string())
      return fail(ErrorCode::kInvalid, fmt::format("{} must be a string", name));
    **text = *node.value<std::string>();
    return {};
  }
  if (auto* policy = std::get_if<PrefetchPolicy*>(&setting.target))
    return set_policy(**policy, node.value_or(std::string_view{"(no string)"}), name);
  if (auto* number = std::get_if<double*>(&setting.target)) {
    if (!node.is_number())
      return fail(ErrorCode::kInvalid, fmt::format("{} must be a number", name));
    **number = *node.value<double>();
    return {};
  }
  if (!node.is_integer())
    return fail(ErrorCode::kInvalid, fmt::format("{} must be a whole number", name));
  return set_integer(setting, *node.value<int64_t>(), name);
}

Status set_from_text(const Setting& setting, const std::string& value, const std::string& name) {
  if (auto* text = std::get_if<std::string*>(&setting.target)) {
    **text = value;
    return {};
  }
  if (auto* policy = std::get_if<PrefetchPolicy*>(&setting.target))
    return set_policy(**policy, value, name);
  char* end = nullptr;
  if (auto* number = std::get_if<double*>(&setting.target)) {
    **number = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0')
      return fail(ErrorCode::kInvalid, fmt::format("{} must be a number", name));
    return {};
  }
  const long long whole = std::strtoll(value.c_str(), &end, 10);
  if (value.empty() || *end != '\0')
    return fail(ErrorCode::kInvalid, fmt::format("{} must be a whole number", name));
  return set_integer(setting, whole, name);
}

Status read_strings(std::vector<std::string>& target, const toml::node& node,
                    const std::string& name) {
  const toml::array* list = node.as_array();
  if (list == nullptr)
    return fail(ErrorCode::kInvalid, fmt::format("{} must be a list of strings", name));
  target.clear();
  for (const toml::node& item : *list) {
    if (!item.is_string())
      return fail(ErrorCode::kInvalid, fmt::format("{} must be a list of strings", name));
    target.push_back(*item.value<std::string>());
  }
  return {};
}

Status read_repositories(Config& config, const toml::node& node, const std::string& file) {
  const toml::array* list = node.as_array();
  if (list == nullptr)
    return fail(ErrorCode::kInvalid, fmt::format("{}: write [[repository]], not [repository]",
                                                 where(node.source(), file)));
  config.repositories.clear();
  for (const toml::node& item : *list) {
    const toml::table* table = item.as_table();
    if (table == nullptr)
      return fail(ErrorCode::kInvalid, fmt::format("{}: repository must be a table", file));
    RepositoryConfig repository;
    const std::pair<std::string_view, std::string*> keys[] = {
        {"path", &repository.path},
        {"url", &repository.url},
        {"s3", &repository.s3},
        {"endpoint", &repository.endpoint},
        {"region", &repository.region},
        {"access_key_file", &repository.access_key_file},
        {"ca_file", &repository.ca_file},
        {"certificate_file", &repository.certificate_file},
        {"key_file", &repository.key_file}};
    for (const auto& [key, value] : *table) {
      const std::string at =
          fmt::format("{}: repository.{}", where(value.source(), file), key.str());
      if (key.str() == "path_style" || key.str() == "allow_unsigned") {
        if (!value.is_boolean())
          return fail(ErrorCode::kInvalid, fmt::format("{} must be true or false", at));
        if (key.str() == "path_style") repository.is_path_style = *value.value<bool>();
        if (key.str() == "allow_unsigned") repository.allow_unsigned = *value.value<bool>();
        continue;
      }
      const auto* known = std::find_if(std::begin(keys), std::end(keys),
                                       [&](auto& k) { return k.first == key.str(); });
      if (known == std::end(keys))
        return fail(ErrorCode::kInvalid, fmt::format("{} is no known key", at));
      if (!value.is_string())
        return fail(ErrorCode::kInvalid, fmt::format("{} must be a string", at));
      *known->second = *value.value<std::string>();
    }
    config.repositories.push_back(std::move(repository));
  }
  return {};
}

// [hosts.NAME] tables.
Status read_hosts(Config& config, const toml::node& node, const std::string& file) {
  const toml::table* hosts = node.as_table();
  if (hosts == nullptr)
    return fail(ErrorCode::kInvalid,
                fmt::format("{}: write [hosts.NAME]", where(node.source(), file)));
  config.hosts.clear();
  for (const auto& [name, content] : *hosts) {
    const std::string at = fmt::format("{}: hosts.{}", where(content.source(), file), name.str());
    const toml::table* table = content.as_table();
    if (table == nullptr) return fail(ErrorCode::kInvalid, fmt::format("{} must be a table", at));
    HostConfig host;
    host.name = name.str();
    for (const auto& [key, value] : *table) {
      if (key.str() != "address")
        return fail(ErrorCode::kInvalid,
                    fmt::format("{}: hosts.{}.{} is no known key", where(value.source(), file),
                                name.str(), key.str()));
      if (!value.is_string())
        return fail(ErrorCode::kInvalid, fmt::format("{}.address must be a string", at));
      host.address = *value.value<std::string>();
    }
    config.hosts.push_back(std::move(host));
  }
  std::sort(config.hosts.begin(), config.hosts.end(),
            [](const HostConfig& a, const HostConfig& b) { return a.name < b.name; });
  return {};
}

// The settings that are lists. Returns whether the key was one.
Result<bool> read_list(Config& config, std::string_view section, std::string_view key,
                       const toml::node& node, const std::string& name) {
  if (section == "prefetch" && key == "models_work") {
    FR_CHECK(read_strings(config.models_work, node, name));
    return true;
  }
  if (section == "prefetch" && key == "models") {
    FR_CHECK(read_strings(config.models, node, name));
    return true;
  }
  if (section == "trust" && (key == "keys" || key == "revoked")) {
    FR_CHECK(read_strings(key == "keys" ? config.trust_keys : config.trust_revoked, node, name));
    return true;
  }
  if (section == "launches" && key == "history") {
    FR_CHECK(read_strings(config.launch_history, node, name));
    return true;
  }
  if (section == "cluster" && (key == "endpoints" || key == "labels")) {
    FR_CHECK(read_strings(key == "labels" ? config.cluster_labels : config.cluster_endpoints, node,
                          name));
    return true;
  }
  if (section == "nbd" && key == "tls_allowed_names") {
    FR_CHECK(read_strings(config.tls_allowed_names, node, name));
    return true;
  }
  return false;
}

Status check_repository(const RepositoryConfig& repository) {
  const auto invalid = [](std::string_view key, std::string_view what) {
    return fail(ErrorCode::kInvalid, fmt::format("{} {}", key, what));
  };
  const auto is_http = [](std::string_view url) {
    return url.starts_with("http://") || url.starts_with("https://");
  };
  const int kinds = !repository.path.empty() + !repository.url.empty() + !repository.s3.empty();
  if (kinds != 1) return invalid("repository", "needs either path or url or s3");
  if (!repository.path.empty() && repository.path[0] != '/')
    return invalid("repository.path", "must be absolute");
  if (!repository.url.empty() && !is_http(repository.url))
    return invalid("repository.url", "must begin with http:// or https://");
  if (repository.s3.empty()) {
    if (!repository.endpoint.empty() || !repository.region.empty() ||
        !repository.access_key_file.empty() || !repository.is_path_style)
      return invalid("repository",
                     "has endpoint, region, access_key_file and path_style only with s3");
    return {};
  }
  if (const auto location = net::parse_s3_url(repository.s3); !location)
    return std::unexpected(location.error().within("repository.s3"));
  if (!repository.endpoint.empty() && !is_http(repository.endpoint))
    return invalid("repository.endpoint", "must begin with http:// or https://");
  if (!repository.certificate_file.empty() || !repository.key_file.empty())
    return invalid("repository", "with s3 has an access_key_file, no certificate");
  return {};
}

}  // namespace

Config default_config() {
  Config config;
  if (::geteuid() == 0) {
    config.state_dir = "/var/lib/forerun";
    config.run_dir = "/run/forerun";
  } else {
    const std::string home = environment_or("HOME", "/tmp");
    config.state_dir = environment_or("XDG_STATE_HOME", home + "/.local/state") + "/forerun";
    config.run_dir = environment_or("XDG_RUNTIME_DIR", config.state_dir) + "/forerun";
  }
  return config;
}

Status apply_toml(Config& config, std::string_view text, const std::string& file_name) {
  const toml::parse_result parsed = toml::parse(text, file_name);
  if (!parsed)
    return fail(ErrorCode::kInvalid,
                fmt::format("{}: {}", where(parsed.error().source(), file_name),
                            parsed.error().description()));
  const std::vector<Setting> settings = settings_of(config);
  for (const auto& [section, content] : parsed.table()) {
    if (section.str() == "repository") {
      FR_CHECK(read_repositories(config, content, file_name));
      continue;
    }
    if (section.str() == "hosts") {
      FR_CHECK(read_hosts(config, content, file_name));
      continue;
    }
    const toml::table* table = content.as_table();
    if (table == nullptr)
      return fail(ErrorCode::kInvalid,
                  fmt::format("{}: '{}' stands in no section", where(content.source(), file_name),
                              section.str()));
    for (const auto& [key, value] : *table) {
      const std::string name =
          fmt::format("{}: {}.{}", where(value.source(), file_name), section.str(), key.str());
      FR_TRY(const bool was_list, read_list(config, section.str(), key.str(), value, name));
      if (was_list) continue;
      const auto known =
          std::find_if(settings.begin(), settings.end(), [&](const Setting& setting) {
            return setting.section == section.str() && setting.key == key.str();
          });
      if (known == settings.end())
        return fail(ErrorCode::kInvalid, fmt::format("{} is no known key", name));
      FR_CHECK(set_from_toml(*known, value, name));
    }
  }
  return {};
}

Status apply_environment(Config& config, const std::map<std::string, std::string>& environment) {
  for (const Setting& setting : settings_of(config)) {
    std::string name = fmt::format("FORERUN_{}_{}", setting.section, setting.key);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return std::toupper(c); });
    if (const auto found = environment.find(name); found != environment.end())
      FR_CHECK(set_from_text(setting, found->second, name));
  }
  return {};
}

Result<HostAddress> parse_address(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0)
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is not ADDRESS:PORT", text));
  HostAddress address;
  address.host = text.substr(0, colon);
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, address.port);
  if (parsed.ec != std::errc() || parsed.ptr != end)
    return fail(ErrorCode::kInvalid, fmt::format("'{}' does not end in a port", text));
  return address;
}

namespace {

std::unexpected<Error> invalid(std::string_view key, std::string_view what) {
  return fail(ErrorCode::kInvalid, fmt::format("{} {}", key, what));
}

Status check_migration(const Config& config) {
  const std::pair<std::string_view, const std::string*> files[] = {
      {"migration.certificate", &config.migration_certificate},
      {"migration.key", &config.migration_key},
      {"migration.ca", &config.migration_ca}};
  const bool is_used = !config.migration_listen.empty() || !config.hosts.empty();
  for (const auto& [key, path] : files) {
    if (path->empty() && is_used) return invalid(key, "is needed to move VMs between hosts");
    if (!path->empty() && !path->starts_with('/')) return invalid(key, "must be an absolute path");
  }
  if (!config.migration_listen.empty() && !parse_address(config.migration_listen))
    return invalid("migration.listen", "must be ADDRESS:PORT");
  for (const HostConfig& host : config.hosts) {
    if (!is_valid_name(host.name))
      return invalid("hosts", fmt::format("'{}' cannot name a host", host.name));
    if (const auto address = parse_address(host.address); !address || address->port == 0)
      return invalid(fmt::format("hosts.{}.address", host.name), "must be ADDRESS:PORT");
  }
  return {};
}

Status check_launches(const Config& config) {
  if (config.launches == PrefetchPolicy::kTraceReplayFifo)
    return invalid("launches.mode", "is one of on, observe, off");
  if (config.launch_period_s < 1 || config.launch_period_s > 3600)
    return invalid("launches.period_seconds", "must be in 1 … 3600");
  const uint32_t ticks = config.launch_horizon_s / config.launch_period_s;
  if (ticks < 1 || ticks > 64 || config.launch_horizon_s % config.launch_period_s != 0)
    return invalid("launches.horizon_seconds", "must be 1 … 64 times launches.period_seconds");
  if (config.launch_probability_min < 0.01 || config.launch_probability_min > 1)
    return invalid("launches.probability_min", "must be in 0.01 … 1");
  for (const std::string& file : config.launch_history)
    if (file.empty() || file[0] != '/')
      return invalid("launches.history", "must be absolute paths");
  return {};
}

}  // namespace

Status check(const Config& config) {
  if (config.state_dir.empty() || config.state_dir[0] != '/')
    return invalid("daemon.state_dir", "must be an absolute path");
  if (config.run_dir.empty() || config.run_dir[0] != '/')
    return invalid("daemon.run_dir", "must be an absolute path");
  if (config.nbd_socket().size() > 100)
    return invalid("daemon.run_dir", "is too long for a socket's path (at most 90 bytes)");
  for (const RepositoryConfig& repository : config.repositories) {
    FR_CHECK(check_repository(repository));
  }
  if (!config.trust_signing_key.empty() && config.trust_signing_key[0] != '/')
    return invalid("trust.signing_key", "must be an absolute path");
  for (const auto* keys : {&config.trust_keys, &config.trust_revoked})
    for (const std::string& key : *keys)
      if (!key.starts_with("ed25519:") && !key.starts_with('/'))
        return invalid(keys == &config.trust_keys ? "trust.keys" : "trust.revoked",
                       "are ed25519:… or absolute paths of files");
  if (config.probability_min < 0 || config.probability_min > 1)
    return invalid("prefetch.probability_min", "must be in 0 … 1");
  if (config.probability_min_work < 0 || config.probability_min_work > 1)
    return invalid("prefetch.probability_min_work", "must be in 0 … 1");
  if (config.rate_bytes_per_s_max < 0)
    return invalid("prefetch.rate_bytes_per_s_max", "cannot be negative");
  for (const std::string* file :
       {&config.prometheus_queries, &config.prometheus_ca, &config.prometheus_certificate,
        &config.prometheus_key, &config.prometheus_token_file})
    if (!file->empty() && !file->starts_with('/'))
      return invalid("history.prometheus_…", "files must be absolute paths");
  FR_CHECK(check_launches(config));
  FR_CHECK(check_migration(config));
  FR_CHECK(check_cluster(config));
  if (config.fetch_threads < 6 || config.fetch_threads > 128)
    return invalid("fetch.threads", "must be in 6 … 128");
  if (config.tier_memory_bytes < 8ull << 20)
    return invalid("tier.memory_bytes", "must be at least 8 MiB");
  if (!(config.tier_available_low_ratio >= 0 &&
        config.tier_available_low_ratio <= config.tier_available_high_ratio &&
        config.tier_available_high_ratio <= 0.9))
    return invalid("tier.available_low_ratio", "must be in 0 … available_high_ratio … 0.9");
  if (!(config.tier_stall_ratio > 0 && config.tier_stall_ratio <= 1))
    return invalid("tier.stall_ratio", "must be over 0 and at most 1");
  if (!config.nbd_listen.empty() && config.nbd_listen.rfind(':') == std::string::npos)
    return invalid("nbd.listen", "must be ADDRESS:PORT");
  const bool is_loopback =
      config.nbd_listen.starts_with("127.") || config.nbd_listen.starts_with("[::1]");
  if (!config.nbd_listen.empty() && !is_loopback && config.tls_dir.empty())
    return invalid("nbd.listen", "is not a loopback address, which needs nbd.tls_dir");
  constexpr std::string_view kLevels[] = {"debug", "info", "warn", "error"};
  if (std::find(std::begin(kLevels), std::end(kLevels), config.log_level) == std::end(kLevels))
    return invalid("daemon.log_level", "is one of debug, info, warn, error");
  return {};
}

}  // namespace forerun::daemon
