#include "export/nbd_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/log.h"
#include "core/metrics.h"

namespace forerun::nbd {
namespace {

constexpr size_t kHandshakeReadBytes = 4 * kKiB;

metrics::Gauge& connections_open() {
  static metrics::Gauge& gauge =
      metrics::gauge("forerun_nbd_connections", "NBD connections with an open export.");
  return gauge;
}

metrics::Counter& handshakes_total(std::string_view outcome) {
  return metrics::counter("forerun_nbd_handshakes_total", "NBD handshakes by outcome.",
                          fmt::format("outcome=\"{}\"", outcome));
}

// Clients that have not opened anything yet never hold more than half of the process's file
// descriptors.
NbdServerOptions within_limits(NbdServerOptions options) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
    options.handshakes_max = std::clamp<size_t>(files.rlim_cur / 2, 1, options.handshakes_max);
  return options;
}

// A peer that is gone without a word gives its place back after a minute or so.
void notice_dead_peers(int fd) {
  const int on = 1;
  const int idle_s = 30;
  const int interval_s = 10;
  const int probes = 3;
  const unsigned unacknowledged_ms = 60'000;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
}

}  // namespace

struct NbdServer::Listener {
  Listener(os::Fd fd, std::string unix_path, ListenerOptions with)
      : socket(std::move(fd)), path(std::move(unix_path)), options(with) {}
  os::SocketStream socket;
  const std::string path;  // empty: TCP
  const ListenerOptions options;
  std::thread thread;
};

// One client. `socket` lives as long as this, so that any thread may shut it down; a TLS stream
// stands on top of it.
class NbdServer::Connection final : public HandshakeExports {
 public:
  Connection(NbdServer& server, os::Fd fd, const ListenerOptions& listener)
      : socket(std::move(fd)), listener_(listener), server_(server) {}

  // Does the handshake, then serves; on this connection's thread.
  void serve();
  // Gives back the export and tells the client.
  void close() {
    socket.shut_down();
    tls_.reset();
    export_ = {};
  }

  std::optional<ExportInfo> describe(std::string_view name) override {
    return info_of(listener_.exports->find(name));
  }
  std::expected<ExportInfo, OpenRefusal> open(std::string_view name) override;
  std::vector<ExportEntry> list(const std::string* after, size_t count_max) override {
    return listener_.exports->list(after, count_max);
  }

  os::SocketStream socket;
  std::thread thread;

  // Guarded by the server's mutex.
  bool in_handshake = true;
  std::optional<std::string> export_name;

  bool uses(const ExportProvider& exports, std::string_view name) const {
    return listener_.exports == &exports && export_name && *export_name == name;
  }
  bool uses_export_of(const Connection& other) const {
    return other.export_name && uses(*other.listener_.exports, *other.export_name);
  }

 private:
  static std::optional<ExportInfo> info_of(const Export& found);
  Status shake_hands(Buffer& early);
  Status send(ByteView data);
  Status set_deadline();
  Status start_tls();

  const ListenerOptions listener_;
  NbdServer& server_;
  Time deadline_ = kTimeNever;
  std::unique_ptr<os::ByteStream> tls_;
  os::ByteStream* stream_ = &socket;
  Export export_;
  Negotiated negotiated_;
};

std::optional<ExportInfo> NbdServer::Connection::info_of(const Export& found) {
  if (found.device == nullptr) return std::nullopt;
  return ExportInfo{.description = found.description,
                    .size_bytes = found.device->size_bytes(),
                    .read_only = found.device->is_read_only(),
                    .multi_conn = found.multi_conn};
}

std::expected<ExportInfo, OpenRefusal> NbdServer::Connection::open(std::string_view name) {
  // Entered before it is looked up, so that end_export() after a removal cannot miss it.
  if (!server_.enter(*this, name)) return std::unexpected(OpenRefusal::kTooManyConnections);
  export_ = listener_.exports->find(name);
  std::optional<ExportInfo> info = info_of(export_);
  if (!info) {
    server_.leave(*this);
    return std::unexpected(OpenRefusal::kUnknown);
  }
  return *std::move(info);
}

Status NbdServer::Connection::set_deadline() {
  const Nanos left = deadline_ - server_.clock_.now();
  if (left <= Nanos::zero()) return fail(ErrorCode::kTimedOut, "the handshake took too long");
  return stream_->set_timeout(std::max<Nanos>(left, 1ms));  // zero would mean forever
}

Status NbdServer::Connection::send(ByteView data) {
  if (data.empty()) return {};
  FR_CHECK(set_deadline());
  return stream_->write_bytes(data);
}

