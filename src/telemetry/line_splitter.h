// Lines out of a stream of bytes, with a limit: a longer line is let go whole, and counted.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace forerun::telemetry {

// One thread. Holds at most `line_bytes_max` bytes.
class LineSplitter {
 public:
  explicit LineSplitter(size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

  // Calls `take` with each line that ends in `bytes`, without its end; empty ones are passed over.
  void feed(std::string_view bytes, const std::function<void(std::string_view)>& take);
  // Forgets the line begun: the stream was cut.
  void reset();
  uint64_t too_long() const { return too_long_; }  // lines let go since the start

 private:
  size_t line_bytes_max_;
  std::string line_;
  bool is_skipping_ = false;
  uint64_t too_long_ = 0;
};

}  // namespace forerun::telemetry
