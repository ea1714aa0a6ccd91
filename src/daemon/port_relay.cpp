#include "daemon/port_relay.h"

#include <sys/socket.h>

#include "core/log.h"
#include "daemon/migration_messages.h"

namespace forerun::daemon {
namespace {

using net::PeerChannel;

constexpr Nanos kConnectTimeout = std::chrono::seconds(5);
constexpr Nanos kAnswerTimeout = std::chrono::seconds(15);
constexpr Nanos kAcceptTimeout = std::chrono::seconds(1);
constexpr size_t kChunkBytes = 16 * kKiB;

void carry_back(net::PeerConnection& from, PeerChannel channel, os::SocketStream& to) {
  Buffer chunk(kChunkBytes);
  for (;;) {
    const auto got = from.read_some(channel, chunk);
    if (got && *got == 0) {
      ::shutdown(to.fd(), SHUT_WR);
      return;
    }
    if (!got || !to.write_bytes(ByteView(chunk).first(*got))) return to.shut_down();
  }
}

// Both ways, until both have ended.
void carry(os::SocketStream& local, net::PeerConnection& peer, PeerChannel there,
           PeerChannel back) {
  const std::jthread returning([&] { carry_back(peer, back, local); });
  Buffer chunk(kChunkBytes);
  for (;;) {
    const auto got = local.read_some(chunk);
    if (!got || *got == 0) break;
    if (!peer.write(there, ByteView(chunk).first(*got))) break;
  }
  peer.end(there);
}

}  // namespace

Status relay_here(net::PeerConnection& connection, const vmm::Forward& forward) {
  FR_TRY(os::Fd fd, os::connect_tcp(forward.host_address, forward.host_port, kConnectTimeout));
  os::SocketStream local(std::move(fd));
  PeerMessage answer;
  answer.kind = PeerMessageKind::kRelayed;
  FR_CHECK(send(connection, answer));
  carry(local, connection, PeerChannel::kReturn, PeerChannel::kForward);
  return {};
}

// One port. Its connections have a thread each, and end with it.
class PortRelays::Relay {
 public:
  Relay(Peers& peers, std::string vm, std::string host, uint16_t port, os::Fd listener)
      : peers_(peers),
        vm_(std::move(vm)),
        host_(std::move(host)),
        port_(port),
        listener_(std::move(listener)),
        acceptor_([this] { accept_all(); }) {}
  ~Relay() {
    {
      const std::lock_guard lock(mutex_);
      is_closing_ = true;
      ::shutdown(listener_.get(), SHUT_RDWR);
      for (Carried& each : carried_) {
        each.local.shut_down();
        if (each.peer) each.peer->cut({ErrorCode::kUnavailable, "the port is relayed no more"});
      }
    }
    acceptor_.join();
    carried_.clear();  // each waits for its thread
  }

 private:
  struct Carried {
    explicit Carried(os::Fd fd) : local(std::move(fd)) {}
    os::SocketStream local;
    Peers::Connection peer;  // once there is one
    bool is_over = false;
    std::jthread thread;
  };

  void accept_all() {
    for (Nanos idle{}; idle < kIdleMax;) {
      auto fd = os::accept_connection(listener_.get(), kAcceptTimeout);
      const std::lock_guard lock(mutex_);
      carried_.remove_if([](const Carried& each) { return each.is_over; });
      if (is_closing_) return;
      if (!fd && fd.error().code != ErrorCode::kTimedOut) return;
      idle = fd || !carried_.empty() ? Nanos{} : idle + kAcceptTimeout;
      if (!fd || carried_.size() >= kCarriedMax) continue;
      Carried& added = carried_.emplace_back(std::move(*fd));
      added.thread = std::jthread([this, &added] { serve(added); });
    }
    log::info("VM {}: nobody has come to port {} for long: it is relayed no more", vm_, port_);
    const std::lock_guard lock(mutex_);
    listener_.reset();
  }

  void serve(Carried& carried) {
    if (const Status served = hand_on(carried); !served)
      log::warn("VM {}, which is host {}'s: a connection to port {} cannot be handed on: {}", vm_,
                host_, port_, served.error().message);
    carried.local.shut_down();
    const std::lock_guard lock(mutex_);
    carried.peer.reset();
    carried.is_over = true;
  }

  Status hand_on(Carried& carried) {
    FR_TRY(const Peers::Connection peer, peers_.connect(host_));
    {
      const std::lock_guard lock(mutex_);
      if (is_closing_) return {};
      carried.peer = peer;
    }
    PeerMessage asked;
    asked.kind = PeerMessageKind::kRelay;
    asked.vm = vm_;
    asked.port = port_;
    FR_CHECK(send(*peer, asked));
    FR_CHECK(receive(*peer, {PeerMessageKind::kRelayed}, kAnswerTimeout));
    carry(carried.local, *peer, PeerChannel::kForward, PeerChannel::kReturn);
    return {};
  }

  Peers& peers_;
  const std::string vm_, host_;
  const uint16_t port_;
  std::mutex mutex_;  // guards all below
  os::Fd listener_;
  bool is_closing_ = false;
  std::list<Carried> carried_;
  std::jthread acceptor_;
};

PortRelays::PortRelays(Peers& peers) : peers_(peers) {}

PortRelays::~PortRelays() { stop(); }

void PortRelays::open(const std::string& vm, const std::string& host,
                      const std::vector<vmm::Forward>& forwards) {
  const std::lock_guard lock(mutex_);
  if (is_stopping_ || relays_.contains(vm)) return;
  for (const vmm::Forward& forward : forwards) {
    auto listener = os::listen_tcp(forward.host_address, forward.host_port);
    if (!listener) {
      log::warn("VM {}: its port does not follow it: {}", vm, listener.error().message);
      continue;
    }
    relays_[vm].emplace_back(peers_, vm, host, forward.host_port, std::move(*listener));
    log::info("VM {}: connections to {}:{} go to host {}", vm, forward.host_address,
              forward.host_port, host);
  }
}

void PortRelays::close(const std::string& vm) {
  std::list<Relay> ending;
  const std::lock_guard lock(mutex_);
  if (const auto found = relays_.find(vm); found != relays_.end()) {
    ending.swap(found->second);
    relays_.erase(found);
  }
  ending.clear();
}

void PortRelays::stop() {
  std::map<std::string, std::list<Relay>> ending;
  const std::lock_guard lock(mutex_);
  is_stopping_ = true;
  ending.swap(relays_);
  ending.clear();
}

}  // namespace forerun::daemon
