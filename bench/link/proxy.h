// A slow link in user space: a TCP proxy whose connections share one bottleneck per direction.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "command.h"
#include "core/result.h"
#include "core/time.h"
#include "lane.h"
#include "os/clock.h"
#include "os/file.h"

namespace forerun::link {

struct ProxyOptions {
  std::string listen_address = "127.0.0.1";
  uint16_t listen_port = 0;  // 0: any free one
  std::string to_address = "127.0.0.1";
  uint16_t to_port = 0;
  LinkSettings link;
  std::string control_path;  // empty: no control socket
};

// One thread: everything happens in run().
//
// A connection's data is read only while the lane's queue has room (Lane::kQueueBytesMax) and the
// connection has less than its window under way, so a bulk transfer cannot pile up seconds of queue
// in front of others; connections with data take turns of Lane::quantum(), as TCP flows of equal
// round trip share a router's queue. A new connection carries its first byte one round trip after
// it was accepted. A cut stops the link's clock: nothing is read or delivered, nothing is lost, and
// on healing everything goes on where it stood.
// Not modelled: TCP's slow start and loss, headers (the rate is that of the payload).
class Proxy {
 public:
  static constexpr size_t kConnectionsMax = 4096;
  static constexpr size_t kControlConnectionsMax = 16;
  static constexpr uint64_t kWindowBytesMin = 256 * kKiB;

  // Listens; SIGTERM, SIGINT, SIGUSR1 (cut) and SIGUSR2 (heal) are taken over from here on.
  static Result<std::unique_ptr<Proxy>> create(const ProxyOptions& options);
  uint16_t port() const { return port_; }
  // Serves until SIGTERM or SIGINT.
  Status run();

 private:
  // Sides of a connection, and the lanes that lead away from them.
  enum Side : size_t { kClient = 0, kServer = 1 };

  struct Socket {
    os::Fd fd;
    bool readable = false;     // until a read finds nothing
    bool waits_turn = false;   // is in its lane's ready list
    bool read_ended = false;   // its end was seen
    bool end_arrived = false;  // the other side's end is to be passed on after `arrived`
    bool write_ended = false;
    uint64_t under_way = 0;      // bytes read from here and not yet written at the other side
    std::deque<Buffer> arrived;  // from the link, not yet accepted by this socket
    size_t arrived_skip = 0;     // bytes of arrived.front() already written
  };
  struct Connection {
    Time opens_at;
    std::array<Socket, 2> sockets;
  };
  struct Control {
    os::Fd fd;
    std::string input;
  };

  explicit Proxy(const ProxyOptions& options)
      : options_(options), lanes_{Lane(options.link), Lane(options.link)} {}

  Status listen();
  Status watch(int fd, uint64_t tag, uint32_t events);
  Time link_now() const;
  uint64_t window_bytes() const;
  Nanos wait_span() const;
  void dispatch(uint64_t tag, uint32_t events);
  void accept_clients();
  Result<os::Fd> connect_server() const;
  void open_connections(Time now);
  void advance();
  void admit(Side from, Time now);
  void read_turn(uint64_t id, Side from, Time now);
  void deliver(Side from, Time now);
  void flush(uint64_t id, Side to);
  void take_turn(uint64_t id, Side from);
  void abort(uint64_t id);
  void on_signal();
  void accept_control();
  void on_control(uint64_t id);
  std::string execute(const Command& command);
  void cut();
  void heal();
  std::string stats() const;

  const ProxyOptions options_;
  os::SystemClock clock_;
  os::Fd listener_, control_listener_, signals_, epoll_;
  uint16_t port_ = 0;
  bool stops_ = false;
  bool is_cut_ = false;
  Time cut_since_ = kTimeZero;
  Nanos cut_total_{};
  std::array<Lane, 2> lanes_;
  std::array<std::deque<uint64_t>, 2> ready_;  // connections with data, in order of their turns
  std::array<uint64_t, 2> bytes_{};
  uint64_t next_id_ = 1;
  uint64_t accepted_ = 0;
  std::unordered_map<uint64_t, Connection> connections_;
  std::deque<uint64_t> opening_;
  std::map<uint64_t, Control> controls_;
};

}  // namespace forerun::link
