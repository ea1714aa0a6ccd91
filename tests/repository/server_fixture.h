// A server on loopback that says what a test wants it to say.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "os/socket.h"

namespace forerun::testing_support {

// Answers each connection by `script` on a thread of its own, one connection after the other.
class ScriptedServer {
 public:
  using Script = std::function<void(os::SocketStream&)>;

  explicit ScriptedServer(Script script) : script_(std::move(script)) {
    auto listener = os::listen_tcp("127.0.0.1", 0);
    EXPECT_TRUE(listener);
    listener_ = std::move(*listener);
    port_ = *os::local_port(listener_.get());
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedServer() {
    stopping_ = true;
    if (os::connect_tcp("127.0.0.1", port_, 1s))
      thread_.join();
    else
      thread_.detach();
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  int served() const { return served_; }
  // The beginning of each request, up to 4 KiB.
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    while (true) {
      auto connection = os::accept_connection(listener_.get(), 60s);
      if (stopping_ || !connection) return;
      ++served_;
      os::SocketStream stream(std::move(*connection));
      (void)stream.set_timeout(5s);
      std::byte request[4096];
      const auto size = stream.read_some(request);
      if (!size) continue;
      {
        const std::lock_guard lock(mutex_);
        requests_.emplace_back(as_text(ByteView(request).first(*size)));
      }
      script_(stream);
    }
  }

  const Script script_;
  os::Fd listener_;
  uint16_t port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> served_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;  // guarded by mutex_
  std::thread thread_;
};

inline void say(os::SocketStream& stream, std::string_view text) {
  (void)stream.write_bytes(as_bytes(text));
}
// Waits until the client is gone.
inline void hang(os::SocketStream& stream) {
  std::byte more[512];
  for (auto got = stream.read_some(more); got && *got > 0;) got = stream.read_some(more);
}

}  // namespace forerun::testing_support
