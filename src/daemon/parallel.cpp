#include "daemon/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace forerun::daemon {

namespace {
constexpr size_t kImportThreadsMax = 8;
}  // namespace

void on_all_processors(size_t count, const std::function<void(size_t)>& body) {
  const size_t threads = std::min<size_t>(
      {kImportThreadsMax, std::max(1u, std::thread::hardware_concurrency()), count});
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) body(i);
  };
  std::vector<std::jthread> helpers;
  for (size_t i = 1; i < threads; ++i) helpers.emplace_back(work);
  work();
}

}  // namespace forerun::daemon
