// A way to foresee block requests, as the replay of a trace compares them. A new one is one file
// and one line in block_methods.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace forerun::replay {

// One request of a trace, in blocks of the replay's size.
struct BlockAccess {
  double at_us = 0;  // as recorded
  uint64_t first_block = 0;
  uint32_t block_count = 0;
  bool is_write = false;
};

struct BlockRun {
  uint64_t first_block = 0;
  uint32_t block_count = 0;
};

// One thread. Pure.
class BlockMethod {
 public:
  virtual ~BlockMethod() = default;
  virtual std::string_view name() const = 0;
  // Returns a bit for each of up to 64 blocks that is in the cache or on its way, the lowest for
  // the first.
  using WhichAreHere = std::function<uint64_t(uint64_t first_block, uint32_t block_count)>;
  // A run begins.
  virtual void begin(WhichAreHere /*which_are_here*/) {}
  // A read begins at `now_us`: appends what is to be fetched ahead; what is here already is left
  // out by the caller. `is_hit`: all its blocks were in the cache, or on their way.
  virtual void on_read(const BlockAccess& access, bool is_hit, double now_us,
                       std::vector<BlockRun>& out) = 0;
  virtual void on_write(const BlockAccess& /*access*/, double /*now_us*/) {}
  // What the daemon would do on another thread meanwhile; after each read, and not measured.
  virtual void work_aside() {}
  // A block that was fetched ahead was read, `is_late`: while it was on its way; or left unread.
  virtual void on_used(uint64_t /*block*/, bool /*is_late*/) {}
  virtual void on_unused(uint64_t /*block*/) {}
  // Returns the bytes of state held now.
  virtual size_t state_bytes() const = 0;
};

// What a method may look at beside what it is called with.
struct BlockMethodNeeds {
  std::span<const BlockAccess> trace;  // only the oracle does
  size_t cache_blocks = 0;
  uint32_t block_bytes = 4096;
};

// Returns the names of all methods in the order of a table. "none" fetches nothing ahead.
std::span<const std::string_view> block_method_names();
// Returns whether a method is one idea, not several weighed or joined, and no oracle.
bool is_single_method(std::string_view name);
// ERRORS: kNotFound for an unknown name, with those that there are.
Result<std::unique_ptr<BlockMethod>> make_block_method(std::string_view name,
                                                       const BlockMethodNeeds& needs);

}  // namespace forerun::replay
