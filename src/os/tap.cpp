#include "os/tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

namespace forerun::os {
namespace {

Result<Fd> open_namespace(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return fail_errno(fmt::format("open network namespace {}", path), errno);
  return fd;
}

Result<Fd> open_tap_here(const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof request.ifr_name)
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no name for a network device", name));
  Fd tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap.is_open()) return fail_errno("open /dev/net/tun", errno);
  std::memcpy(request.ifr_name, name.c_str(), name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) {
    if (errno == EBUSY)
      return fail(ErrorCode::kExists, fmt::format("there is a network device {}", name));
    return fail_errno(fmt::format("make TAP device {}", name), errno);
  }
  const unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  if (::ioctl(tap.get(), TUNSETOFFLOAD, offloads) != 0)
    return fail_errno(fmt::format("set the offloads of TAP device {}", name), errno);
  return tap;
}

}  // namespace

std::string namespace_path(const std::string& name) { return "/run/netns/" + name; }

Result<Fd> open_tap(const std::string& name_space, const std::string& name) {
  if (name_space.empty()) return open_tap_here(name);
  FR_TRY(const Fd ours, open_namespace("/proc/thread-self/ns/net"));
  FR_TRY(const Fd theirs, open_namespace(name_space));
  if (::setns(theirs.get(), CLONE_NEWNET) != 0)
    return fail_errno(fmt::format("enter network namespace {}", name_space), errno);
  Result<Fd> tap = open_tap_here(name);
  // Not to be back would be to do all that follows in the wrong network.
  FR_ASSERT(::setns(ours.get(), CLONE_NEWNET) == 0, "cannot return to our network namespace");
  if (!tap) return std::unexpected(std::move(tap.error()).within("in " + name_space));
  return tap;
}

}  // namespace forerun::os