Status NbdServer::Connection::start_tls() {
  const Nanos left = deadline_ - server_.clock_.now();
  if (left <= Nanos::zero()) return fail(ErrorCode::kTimedOut, "the handshake took too long");
  FR_TRY(tls_, listener_.tls->upgrade(socket, left));
  stream_ = tls_.get();
  return {};
}

// `early` receives what the client sent behind the handshake.
Status NbdServer::Connection::shake_hands(Buffer& early) {
  HandshakeOptions options = server_.options_.handshake;
  if (listener_.tls != nullptr)
    options.tls = listener_.tls->required() ? TlsPolicy::kRequired : TlsPolicy::kOffered;
  NbdHandshake handshake(options, *this);
  Buffer output;
  Buffer received(kHandshakeReadBytes);
  ByteView input;
  handshake.begin(output);
  NbdHandshake::Next next = NbdHandshake::Next::kReceive;
  for (;;) {
    FR_CHECK(send(output));
    output.clear();
    if (next == NbdHandshake::Next::kClose)
      return fail(ErrorCode::kInvalid, std::string(handshake.close_reason()));
    if (next == NbdHandshake::Next::kTransmission) break;
    if (next == NbdHandshake::Next::kStartTls) {
      if (!input.empty()) return fail(ErrorCode::kInvalid, "bytes in plain text behind STARTTLS");
      FR_CHECK(start_tls());
      handshake.tls_started();
    }
    if (input.empty() && next != NbdHandshake::Next::kSend) {
      FR_CHECK(set_deadline());
      FR_TRY(const size_t got, stream_->read_some(received));
      if (got == 0) return fail(ErrorCode::kUnavailable, "the client went away");
      input = ByteView(received).first(got);
    }
    next = handshake.feed(input, output);
  }
  negotiated_ = handshake.negotiated();
  early.assign(input.begin(), input.end());
  return stream_->set_timeout(Nanos::zero());
}

void NbdServer::Connection::serve() {
  deadline_ = server_.clock_.now() + server_.options_.handshake_time_max;
  Buffer early;
  if (const Status shaken = shake_hands(early); !shaken) {
    const bool aborted = shaken.error().message.empty();
    handshakes_total(aborted ? "aborted" : "failed").add();
    if (shaken.error().code == ErrorCode::kDenied)
      log::info("NBD client refused: {}", shaken.error().message);
    else if (!aborted)
      log::debug("NBD handshake ended: {}", shaken.error().message);
    return;
  }
  handshakes_total("open").add();
  server_.leave_handshake(*this);
  connections_open().add(1);
  log::debug("NBD client opened export '{}'", negotiated_.export_name);
  Transmission transmission(server_.options_.transmission, *stream_, export_.device, negotiated_,
                            server_.pool_);
  const Status served = transmission.run(early);
  connections_open().add(-1);
  if (!served && served.error().code != ErrorCode::kUnavailable)
    log::info("NBD connection to '{}' ended: {}", negotiated_.export_name, served.error().message);
}

NbdServer::NbdServer(NbdServerOptions options, const Clock& clock)
    : options_(within_limits(options)), clock_(clock), pool_(options.workers) {}

NbdServer::~NbdServer() { stop(); }

Status NbdServer::listen_unix(const std::string& path, unsigned mode, ListenerOptions listener) {
  FR_TRY(os::Fd fd, os::listen_unix(path, mode));
  add_listener(std::move(fd), path, listener);
  return {};
}

Result<uint16_t> NbdServer::listen_tcp(const std::string& address, uint16_t port,
                                       ListenerOptions listener) {
  FR_TRY(os::Fd fd, os::listen_tcp(address, port));
  FR_TRY(const uint16_t bound, os::local_port(fd.get()));
  add_listener(std::move(fd), "", listener);
  return bound;
}

void NbdServer::add_listener(os::Fd fd, std::string path, ListenerOptions options) {
  FR_ASSERT(options.exports != nullptr, "a listener needs exports");
  const std::lock_guard lock(mutex_);
  FR_ASSERT(!stopping_, "a server that was stopped does not listen again");
  listeners_.push_back(std::make_unique<Listener>(std::move(fd), std::move(path), options));
  Listener& listener = *listeners_.back();
  listener.thread = std::thread([this, &listener] { accept_from(listener); });
}

bool NbdServer::close_unix(const std::string& path) {
  std::unique_ptr<Listener> closed;
  {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::ranges::find_if(listeners_, [&](const auto& entry) { return entry->path == path; });
    if (found == listeners_.end() || path.empty()) return false;
    closed = std::move(*found);
    listeners_.erase(found);
  }
  closed->socket.shut_down();
  closed->thread.join();
  ::unlink(path.c_str());
  return true;
}

