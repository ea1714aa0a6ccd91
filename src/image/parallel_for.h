// How rooms without threads of their own are lent some.
#pragma once

#include <cstddef>
#include <functional>

namespace forerun::image {

// Calls body(0) … body(count - 1), in any order and on any threads, and returns when all have
// returned.
using ParallelFor = std::function<void(size_t count, const std::function<void(size_t)>& body)>;

}  // namespace forerun::image
