// The way to the host: a virtio-serial port, or standard output for people. Never waits: what the
// host does not take is let go.
#pragma once

#include <string>
#include <string_view>

#include "core/time.h"
#include "os/file.h"

namespace forerun::agent {

// One thread.
class Port {
 public:
  static constexpr std::string_view kName = "org.forerun.agent.0";

  // An empty path is standard output and input.
  explicit Port(std::string path, std::string root = "");
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // Sends a line. Returns whether the host took all of it; if not, it is let go, and the next line
  // begins on a line of its own. Opens the port if need be.
  bool send(std::string_view line);
  // Waits for `time`, or less if the host says something; returns its bytes, or none. A host that
  // is away costs no CPU time.
  std::string wait(Nanos time);
  // Returns whether standard output's reader is gone for good.
  bool is_over() const { return is_over_; }

 private:
  bool open();
  int in() const { return path_.empty() ? 0 : fd_.get(); }
  int out() const { return path_.empty() ? 1 : fd_.get(); }

  std::string path_, root_;
  os::Fd fd_;
  bool needs_break_ = false;  // a line was cut off
  bool is_deaf_ = false;      // nothing more will come in
  bool is_over_ = false;
};

// Returns the device of the port of this name: the link that udev made, or what sysfs says.
std::string find_port(const std::string& root, std::string_view name);

}  // namespace forerun::agent
