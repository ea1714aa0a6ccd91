// Reads a text file line by line, plain or compressed with zstd, within limits.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/storage_file.h"

namespace forerun::trace {

// One thread. Reads in pieces; holds one line.
class TextLines {
 public:
  struct Limits {
    size_t line_bytes_max = size_t{4} << 20;
    uint64_t text_bytes_max = uint64_t{4} << 30;  // decoded
  };
  // `file` must outlive this. `label` names the file in errors, `what` what is read of it:
  // "launches".
  TextLines(StorageFile& file, std::string label, std::string_view what, Limits limits);
  ~TextLines();
  TextLines(const TextLines&) = delete;
  TextLines& operator=(const TextLines&) = delete;

  // Sets `line` to the next one, without its end. Returns false at the end of the file.
  // ERRORS: kTooLarge with the line, kCorrupt for damaged compression, kIo.
  Result<bool> next(std::string& line);
  // Returns whether next() may go on after an error. Not so where the file itself cannot be read
  // on.
  bool can_go_on() const { return !is_broken_; }
  // Returns an error about the line that next() gave last.
  std::unexpected<Error> wrong(std::string_view what, ErrorCode code = ErrorCode::kInvalid) const;

 private:
  struct Decoder;
  Status fill();

  std::string label_;
  std::string what_;
  Limits limits_;
  std::unique_ptr<Decoder> decoder_;
  std::string text_;  // decoded, not yet given out
  size_t taken_ = 0;  // of text_
  uint64_t decoded_ = 0;
  uint64_t line_number_ = 0;
  bool ended_ = false;
  bool is_broken_ = false;
};

}  // namespace forerun::trace
