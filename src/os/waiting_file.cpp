#include "os/waiting_file.h"

#include <unistd.h>

#include <atomic>

#include "os/file.h"

namespace forerun::os {

Result<WaitingFile> WaitingFile::write(const std::string& folder, const std::string& name,
                                       ByteView data) {
  // One name a call: threads may write the same file at once.
  static std::atomic<uint64_t> calls{0};
  WaitingFile made(folder, name, fmt::format("{}.wait{}.{}", name, ::getpid(), calls++));
  FR_TRY(const auto file,
         PosixFile::open(folder + "/" + made.temporary_, PosixFile::Mode::kCreate));
  FR_CHECK(file->resize(0));
  FR_CHECK(file->write(0, data));
  FR_CHECK(file->flush());
  return made;
}

Status WaitingFile::take_place() {
  FR_TRY(const auto files, PosixFolder::open(folder_));
  FR_CHECK(files->replace(temporary_, name_));
  temporary_.clear();
  return {};
}

WaitingFile::~WaitingFile() {
  if (!temporary_.empty()) ::unlink((folder_ + "/" + temporary_).c_str());
}

}  // namespace forerun::os
