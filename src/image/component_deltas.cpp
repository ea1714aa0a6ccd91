// SOURCE: docs/format_component.md.
#include "image/component_deltas.h"

#include <fmt/format.h>

#include <algorithm>

#include "repository/delta.h"

namespace forerun::image {
namespace {

using repository::ChunkRef;

constexpr size_t kNumberSize = 4;
constexpr size_t kBasisSize = 32 + 4 + 4;

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("the component's deltas are malformed: {}", what));
}

Status read_basis(ByteReader& in, ChunkRef& basis) {
  const ByteView id = in.bytes(basis.id.bytes.size());
  std::memcpy(basis.id.bytes.data(), id.data(), id.size());
  basis.size = in.u32();
  basis.stored_size = in.u32();
  if (basis.size == 0 || basis.size > repository::kChunkSize ||
      basis.stored_size <= repository::kStoredHeaderSize ||
      basis.stored_size > basis.size + repository::kStoredHeaderSize)
    return corrupt("the size of a basis is out of range");
  return {};
}

}  // namespace

void write_deltas(const repository::ImageIndex& data, ByteWriter& out) {
  out.u32(static_cast<uint32_t>(std::ranges::count_if(data.chunks, &ChunkRef::is_delta)));
  for (uint32_t i = 0; i < data.chunks.size(); ++i)
    if (data.chunks[i].is_delta) out.u32(i);
  out.u32(static_cast<uint32_t>(data.bases.size()));
  for (const ChunkRef& basis : data.bases) {
    out.bytes(std::as_bytes(std::span(basis.id.bytes)));
    out.u32(basis.size);
    out.u32(basis.stored_size);
  }
}

Result<size_t> read_deltas(ByteView section, repository::ImageIndex& data) {
  ByteReader in(section);
  const uint32_t count = in.u32();
  if (count == 0 || count > data.chunks.size() || count > in.left() / kNumberSize)
    return corrupt("there are none, or more than chunks");
  int64_t previous = -1;
  for (uint32_t i = 0; i < count; ++i) {
    const int64_t number = in.u32();
    if (number <= previous || number >= static_cast<int64_t>(data.chunks.size()))
      return corrupt("one is none of the chunks, or they are not in order");
    data.chunks[static_cast<size_t>(number)].is_delta = true;
    previous = number;
  }
  const uint64_t base_count = in.u32();
  if (base_count == 0 || base_count > count * uint64_t{repository::kBasesMax} ||
      base_count > in.left() / kBasisSize)
    return corrupt("they have no bases, or too many");
  data.bases.resize(base_count);
  ChunkId last{};
  for (ChunkRef& basis : data.bases) {
    FR_CHECK(read_basis(in, basis));
    if (basis.id <= last) return corrupt("bases are not in order, or one is there twice");
    last = basis.id;
  }
  return section.size() - in.left();
}

}  // namespace forerun::image
