// udev's hardware database, /usr/lib/udev/hwdb.bin: a trie of patterns that is mapped into memory,
// so that of its megabytes a boot reads what its own devices lead to. This walks it as libudev
// does, to learn which parts those are.
// SOURCE: systemd, src/libsystemd/sd-hwdb/hwdb-internal.h (format) and sd-hwdb.c (look-up).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "image/elf.h"

namespace forerun::image {

// Returns which ranges of the file looking up these names ("pci:v00008086d…") reads, in order of
// offset, with what Linux reads around a fault of mapped memory. Nothing in the file is trusted;
// the work is bounded. ERRORS: kCorrupt if it is no hardware database, those of `read`.
Result<std::vector<ByteRange>> hwdb_reads(const ReadAt& read, std::span<const std::string> names);

}  // namespace forerun::image
