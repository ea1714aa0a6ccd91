// Traces of block requests as text, for tests.
#pragma once

#include <string>
#include <vector>

#include "trace/block_trace.h"
#include "trace/text_file.h"

namespace forerun::trace {

// Returns the requests of the trace, which is named disk.csv in errors.
inline Result<std::vector<BlockRequest>> read_all(const std::string& text) {
  TextFile file(text);
  BlockTraceReader reader(file, "disk.csv");
  std::vector<BlockRequest> requests;
  for (BlockRequest request;;) {
    FR_TRY(const bool more, reader.next(request));
    if (!more) return requests;
    requests.push_back(request);
  }
}

}  // namespace forerun::trace
