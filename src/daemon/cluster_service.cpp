#include "daemon/cluster_service.h"

#include <algorithm>

#include "core/log.h"
#include "daemon/cluster_config.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kWatchWait = std::chrono::seconds(10);
constexpr Nanos kRetry = std::chrono::seconds(1);

}  // namespace

Result<std::unique_ptr<ClusterService>> ClusterService::open(const Config& config,
                                                             const Clock& clock) {
  std::unique_ptr<ClusterService> service(new ClusterService(config));
  FR_TRY(service->record_, describe_host(config));
  FR_TRY(service->store_, open_cluster_store(config, clock));
  service->state_ = std::make_unique<cluster::ClusterState>(*service->store_, config.cluster_name);
  FR_TRY(service->fence_,
         cluster::Fence::open(config.state_dir + "/fence",
                              fmt::format("{} {}", config.cluster_store, config.cluster_name)));
  cluster::MemberOptions options;
  options.self = service->record_;
  options.lease = std::chrono::seconds(config.cluster_lease_s);
  service->member_ = std::make_unique<cluster::Member>(*service->state_, clock, options);
  return service;
}

void ClusterService::start() {
  stepper_ = std::jthread([this] { step_until_stopped(); });
  watcher_ = std::jthread([this] { watch_until_stopped(); });
}

void ClusterService::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
    if (watch_) watch_->stop();
  }
  woken_.notify_all();
  if (stepper_.joinable()) stepper_.join();
  if (watcher_.joinable()) watcher_.join();
}

bool ClusterService::wait(Nanos time) {
  std::unique_lock lock(mutex_);
  woken_.wait_for(lock, time, [this] { return is_stopping_; });
  return !is_stopping_;
}

void ClusterService::step_until_stopped() {
  bool was_failing = false;
  bool was_leader = false;
  for (;;) {
    const Nanos rest = member_->step();
    const cluster::MemberStatus status = member_->status();
    if (status.error && !was_failing)
      log::warn("cluster: {}; VMs and migrations go on without it", status.error->message);
    if (!status.error && was_failing) log::info("cluster: the store answers again");
    was_failing = status.error.has_value();
    if (status.leadership.is_leader != was_leader)
      log::info("cluster: this host {} (token {})", was_leader ? "leads no more" : "leads now",
                status.leadership.token);
    const bool has_turned = status.leadership.is_leader != was_leader;
    was_leader = status.leadership.is_leader;
    if (has_turned && listeners_.on_lead) listeners_.on_lead();
    std::unique_lock lock(mutex_);
    woken_.wait_for(lock, rest, [this] { return is_stopping_ || must_step_; });
    must_step_ = false;
    if (is_stopping_) break;
  }
  member_->leave();
}

void ClusterService::watch_until_stopped() {
  do {
    // Errors are those that the stepper tells of.
    if (const Status done = follow(); !done) log::debug("cluster: {}", done.error().message);
  } while (wait(kRetry));
}

Status ClusterService::follow() {
  FR_TRY(const cluster::Listing now, store_->list(state_->prefix()));
  for (const cluster::KeyValue& entry : now.entries) notice(entry.key, {false, entry});
  FR_CHECK(read_hosts());
  FR_TRY(auto created, store_->watch(state_->prefix(), now.revision));
  const std::shared_ptr<cluster::Watch> watch = std::move(created);
  {
    const std::lock_guard lock(mutex_);
    watch_ = watch;
    if (is_stopping_) return {};
  }
  for (;;) {
    const auto batch = watch->next(kWatchWait);
    if (!batch) {
      log::debug("cluster: {}", batch.error().message);
      if (!wait(kRetry)) return {};
      continue;
    }
    if (batch->is_compacted) return {};
    const bool has_hosts = std::ranges::any_of(batch->events, [this](const auto& event) {
      return event.entry.key.starts_with(state_->prefix() + "members/") ||
             event.entry.key.starts_with(state_->prefix() + "hosts/");
    });
    for (const cluster::Event& event : batch->events) notice(event.entry.key, event);
    if (!has_hosts) continue;
    if (const Status read = read_hosts(); !read) return read;
  }
}

