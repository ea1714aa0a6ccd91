// A file that is written in two steps, of which the second one is short.
#pragma once

#include <string>
#include <utility>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::os {

// What is to be in a file is durable beside it, and take_place() has only to put it there: the slow
// half of write_file_atomic(), done ahead. What never took its place is removed.
class WaitingFile {
 public:
  static Result<WaitingFile> write(const std::string& folder, const std::string& name,
                                   ByteView data);
  WaitingFile(WaitingFile&& other) noexcept
      : folder_(std::move(other.folder_)),
        name_(std::move(other.name_)),
        temporary_(std::exchange(other.temporary_, {})) {}
  WaitingFile& operator=(WaitingFile&&) = delete;
  ~WaitingFile();

  // Durable on return. REQUIRES: once.
  Status take_place();

 private:
  WaitingFile(std::string folder, std::string name, std::string temporary)
      : folder_(std::move(folder)), name_(std::move(name)), temporary_(std::move(temporary)) {}
  std::string folder_, name_, temporary_;  // names in the folder
};

}  // namespace forerun::os
