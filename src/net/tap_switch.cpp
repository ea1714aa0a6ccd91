#include "net/tap_switch.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "core/log.h"
#include "net/switch_control.h"
#include "os/clock.h"
#include "os/socket.h"
#include "os/tap.h"

namespace forerun::net {
namespace {

constexpr size_t kFramesPerTurn = 64;  // read from a port before all are written to
constexpr size_t kClientsMax = 8;
constexpr unsigned long kTimerSlackNs = 1000;

class TapSwitch {
 public:
  TapSwitch(std::vector<os::Fd> taps, os::Fd listener, const lab::LinkSettings& link)
      : taps_(std::move(taps)),
        listener_(std::move(listener)),
        network_(taps_.size(), link),
        lost_(taps_.size(), 0),
        scratch_(kSwitchRequestBytesMax + lab::kFrameBytesMax) {}

  Status run() {
    for (;;) {
      FR_CHECK(wait());
      for (size_t port = 0; port < taps_.size(); ++port) read_frames(port);
      network_.deliver(clock_.now(), [this](size_t port, ByteView frame) { write(port, frame); });
      for (os::Fd& client : clients_) serve(client);
      std::erase_if(clients_, [](const os::Fd& client) { return !client.is_open(); });
      accept_client();
    }
  }

 private:
  // Until a frame or a client comes, or a frame is due.
  Status wait() {
    waits_.clear();
    for (const os::Fd& tap : taps_) waits_.push_back({tap.get(), POLLIN, 0});
    waits_.push_back({clients_.size() < kClientsMax ? listener_.get() : -1, POLLIN, 0});
    for (const os::Fd& client : clients_) waits_.push_back({client.get(), POLLIN, 0});
    timespec timeout{};
    const Time next = network_.next();
    if (next != kTimeNever) {
      const Nanos left = std::max(next - clock_.now(), Nanos{});
      timeout.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count();
      timeout.tv_nsec = (left % std::chrono::seconds(1)).count();
    }
    if (::ppoll(waits_.data(), waits_.size(), next == kTimeNever ? nullptr : &timeout, nullptr) <
            0 &&
        errno != EINTR)
      return fail_errno("wait for frames", errno);
    for (size_t port = 0; port < taps_.size(); ++port) {
      if ((waits_[port].revents & (POLLERR | POLLHUP | POLLNVAL)) == 0) continue;
      log::warn("port {}: its device is gone", port);
      taps_[port].reset();
    }
    return {};
  }

  void read_frames(size_t port) {
    if (!taps_[port].is_open() || (waits_[port].revents & POLLIN) == 0) return;
    for (size_t i = 0; i < kFramesPerTurn; ++i) {
      const ssize_t got = ::read(taps_[port].get(), scratch_.data(), lab::kFrameBytesMax);
      if (got <= 0) return;  // none left, or the device went: poll will say so
      network_.receive(port, ByteView(scratch_).first(static_cast<size_t>(got)), clock_.now());
    }
  }

  void write(size_t port, ByteView frame) {
    if (!taps_[port].is_open() || ::write(taps_[port].get(), frame.data(), frame.size()) < 0)
      ++lost_[port];
  }

  void accept_client() {
    if ((waits_[taps_.size()].revents & POLLIN) == 0) return;
    os::Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client.is_open()) clients_.push_back(std::move(client));
  }

  // A client that sent nothing yet stays; one that was answered, or is gone, is let go.
  void serve(os::Fd& client) {
    const ssize_t got = ::recv(client.get(), scratch_.data(), kSwitchRequestBytesMax, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got > 0) {
      const std::string answer =
          answer_to(as_text(ByteView(scratch_).first(static_cast<size_t>(got))));
      if (::send(client.get(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log::warn("an answer was not taken: {}", std::strerror(errno));
    }
    client.reset();
  }

  std::string answer_to(std::string_view request) {
    const Status changed = change(request);
    return changed ? encode_state(state()) : encode_refusal(changed.error());
  }

  Status change(std::string_view request) {
    FR_TRY(const auto changes, decode_changes(request));
    std::vector<lab::LinkSettings> settings;
    for (const LinkChange& change : changes) {
      if (change.from >= taps_.size() || change.to >= taps_.size() || change.from == change.to)
        return fail(ErrorCode::kInvalid,
                    fmt::format("there is no link from {} to {}", change.from, change.to));
      lab::LinkSettings changed = network_.link(change.from, change.to).settings();
      changed.delay = change.delay.value_or(changed.delay);
      changed.rate_bytes_per_s = change.rate_bytes_per_s.value_or(changed.rate_bytes_per_s);
      changed.queue_bytes_max = change.queue_bytes_max.value_or(changed.queue_bytes_max);
      changed.is_up = change.is_up.value_or(changed.is_up);
      FR_CHECK(check_link(changed));
      settings.push_back(changed);
    }
    const Time now = clock_.now();
    for (size_t i = 0; i < changes.size(); ++i)
      network_.set_link(changes[i].from, changes[i].to, settings[i], now);
    return {};
  }

  SwitchState state() const {
    SwitchState state{{}, lost_};
    for (size_t from = 0; from < taps_.size(); ++from)
      for (size_t to = 0; to < taps_.size(); ++to) {
        if (from == to) continue;
        const lab::Link& link = network_.link(from, to);
        state.links.push_back({from, to, link.settings(), link.counters()});
      }
    return state;
  }

  os::SystemClock clock_;
  std::vector<os::Fd> taps_;
  os::Fd listener_;
  std::vector<os::Fd> clients_;
  lab::Switch network_;
  std::vector<uint64_t> lost_;
  std::vector<pollfd> waits_;  // taps, the listener, clients
  Buffer scratch_;
};

}  // namespace

Status run_tap_switch(const TapSwitchOptions& options) {
  if (options.name_spaces.size() < 2 || options.name_spaces.size() > lab::kPortsMax)
    return fail(ErrorCode::kInvalid, fmt::format("a switch has 2 to {} ports", lab::kPortsMax));
  FR_CHECK(check_link(options.link));
  ::prctl(PR_SET_TIMERSLACK, kTimerSlackNs);  // else frames are up to 50 µs late
  std::vector<os::Fd> taps;
  for (const std::string& name : options.name_spaces) {
    FR_TRY(taps.emplace_back(), os::open_tap(os::namespace_path(name), options.device));
  }
  FR_TRY(os::Fd listener,
         os::listen_unix(options.control_socket, 0600, kClientsMax, os::UnixKind::kPackets));
  return TapSwitch(std::move(taps), std::move(listener), options.link).run();
}

}  // namespace forerun::net
