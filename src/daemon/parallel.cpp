#include "daemon/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace forerun::daemon {

namespace {
constexpr size_t kWorkersMax = 8;
constexpr size_t kWaitersMax = 16;

void on_threads(size_t threads, size_t count, const std::function<void(size_t)>& body) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) body(i);
  };
  std::vector<std::jthread> helpers;
  for (size_t i = 1; i < threads; ++i) helpers.emplace_back(work);
  work();
}

}  // namespace

void on_all_processors(size_t count, const std::function<void(size_t)>& body) {
  const size_t processors = std::max(1u, std::thread::hardware_concurrency());
  on_threads(std::min({kWorkersMax, processors, count}), count, body);
}

void while_waiting(size_t count, const std::function<void(size_t)>& body) {
  on_threads(std::min(kWaitersMax, count), count, body);
}

}  // namespace forerun::daemon
