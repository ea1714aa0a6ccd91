#include "daemon/agent_ports.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>

namespace forerun::daemon {

AgentPorts::AgentPorts(const Clock& clock, OnBehaviour on_behaviour)
    : clock_(clock), on_behaviour_(std::move(on_behaviour)), thread_([this] { run(); }) {}

AgentPorts::~AgentPorts() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void AgentPorts::open(const std::string& name, VmId vm, const std::string& socket_path,
                      const telemetry::Control& asked) {
  if (socket_path.empty()) return;
  const std::lock_guard lock(mutex_);
  Port& port = ports_[name];
  port = Port();
  port.vm = vm;
  port.path = socket_path;
  port.asked = asked;
  port.is_open = true;
}

void AgentPorts::ask(const std::string& name, const telemetry::Control& asked) {
  const std::lock_guard lock(mutex_);
  Port& port = ports_[name];
  port.asked = asked;
  port.is_to_tell = !asked.is_empty();
}

void AgentPorts::close(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = ports_.find(name);
  if (found == ports_.end()) return;
  found->second.fd.reset();
  found->second.is_open = false;
}

void AgentPorts::forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  ports_.erase(name);
}

void AgentPorts::connect(Port& port, Time now) const {
  port.connect_at = now + kConnectInterval;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (port.path.size() >= sizeof address.sun_path) return;
  std::copy(port.path.begin(), port.path.end(), address.sun_path);
  // A QEMU that hangs accepts nobody: then this fails at once and is tried again.
  os::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_open()) return;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
  port.fd = std::move(fd);
  port.splitter.reset();
  port.sending.clear();
  port.is_to_tell = !port.asked.is_empty();
}

void AgentPorts::read(Port& port, Time now) const {
  std::array<char, 8192> bytes;
  for (size_t taken = 0; taken < kBytesMax;) {
    const ssize_t got = ::recv(port.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) {
      port.fd.reset();
      break;
    }
    taken += static_cast<size_t>(got);
    port.splitter.feed({bytes.data(), static_cast<size_t>(got)},
                       [&](std::string_view line) { port.window.take_line(line, now); });
  }
  port.window.note_too_long(port.splitter.too_long() - port.too_long);
  port.too_long = port.splitter.too_long();
}

// What does not go at once goes in a later round: at most one line waits.
void AgentPorts::tell(Port& port) const {
  if (port.window.instances() != port.told) {
    port.told = port.window.instances();
    port.is_to_tell = !port.asked.is_empty();
  }
  if (port.sending.empty() && port.is_to_tell) {
    port.is_to_tell = false;
    port.sending = telemetry::write_control(port.asked) + "\n";
  }
  while (!port.sending.empty()) {
    const ssize_t sent = ::send(port.fd.get(), port.sending.data(), port.sending.size(),
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;  // full: later; gone: reading finds out
    port.sending.erase(0, static_cast<size_t>(sent));
  }
}

void AgentPorts::read_all(std::vector<std::pair<VmId, telemetry::BehaviourVector>>& settled) {
  const Time now = clock_.now();
  for (auto& [name, port] : ports_) {
    if (!port.is_open) continue;
    if (!port.fd.is_open() && now >= port.connect_at) connect(port, now);
    const uint64_t taken = port.window.taken();
    if (port.fd.is_open()) read(port, now);
    if (port.window.taken() != taken) settled.emplace_back(port.vm, port.window.settled());
    if (port.fd.is_open()) tell(port);
  }
}

void AgentPorts::run() {
  std::vector<std::pair<VmId, telemetry::BehaviourVector>> settled;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kRound, [&] { return is_stopping_; })) {
    settled.clear();
    read_all(settled);
    if (settled.empty() || !on_behaviour_) continue;
    lock.unlock();
    for (const auto& [vm, vector] : settled) on_behaviour_(vm, vector);
    lock.lock();
  }
}

Result<api::VmProfile> AgentPorts::profile(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = ports_.find(name);
  if (found == ports_.end())
    return fail(
        ErrorCode::kNotFound,
        fmt::format("no VM {} with an agent's port has run since the daemon started", name));
  const Port& port = found->second;
  api::VmProfile profile;
  profile.name = name;
  profile.asked = port.asked;
  profile.is_connected = port.fd.is_open();
  profile.taken = port.window.taken();
  profile.lost = port.window.lost();
  profile.instances = port.window.instances();
  for (size_t i = 0; i < telemetry::kRefusalCount; ++i) {
    const auto why = static_cast<telemetry::Refusal>(i);
    if (port.window.refused(why) != 0)
      profile.refused.push_back(
          {std::string(telemetry::refusal_name(why)), port.window.refused(why)});
  }
  profile.last_refusal = port.window.last_refusal();
  profile.window_seconds = to_seconds(port.window.span());
  profile.window_profiles = port.window.size();
  for (size_t i = 0; i < telemetry::kBehaviourCount; ++i) {
    const auto which = static_cast<telemetry::Behaviour>(i);
    const telemetry::ValueSummary value = port.window.summary(which);
    if (value.count != 0)
      profile.window.push_back({std::string(telemetry::behaviour_name(which)), value.last,
                                value.mean, value.min, value.max, value.count});
  }
  if (const auto& newest = port.window.newest()) {
    profile.age_seconds = to_seconds(clock_.now() - port.window.newest_at());
    profile.profile_json = telemetry::write_profile(*newest);
  }
  return profile;
}

}  // namespace forerun::daemon
