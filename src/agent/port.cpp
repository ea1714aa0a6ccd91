#include "agent/port.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "agent/counters.h"
#include "os/clock.h"

namespace forerun::agent {
namespace {

void sleep_for(Nanos time) {
  if (time <= Nanos{}) return;
  timespec left{static_cast<time_t>(time.count() / 1'000'000'000),
                static_cast<long>(time.count() % 1'000'000'000)};
  while (::nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

}  // namespace

std::string find_port(const std::string& root, std::string_view name) {
  const std::string link = fmt::format("{}/dev/virtio-ports/{}", root, name);
  if (os::path_exists(link)) return link;
  const std::string folder = root + "/sys/class/virtio-ports";
  if (const auto ports = os::list_folder(folder)) {
    for (const std::string& port : *ports) {
      auto text = read_text(fmt::format("{}/{}/name", folder, port), 256);
      while (text && text->ends_with('\n')) text->pop_back();
      if (text && *text == name) return root + "/dev/" + port;
    }
  }
  return link;
}

Port::Port(std::string path, std::string root) : path_(std::move(path)), root_(std::move(root)) {}
Port::~Port() = default;

bool Port::open() {
  if (path_.empty() || fd_.is_open()) return true;
  const std::string path = path_ == kName ? find_port(root_, kName) : path_;
  fd_ = os::Fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  return fd_.is_open();
}

bool Port::send(std::string_view line) {
  if (!open()) return false;
  std::string text;
  text.reserve(line.size() + 2);
  if (needs_break_) text += '\n';
  text.append(line).append("\n");
  std::string_view left = text;
  while (!left.empty()) {
    const ssize_t written = ::write(out(), left.data(), left.size());
    if (written > 0) {
      left.remove_prefix(static_cast<size_t>(written));
      continue;
    }
    if (written < 0 && errno == EINTR) continue;
    needs_break_ = needs_break_ || left.size() < text.size();
    if (path_.empty()) {
      is_over_ = true;
    } else if (written == 0 || errno != EAGAIN) {
      fd_.reset();  // the device went: opened again next time
    }
    return false;
  }
  needs_break_ = false;
  return true;
}

std::string Port::wait(Nanos time) {
  if (is_deaf_ || in() < 0 || time <= Nanos{}) {
    sleep_for(time);
    return {};
  }
  const os::SystemClock clock;
  const Time deadline = clock.now() + time;
  pollfd state{in(), POLLIN, 0};
  const int ready = ::poll(&state, 1, static_cast<int>(time / 1ms));
  if (ready <= 0) return {};
  char bytes[1024];
  const ssize_t got = (state.revents & POLLIN) != 0 ? ::read(in(), bytes, sizeof bytes) : 0;
  if (got > 0) return std::string(bytes, static_cast<size_t>(got));
  // Nobody at the other end: the port says so at once, again and again.
  if (path_.empty()) is_deaf_ = true;
  sleep_for(deadline - clock.now());
  return {};
}

}  // namespace forerun::agent