void NbdServer::accept_from(Listener& listener) {
  for (;;) {
    Result<os::Fd> fd = os::accept_connection(listener.socket.fd(), Nanos(-1));
    if (fd) {
      admit(std::move(*fd), listener.options);
      continue;
    }
    if (fd.error().code == ErrorCode::kTimedOut) continue;
    if (fd.error().code == ErrorCode::kUnavailable) return;
    // Most likely out of file descriptors: the oldest client that does not get on makes room.
    log::warn("{}", fd.error().message);
    std::unique_lock lock(mutex_);
    const auto oldest =
        std::ranges::find_if(connections_, [](const auto& entry) { return entry->in_handshake; });
    if (oldest != connections_.end()) (*oldest)->socket.shut_down();
    changed_.wait_for(lock, 100ms);
    if (stopping_) return;
  }
}

void NbdServer::admit(os::Fd fd, const ListenerOptions& options) {
  notice_dead_peers(fd.get());
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  if (handshakes_ >= options_.handshakes_max) {
    const auto oldest =
        std::ranges::find_if(connections_, [](const auto& entry) { return entry->in_handshake; });
    (*oldest)->in_handshake = false;
    (*oldest)->socket.shut_down();
    --handshakes_;
    handshakes_total("dropped").add();
  }
  connections_.push_back(std::make_unique<Connection>(*this, std::move(fd), options));
  ++handshakes_;
  Connection& connection = *connections_.back();
  try {
    connection.thread = std::thread([this, &connection] { run(connection); });
  } catch (const std::system_error& error) {
    log::warn("cannot serve a connection: {}", error.what());
    connections_.pop_back();
    --handshakes_;
  }
}

void NbdServer::run(Connection& connection) {
  connection.serve();
  retire(connection);
}

bool NbdServer::enter(Connection& connection, std::string_view name) {
  const std::lock_guard lock(mutex_);
  connection.export_name = name;
  const auto users = std::ranges::count_if(
      connections_, [&](const auto& entry) { return entry->uses_export_of(connection); });
  if (static_cast<size_t>(users) <= options_.connections_per_export_max) return true;
  connection.export_name.reset();
  return false;
}

void NbdServer::leave(Connection& connection) {
  const std::lock_guard lock(mutex_);
  connection.export_name.reset();
  changed_.notify_all();
}

void NbdServer::leave_handshake(Connection& connection) {
  const std::lock_guard lock(mutex_);
  if (!connection.in_handshake) return;  // it was dropped in this moment, and will notice
  connection.in_handshake = false;
  --handshakes_;
}

// The last act of a connection's thread; the next one to end joins it.
void NbdServer::retire(Connection& connection) {
  connection.close();
  std::unique_ptr<Connection> ended;
  std::thread previous;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find_if(
        connections_, [&](const auto& entry) { return entry.get() == &connection; });
    if (connection.in_handshake) --handshakes_;
    ended = std::move(*found);
    connections_.erase(found);
    previous = std::exchange(retired_, std::move(ended->thread));
    changed_.notify_all();
  }
  if (previous.joinable()) previous.join();
}

void NbdServer::end_export(const ExportProvider& exports, std::string_view name) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    bool any = false;
    for (const auto& connection : connections_) {
      if (!connection->uses(exports, name)) continue;
      connection->socket.shut_down();
      any = true;
    }
    return !any;
  });
}

void NbdServer::shut_down_connections() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (const auto& listener : listeners_) listener->socket.shut_down();
  for (const auto& connection : connections_) connection->socket.shut_down();
  changed_.notify_all();
}

void NbdServer::stop() {
  std::list<std::unique_ptr<Listener>> listeners;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    listeners.swap(listeners_);
  }
  changed_.notify_all();
  for (const auto& listener : listeners) {
    listener->socket.shut_down();
    listener->thread.join();
    if (!listener->path.empty()) ::unlink(listener->path.c_str());
  }
  std::thread last;
  {
    std::unique_lock lock(mutex_);
    for (const auto& connection : connections_) connection->socket.shut_down();
    changed_.wait(lock, [this] { return connections_.empty(); });
    last = std::move(retired_);
  }
  if (last.joinable()) last.join();
}

NbdServer::Counts NbdServer::counts() const {
  const std::lock_guard lock(mutex_);
  return {.handshakes = handshakes_,
          .connections = static_cast<size_t>(std::ranges::count_if(
              connections_, [](const auto& entry) { return !entry->in_handshake; }))};
}

}  // namespace forerun::nbd
