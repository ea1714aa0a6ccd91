#include "telemetry/line_splitter.h"

namespace forerun::telemetry {

void LineSplitter::feed(std::string_view bytes, const std::function<void(std::string_view)>& take) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    if (!is_skipping_ && line_.size() + part.size() > line_bytes_max_) {
      is_skipping_ = true;
      ++too_long_;
      line_.clear();
    }
    if (!is_skipping_) line_ += part;
    if (end == std::string_view::npos) return;
    if (!is_skipping_ && !line_.empty()) take(line_);
    is_skipping_ = false;
    line_.clear();
    bytes.remove_prefix(end + 1);
  }
}

void LineSplitter::reset() {
  line_.clear();
  is_skipping_ = false;
}

}  // namespace forerun::telemetry
