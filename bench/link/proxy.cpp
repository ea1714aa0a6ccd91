#include "proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "os/socket.h"

namespace forerun::link {

namespace {

// What an epoll event belongs to: a kind in the low bits, an id above.
enum Tag : uint64_t { kClientTag = 0, kServerTag = 1, kControlTag = 2, kFixedTag = 3 };
enum Fixed : uint64_t { kListener, kControlListener, kSignals };
uint64_t tag_of(uint64_t id, uint64_t kind) { return id << 2 | kind; }

// Turns taken before events are looked at again.
constexpr int kTurnsMax = 256;

void set_option(int fd, int level, int name, const void* value, socklen_t size) {
  // Failure leaves the default, which is slower at worst.
  (void)::setsockopt(fd, level, name, value, size);
}

Status stop_blocking(int fd) {
  if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) return fail_errno("make a socket non-blocking", errno);
  return {};
}

void send_at_once(int fd) {
  const int one = 1;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

}  // namespace

Result<std::unique_ptr<Proxy>> Proxy::create(const ProxyOptions& options) {
  std::unique_ptr<Proxy> proxy(new Proxy(options));
  proxy->epoll_ = os::Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!proxy->epoll_.is_open()) return fail_errno("create an epoll set", errno);

  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) sigaddset(&set, number);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return fail_errno("block signals", errno);
  proxy->signals_ = os::Fd(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!proxy->signals_.is_open()) return fail_errno("create a signalfd", errno);

  FR_CHECK(proxy->watch(proxy->signals_.get(), tag_of(kSignals, kFixedTag), EPOLLIN));
  FR_CHECK(proxy->listen());
  return proxy;
}

Status Proxy::listen() {
  FR_TRY(listener_, os::listen_tcp(options_.listen_address, options_.listen_port));
  FR_TRY(port_, os::local_port(listener_.get()));
  FR_CHECK(stop_blocking(listener_.get()));
  FR_CHECK(watch(listener_.get(), tag_of(kListener, kFixedTag), EPOLLIN));
  if (options_.control_path.empty()) return {};
  FR_TRY(control_listener_, os::listen_unix(options_.control_path));
  FR_CHECK(stop_blocking(control_listener_.get()));
  return watch(control_listener_.get(), tag_of(kControlListener, kFixedTag), EPOLLIN);
}

Status Proxy::watch(int fd, uint64_t tag, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return fail_errno("watch a socket", errno);
  }
  return {};
}

Time Proxy::link_now() const {
  const Time now = is_cut_ ? cut_since_ : clock_.now();
  return now - cut_total_;
}

uint64_t Proxy::window_bytes() const {
  const LinkSettings& link = lanes_[kClient].settings();
  const double product = static_cast<double>(link.rate_bytes_per_s) * to_seconds(2 * link.delay);
  return std::max(kWindowBytesMin, static_cast<uint64_t>(2 * product));
}

Status Proxy::run() {
  std::array<epoll_event, 64> events;
  while (!stops_) {
    const Nanos span = wait_span();
    timespec timeout{};
    timeout.tv_sec = span / 1s;
    timeout.tv_nsec = (span % 1s).count();
    const int count = ::epoll_pwait2(epoll_.get(), events.data(), events.size(), &timeout, nullptr);
    if (count < 0 && errno != EINTR) return fail_errno("wait for events", errno);
    for (int i = 0; i < count; ++i) {
      dispatch(events[static_cast<size_t>(i)].data.u64, events[static_cast<size_t>(i)].events);
    }
    advance();
  }
  return {};
}

// Returns how long nothing happens unless a socket has news.
Nanos Proxy::wait_span() const {
  constexpr Nanos kForever = 60s;
  if (is_cut_) return kForever;
  const Time now = link_now();
  Time next = now + kForever;
  if (!opening_.empty()) next = std::min(next, connections_.at(opening_.front()).opens_at);
  for (const Side side : {kClient, kServer}) {
    next = std::min(next, lanes_[side].next_due());
    if (!ready_[side].empty()) next = std::min(next, lanes_[side].admits_at(now));
  }
  return std::max(next - now, Nanos{0});
}

