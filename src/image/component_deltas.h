// What the index of a component says of its deltas: which chunks may be stored as such, and what
// they are told by. Format: docs/format_component.md.
#pragma once

#include "core/codec.h"
#include "core/result.h"
#include "repository/image_index.h"

namespace forerun::image {

// REQUIRES: some of data.chunks are deltas; data.bases are whole, in order and each there once.
void write_deltas(const repository::ImageIndex& data, ByteWriter& out);
// Marks the deltas among data.chunks, sets data.bases, and returns how many bytes of `section` that
// took. ERRORS: kCorrupt: it says what write_deltas() would not.
Result<size_t> read_deltas(ByteView section, repository::ImageIndex& data);

}  // namespace forerun::image
