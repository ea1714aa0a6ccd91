// Writes a trace of block requests, as BlockTraceReader reads it.
#pragma once

#include <functional>
#include <string>

#include "core/bytes.h"
#include "trace/block_trace.h"

namespace forerun::trace {

// One thread. Holds at most kPieceBytes of text and a request.
class BlockTraceWriter {
 public:
  enum class Form : uint8_t { kPlain, kZstd };
  using Sink = std::function<Status(ByteView)>;  // takes what comes next of the file

  static constexpr size_t kPieceBytes = 256 * 1024;

  BlockTraceWriter(Sink sink, Form form) : sink_(std::move(sink)), form_(form) {}

  // Adds a request; one of more sectors than a line may tell becomes several of the same time.
  // REQUIRES: sectors > 0. ERRORS: of the sink.
  Status add(const BlockRequest& request);
  // Hands over what was added so far, if the form allows: a compressed file grows by whole pieces,
  // each of them a frame, so that a writer which is killed leaves a file that reads to its end.
  Status flush();
  // Hands over everything. The file is then complete.
  Status end();
  // Returns the length of all lines added, uncompressed.
  uint64_t text_bytes() const { return text_bytes_; }

 private:
  Status hand_over();

  Sink sink_;
  Form form_;
  std::string text_;  // not yet handed over
  uint64_t text_bytes_ = 0;
};

}  // namespace forerun::trace