void Proxy::dispatch(uint64_t tag, uint32_t events) {
  const uint64_t id = tag >> 2;
  const uint64_t kind = tag & 3;
  if (kind == kFixedTag) {
    if (id == kListener) accept_clients();
    if (id == kControlListener) accept_control();
    if (id == kSignals) on_signal();
    return;
  }
  if (kind == kControlTag) return on_control(id);
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const Side side = kind == kClientTag ? kClient : kServer;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    found->second.sockets[side].readable = true;
    take_turn(id, side);
  }
  if ((events & EPOLLOUT) && !is_cut_) flush(id, side);
}

void Proxy::accept_clients() {
  while (true) {
    os::Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client.is_open()) return;
    if (connections_.size() >= kConnectionsMax) continue;
    auto server = connect_server();
    if (!server) continue;
    const uint64_t id = next_id_++;
    ++accepted_;
    send_at_once(client.get());
    constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    if (!watch(client.get(), tag_of(id, kClientTag), kEvents)) continue;
    if (!watch(server->get(), tag_of(id, kServerTag), kEvents)) continue;
    Connection& connection = connections_[id];
    connection.opens_at = link_now() + 2 * lanes_[kClient].settings().delay;
    connection.sockets[kClient].fd = std::move(client);
    connection.sockets[kServer].fd = std::move(*server);
    opening_.push_back(id);
  }
}

Result<os::Fd> Proxy::connect_server() const {
  os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return fail_errno("create a socket", errno);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options_.to_port);
  if (::inet_pton(AF_INET, options_.to_address.c_str(), &address.sin_addr) != 1) {
    return fail(ErrorCode::kInvalid, options_.to_address + " is no IPv4 address");
  }
  send_at_once(fd.get());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno != EINPROGRESS) {
    return fail_errno("connect to the server", errno);
  }
  return fd;
}

void Proxy::open_connections(Time now) {
  while (!opening_.empty()) {
    const uint64_t id = opening_.front();
    if (connections_.at(id).opens_at > now) return;
    opening_.pop_front();
    take_turn(id, kClient);
    take_turn(id, kServer);
  }
}

void Proxy::advance() {
  if (is_cut_) return;
  const Time now = link_now();
  open_connections(now);
  for (const Side side : {kClient, kServer}) {
    deliver(side, now);
    admit(side, now);
  }
}

// Queues the connection for reading from one side, if there is something to read and room for it.
void Proxy::take_turn(uint64_t id, Side from) {
  Connection& connection = connections_.at(id);
  Socket& socket = connection.sockets[from];
  if (socket.waits_turn || !socket.readable || socket.read_ended) return;
  if (connection.opens_at > link_now() || socket.under_way >= window_bytes()) return;
  socket.waits_turn = true;
  ready_[from].push_back(id);
}

void Proxy::admit(Side from, Time now) {
  for (int turn = 0; turn < kTurnsMax; ++turn) {
    if (ready_[from].empty() || !lanes_[from].admits(now)) return;
    const uint64_t id = ready_[from].front();
    ready_[from].pop_front();
    if (connections_.contains(id)) read_turn(id, from, now);
  }
}

void Proxy::read_turn(uint64_t id, Side from, Time now) {
  Socket& socket = connections_.at(id).sockets[from];
  socket.waits_turn = false;
  Buffer data(lanes_[from].quantum());
  const ssize_t count = ::recv(socket.fd.get(), data.data(), data.size(), 0);
  if (count < 0) {
    socket.readable = false;
    if (errno != EAGAIN && errno != EINTR) abort(id);
    return;
  }
  if (count == 0) {
    socket.read_ended = true;
    lanes_[from].push(id, {}, true, now);
    return;
  }
  data.resize(static_cast<size_t>(count));
  socket.under_way += data.size();
  bytes_[from] += data.size();
  lanes_[from].push(id, std::move(data), false, now);
  take_turn(id, from);
}

void Proxy::deliver(Side from, Time now) {
  const Side to = from == kClient ? kServer : kClient;
  while (auto segment = lanes_[from].pop_due(now)) {
    const auto found = connections_.find(segment->connection);
    if (found == connections_.end()) continue;
    Socket& socket = found->second.sockets[to];
    if (segment->is_end) {
      socket.end_arrived = true;
    } else {
      socket.arrived.push_back(std::move(segment->data));
    }
    flush(segment->connection, to);
  }
}

