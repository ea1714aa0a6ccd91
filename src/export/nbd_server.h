// The NBD server: listeners, a thread per connection, and the limits that keep idle and hostile
// clients from harming others. SOURCE: NetworkBlockDevice/nbd, doc/proto.md; what is offered:
// docs/nbd.md.
#pragma once

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "core/result.h"
#include "core/time.h"
#include "export/export_provider.h"
#include "export/nbd_handshake.h"
#include "export/nbd_transmission.h"
#include "export/worker_pool.h"
#include "os/socket.h"

namespace forerun::nbd {

struct NbdServerOptions {
  Nanos handshake_time_max = 10s;  // from accept to the open export, TLS included
  // Connections that have not opened an export; beyond that the oldest one is dropped for a new
  // one. An honest client is done in milliseconds, so it is never the oldest for long.
  size_t handshakes_max = 1024;
  size_t connections_per_export_max = 64;
  HandshakeOptions handshake;  // its tls is set by the listener
  TransmissionOptions transmission;
  WorkerPoolOptions workers;
};

struct ListenerOptions {
  ExportProvider* exports = nullptr;  // outlives the server
  TlsUpgrader* tls = nullptr;         // outlives the server; null: plain connections only
};

// Thread-safe.
class NbdServer {
 public:
  // REQUIRES: `clock` outlives the server.
  NbdServer(NbdServerOptions options, const Clock& clock);
  ~NbdServer();  // stop()

  Status listen_unix(const std::string& path, unsigned mode, ListenerOptions listener);
  // Returns the port, which the system picks if `port` is 0.
  Result<uint16_t> listen_tcp(const std::string& address, uint16_t port, ListenerOptions listener);
  // Ends the listener of this socket path; its connections go on. Returns whether there was one.
  bool close_unix(const std::string& path);

  // Ends the connections that use the export `name` of `exports`, and returns when the last one has
  // ended and nothing calls the device any more. Remove the export from its provider first, or
  // clients come back.
  void end_export(const ExportProvider& exports, std::string_view name);
  // Cuts all listeners and connections, and returns at once: from now on nothing is answered any
  // more. For an owner that has to end what requests wait for before stop() can return.
  void shut_down_connections();
  // Ends all listeners and connections, and returns when they have ended. Requests in progress are
  // not answered: a client that reconnects sends them again, whereas an error would reach the
  // guest.
  void stop();

  struct Counts {
    size_t handshakes = 0;
    size_t connections = 0;  // with an open export
  };
  Counts counts() const;

 private:
  class Connection;
  struct Listener;

  void add_listener(os::Fd fd, std::string path, ListenerOptions options);
  void accept_from(Listener& listener);
  void admit(os::Fd fd, const ListenerOptions& options);
  void run(Connection& connection);
  void retire(Connection& connection);
  // Counts the connection among the users of an export; returns whether there was room.
  bool enter(Connection& connection, std::string_view name);
  void leave(Connection& connection);
  void leave_handshake(Connection& connection);

  const NbdServerOptions options_;
  const Clock& clock_;
  WorkerPool pool_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<std::unique_ptr<Listener>> listeners_;
  std::list<std::unique_ptr<Connection>> connections_;  // oldest first
  size_t handshakes_ = 0;
  std::thread retired_;  // the thread that ended last, for the next one to join
  bool stopping_ = false;
};

}  // namespace forerun::nbd