void ClusterService::notice(const std::string& key, const cluster::Event& event) {
  if (key.starts_with(state_->prefix() + "policies/") && listeners_.on_policy)
    listeners_.on_policy();
  const bool is_leader = key == state_->leader_key();
  if (!is_leader && key != state_->member_key(record_.name)) return;
  // Acts of earlier leaders are refused from here on, whether the new one acts or not.
  if (is_leader && !event.is_removal) {
    const auto token = static_cast<uint64_t>(event.entry.created);
    if (const Status noted = fence_->admit(token, "an election");
        !noted && noted.error().code != ErrorCode::kDenied)
      log::warn("cluster: {}", noted.error().message);
  }
  member_->look_again();
  {
    const std::lock_guard lock(mutex_);
    must_step_ = true;
  }
  woken_.notify_all();
}

Status ClusterService::read_hosts() {
  FR_TRY(auto hosts, state_->hosts());
  if (listeners_.on_hosts) listeners_.on_hosts(hosts);
  const std::lock_guard lock(mutex_);
  hosts_ = std::move(hosts);
  return {};
}

std::vector<cluster::HostEntry> ClusterService::hosts() const {
  const std::lock_guard lock(mutex_);
  return hosts_;
}

Status ClusterService::admit_from(const std::string& host, uint64_t token, std::string_view act) {
  cluster::ClusterState::Leader leader = member_->status().leader;
  if (token < fence_->highest()) return fence_->admit(token, act);
  // Whoever has a certificate could say any token, and shut the true leader out by it.
  if (leader.token != token || leader.host != host) {
    FR_TRY(leader, state_->leader());
  }
  if (leader.token != token || leader.host != host)
    return fail(ErrorCode::kDenied,
                fmt::format("{} is asked for by host {} with token {}, but {}", act, host, token,
                            leader.host.empty() ? "nobody leads"
                                                : fmt::format("{} leads with token {}", leader.host,
                                                              leader.token)));
  return fence_->admit(token, act);
}

Status ClusterService::answers() const {
  if (auto error = member_->status().error) return std::unexpected(std::move(*error));
  return {};
}

api::ClusterInfo ClusterService::info() const {
  const cluster::MemberStatus status = member_->status();
  api::ClusterInfo info;
  info.name = config_.cluster_name;
  info.store = config_.cluster_store;
  info.host = record_.name;
  info.zone = record_.zone;
  info.is_registered = status.is_registered;
  info.is_leader = status.leadership.is_leader;
  info.lease_seconds = config_.cluster_lease_s;
  info.lease_left_seconds = std::max(0.0, to_seconds(status.lease_left));
  info.leader = status.leader.host;
  info.leader_token = status.leader.token;
  info.fence_token = fence_->highest();
  for (const cluster::HostEntry& entry : hosts()) {
    ++info.hosts;
    info.hosts_alive += entry.is_alive;
  }
  if (status.error) info.error = status.error->message;
  return info;
}

std::vector<api::PeerInfo> ClusterService::with_cluster(std::vector<api::PeerInfo> peers) const {
  const std::string leader = member_->status().leader.host;
  for (const cluster::HostEntry& entry : hosts()) {
    const cluster::HostRecord& host = entry.host;
    auto found = std::ranges::find(peers, host.name, &api::PeerInfo::name);
    if (found == peers.end()) {
      const bool is_self = host.name == record_.name;
      peers.push_back({host.name, host.address, is_self,
                       is_self ? "" : "it has no address where VMs could go ([migration] listen)"});
      found = std::prev(peers.end());
    }
    api::ClusterHost& shown = found->cluster.emplace();
    shown.is_alive = entry.is_alive;
    shown.is_self = host.name == record_.name;
    shown.is_leader = host.name == leader;
    shown.zone = host.zone;
    shown.version = host.version;
    shown.cpus = host.cpus;
    shown.memory_bytes = host.memory_bytes;
    for (const auto& [name, value] : host.labels) shown.labels.push_back(name + "=" + value);
  }
  std::ranges::sort(peers, {}, &api::PeerInfo::name);
  return peers;
}

Status ClusterService::forget_host(const std::string& name) {
  FR_CHECK(state_->forget_host(name));
  return read_hosts();
}

}  // namespace forerun::daemon
