// Folders and files by descriptor, without following links: what the parts of DirectoryStore share.
#pragma once

#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "os/file.h"

namespace forerun::net {

// Returns an error as fail_errno; kDenied where a link, or what is no folder, is in the way.
std::unexpected<Error> fail_open(const std::string& attempted, int errno_value);
// Returns the folder, not open if that fails; errno says why.
os::Fd open_folder_to_list(int parent, const char* leaf);
// Returns the names in the folder, sorted, without those that start with a dot.
Result<std::vector<std::string>> names_in(os::Fd folder, const std::string& attempted);
// At the file's position.
Status write_fully(int fd, ByteView data, const std::string& attempted);
// ERRORS: also kUnavailable if the file ends before `out` is full.
Status read_fully(int fd, MutableByteView out, const std::string& attempted);

}  // namespace forerun::net
