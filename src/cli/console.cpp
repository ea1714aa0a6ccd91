#include "cli/console.h"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "cli/end_signals.h"
#include "core/bytes.h"
#include "os/socket.h"

namespace forerun::cli {
namespace {

constexpr char kEscape = 0x1D;  // Ctrl-]

// Raw mode for as long as it lives, if stdin is a terminal.
class RawTerminal {
 public:
  RawTerminal() {
    if (!::isatty(STDIN_FILENO) || ::tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    ::cfmakeraw(&raw);
    is_raw_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    if (is_raw_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  bool is_raw() const { return is_raw_; }

 private:
  termios before_{};
  bool is_raw_ = false;
};

Status write_out(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(STDOUT_FILENO, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("write to stdout", errno);
    text.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

}  // namespace

Status attach_console(const std::string& path) {
  FR_TRY(os::Fd socket, os::connect_unix(path));
  FR_TRY(const os::Fd signals, catch_end_signals());
  os::SocketStream stream(std::move(socket));
  const RawTerminal terminal;
  if (terminal.is_raw())
    fmt::print(stderr, "Attached; Ctrl-] leaves. Enter may bring a prompt.\r\n");
  std::array<pollfd, 3> waits = {
      {{stream.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}, {signals.get(), POLLIN, 0}}};
  std::array<std::byte, 4096> chunk;
  while (true) {
    if (::poll(waits.data(), waits.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return fail_errno("wait for the console", errno);
    }
    if (waits[2].revents != 0) return {};
    if (waits[0].revents != 0) {
      const auto count = stream.read_some(chunk);
      if (!count || *count == 0) return {};  // the VM ended
      FR_CHECK(write_out(as_text(ByteView(chunk).first(*count))));
    }
    if (waits[1].revents == 0) continue;
    const ssize_t count = ::read(STDIN_FILENO, chunk.data(), chunk.size());
    if (count <= 0) {
      waits[1].fd = -1;  // poll ignores it from now on
      continue;
    }
    std::string_view typed = as_text(ByteView(chunk).first(static_cast<size_t>(count)));
    const size_t escape = terminal.is_raw() ? typed.find(kEscape) : std::string_view::npos;
    FR_CHECK(stream.write_bytes(as_bytes(typed.substr(0, escape))));
    if (escape != std::string_view::npos) return {};
  }
}

}  // namespace forerun::cli
