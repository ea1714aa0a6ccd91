// Threads for image/, which has none of its own.
#pragma once

#include <cstddef>
#include <functional>

namespace forerun::daemon {

// Calls body(0) … body(count - 1) on up to 8 threads and returns when all have returned.
void on_all_processors(size_t count, const std::function<void(size_t)>& body);
// The same on up to 16 threads, whatever the processors: for what waits, as for a repository.
void while_waiting(size_t count, const std::function<void(size_t)>& body);

}  // namespace forerun::daemon
