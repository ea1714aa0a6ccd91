#include "os/unix_time.h"

#include <ctime>

namespace forerun::os {

Nanos unix_time() {
  timespec value{};
  ::clock_gettime(CLOCK_REALTIME, &value);
  return std::chrono::seconds(value.tv_sec) + Nanos(value.tv_nsec);
}

}  // namespace forerun::os
