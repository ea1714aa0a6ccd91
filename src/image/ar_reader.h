// Reads an ar archive, as a Debian package is one, from front to back. It comes from outside: what
// two readers could take in two ways is refused, and nothing is extracted.
// SOURCE: deb(5), ar(5): the System V form without its tables of long names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/result.h"
#include "image/byte_stream.h"

namespace forerun::image {

struct ArMember {
  std::string name;  // printable, without '/' and spaces
  uint64_t size = 0;
};

// One thread. After an error only destruction.
class ArReader {
 public:
  explicit ArReader(ByteStream stream) : stream_(std::move(stream)) {}

  // Goes to the next member, past what is left of this one; the first call reads the archive's
  // beginning. Returns nothing at the end. ERRORS: those of the stream; kCorrupt: malformed or cut
  // off; kTooLarge: over kMembersMax members.
  Result<std::optional<ArMember>> next();
  // Gives the content of the member that next() returned; 0 at its end.
  Result<size_t> read(MutableByteView out);

  static constexpr size_t kMembersMax = 32;

 private:
  Status skip_rest();

  const ByteStream stream_;
  bool is_begun_ = false;
  size_t members_ = 0;
  uint64_t left_ = 0;
  bool is_padded_ = false;
};

}  // namespace forerun::image