// Writes what has arrived, as far as the socket takes it.
void Proxy::flush(uint64_t id, Side to) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const Side from = to == kClient ? kServer : kClient;
  Socket& socket = found->second.sockets[to];
  Socket& source = found->second.sockets[from];
  while (!socket.arrived.empty()) {
    const ByteView rest = ByteView(socket.arrived.front()).subspan(socket.arrived_skip);
    const ssize_t count = ::send(socket.fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (count < 0) {
      if (errno == EAGAIN || errno == EINTR) break;
      return abort(id);
    }
    source.under_way -= static_cast<uint64_t>(count);
    socket.arrived_skip += static_cast<size_t>(count);
    if (socket.arrived_skip == socket.arrived.front().size()) {
      socket.arrived.pop_front();
      socket.arrived_skip = 0;
    }
  }
  if (socket.arrived.empty() && socket.end_arrived && !socket.write_ended) {
    socket.write_ended = true;
    (void)::shutdown(socket.fd.get(), SHUT_WR);
  }
  if (socket.write_ended && source.write_ended) {
    connections_.erase(found);
    return;
  }
  take_turn(id, from);
}

// Both ends see a reset at once; what is under way is dropped when it arrives.
void Proxy::abort(uint64_t id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  for (const Socket& socket : found->second.sockets) {
    const linger at_once{1, 0};
    set_option(socket.fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  std::erase(opening_, id);
  connections_.erase(found);
}

void Proxy::on_signal() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGUSR1) cut();
    if (info.ssi_signo == SIGUSR2) heal();
    if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) stops_ = true;
  }
}

void Proxy::cut() {
  if (is_cut_) return;
  cut_since_ = clock_.now();
  is_cut_ = true;
}

void Proxy::heal() {
  if (!is_cut_) return;
  is_cut_ = false;
  cut_total_ += clock_.now() - cut_since_;
  // Edges that came during the cut are not repeated.
  std::vector<uint64_t> ids;
  for (const auto& [id, connection] : connections_) ids.push_back(id);
  for (const uint64_t id : ids) {
    flush(id, kClient);
    flush(id, kServer);
  }
}

void Proxy::accept_control() {
  os::Fd fd(::accept4(control_listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.is_open() || controls_.size() >= kControlConnectionsMax) return;
  const uint64_t id = next_id_++;
  if (!watch(fd.get(), tag_of(id, kControlTag), EPOLLIN)) return;
  controls_[id].fd = std::move(fd);
}

void Proxy::on_control(uint64_t id) {
  constexpr size_t kLineMax = 256;
  const auto found = controls_.find(id);
  if (found == controls_.end()) return;
  Control& control = found->second;
  std::array<char, kLineMax> buffer;
  const ssize_t count = ::recv(control.fd.get(), buffer.data(), buffer.size(), 0);
  if (count > 0) control.input.append(buffer.data(), static_cast<size_t>(count));
  if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) {
    controls_.erase(found);
    return;
  }
  size_t end = 0;
  while ((end = control.input.find('\n')) != std::string::npos) {
    const auto command = parse_command(control.input.substr(0, end));
    control.input.erase(0, end + 1);
    std::string answer = command ? execute(*command) : "error: " + command.error().message;
    answer += '\n';
    (void)::send(control.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  }
  if (control.input.size() > kLineMax) controls_.erase(found);
}

std::string Proxy::execute(const Command& command) {
  LinkSettings settings = lanes_[kClient].settings();
  switch (command.kind) {
    case Command::Kind::kCut:
      cut();
      break;
    case Command::Kind::kHeal:
      heal();
      break;
    case Command::Kind::kStats:
      return stats();
    case Command::Kind::kRate:
      settings.rate_bytes_per_s = command.rate_bytes_per_s;
      break;
    case Command::Kind::kDelay:
      settings.delay = command.delay;
      break;
    case Command::Kind::kReset:
      while (!connections_.empty()) abort(connections_.begin()->first);
      break;
  }
  for (Lane& lane : lanes_) lane.change(settings);
  return "ok";
}

std::string Proxy::stats() const {
  const LinkSettings& link = lanes_[kClient].settings();
  const Time now = link_now();
  return fmt::format(R"({{"bytes_up":{},"bytes_down":{},"connections":{},"accepted":{},"cut":{},)"
                     R"("rate_bytes_per_s":{},"delay_us":{},"queued_up":{},"queued_down":{}}})",
                     bytes_[kClient], bytes_[kServer], connections_.size(), accepted_, is_cut_,
                     link.rate_bytes_per_s, link.delay / 1us, lanes_[kClient].queued_bytes(now),
                     lanes_[kServer].queued_bytes(now));
}

}  // namespace forerun::link
