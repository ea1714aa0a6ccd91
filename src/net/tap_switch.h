// The process that is the lab's network: TAP devices in the hosts' namespaces, a lab::Switch
// between them, and a control socket.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "lab/link.h"

namespace forerun::net {

struct TapSwitchOptions {
  std::vector<std::string> name_spaces;  // of the ports, as `ip netns` knows them
  std::string device = "eth0";           // its name in each
  std::string control_socket;
  lab::LinkSettings link;  // of every pair at first
};

// Makes the devices, then the control socket, then moves frames until the process is ended. A port
// whose namespace goes away is left out; the others go on. ERRORS: those of os::open_tap and
// os::listen_unix; kIo.
Status run_tap_switch(const TapSwitchOptions& options);

}  // namespace forerun::net
