// Where the files of a container image are: a folder (os/ has it) or a tar archive, of which
// nothing is extracted.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/result.h"
#include "image/byte_stream.h"

namespace forerun::image {

// One thread.
class OciBlobs {
 public:
  virtual ~OciBlobs() = default;
  // Returns the size of the regular file at a plain path, "blobs/sha256/ab…"; nothing if there is
  // none.
  virtual Result<std::optional<uint64_t>> size(const std::string& path) = 0;
  // Returns the content of a file that is there. One stream at a time.
  virtual Result<ByteStream> open(const std::string& path) = 0;
};

// Gives the archive, unpacked, from a byte on.
using ReadFrom = std::function<Result<ByteStream>(uint64_t offset)>;

// Returns the files of a tar archive; reads it once to know where each stands. Symbolic links to
// files in it are followed once, as old `docker save` writes them for equal layers.
// ERRORS: those of the stream and of TarReader; kInvalid: a name twice; kTooLarge.
Result<std::unique_ptr<OciBlobs>> index_oci_archive(ReadFrom read_from);

inline constexpr size_t kOciArchiveNamesMax = 100'000;

}  // namespace forerun::image
