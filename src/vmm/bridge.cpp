#include "vmm/bridge.h"

#include <random>

#include "os/process.h"

namespace forerun::vmm {
namespace {

constexpr Nanos kTimeout = std::chrono::seconds(10);

}  // namespace

Status check_bridge(const std::string& bridge) {
  if (!os::is_root())
    return fail(ErrorCode::kDenied, "a VM on a bridge has a TAP device, which takes root");
  FR_TRY(const os::RunResult found,
         os::run({"ip", "-o", "link", "show", "dev", bridge, "type", "bridge"}, kTimeout));
  if (found.exit_code == 0 && !found.output.empty()) return {};
  return fail(ErrorCode::kNotFound,
              fmt::format("this host has no bridge {}: make one (ip link add {} type bridge), or "
                          "use the user network",
                          bridge, bridge));
}

Status attach_to_bridge(const QemuOptions& options) {
  const std::string device = tap_device(options.name);
  // A bridge takes the lowest address of its devices for its own, unless it was given one: ours is
  // never the lowest. It has no address of the host's, so none is made up for it.
  FR_TRY(const os::RunResult set,
         os::run({"ip", "link", "set", "dev", device, "addrgenmode", "none", "address",
                  "fe" + options.mac.substr(2), "master", options.bridge, "up"},
                 kTimeout));
  if (set.exit_code == 0) return {};
  return fail(ErrorCode::kIo,
              fmt::format("cannot put {} on bridge {}: {}", device, options.bridge, set.errors));
}

std::string random_mac() {
  std::random_device random;
  std::string mac = "06";  // unicast, locally administered
  for (int i = 0; i < 5; ++i) mac += fmt::format(":{:02x}", random() & 255);
  return mac;
}

}  // namespace forerun::vmm
