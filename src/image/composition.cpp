// SOURCE: docs/format_composition.md.
#include "image/composition.h"

#include <fmt/format.h>

#include "core/codec.h"
#include "image/component_tag.h"
#include "repository/image_index.h"

namespace forerun::image {
namespace {

constexpr std::string_view kMagic = "FRCOMPO\n";
constexpr uint16_t kVersion = 1;
constexpr size_t kDigestBytes = 32;
constexpr size_t kExtentBytes = 8 + 8 + 4 + 8;
constexpr size_t kNameMax = 64;

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("the composition is malformed: {}", what));
}

void put(ByteWriter& out, const Digest& digest) {
  out.bytes({reinterpret_cast<const std::byte*>(digest.bytes.data()), kDigestBytes});
}

Digest take_digest(ByteReader& in) {
  Digest digest;
  const ByteView bytes = in.bytes(kDigestBytes);
  if (bytes.size() == kDigestBytes) std::memcpy(digest.bytes.data(), bytes.data(), kDigestBytes);
  return digest;
}

Result<CompositionPart> take_part(ByteReader& in) {
  CompositionPart part;
  const uint8_t kind = in.u8();
  if (kind > static_cast<uint8_t>(CompositionPart::Kind::kComponent))
    return corrupt(fmt::format("a part of kind {}", kind));
  part.kind = static_cast<CompositionPart::Kind>(kind);
  part.digest = take_digest(in);
  part.name = as_text(in.bytes(in.u8()));
  if (!in.good() || !is_valid_name(part.name)) return corrupt("a part without a name");
  return part;
}

Result<CompositionExtent> take_extent(ByteReader& in, const Composition& composition,
                                      uint64_t previous_end) {
  CompositionExtent extent;
  extent.range.offset = in.u64();
  extent.range.length = in.u64();
  extent.part = in.u32();
  extent.part_offset = in.u64();
  if (extent.range.empty() || !fits(extent.range, composition.size_bytes) ||
      extent.range.offset < previous_end)
    return corrupt(
        fmt::format("the extent at {} of {} bytes", extent.range.offset, extent.range.length));
  if (extent.part >= composition.parts.size() ||
      !fits({extent.part_offset, extent.range.length}, repository::kImageSizeMax))
    return corrupt(fmt::format("the extent at {} names part {}, byte {}", extent.range.offset,
                               extent.part, extent.part_offset));
  return extent;
}

}  // namespace

Buffer serialize(const Composition& composition) {
  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.u16(kVersion);
  out.u16(static_cast<uint16_t>(composition.parts.size()));
  out.u32(static_cast<uint32_t>(composition.extents.size()));
  out.u64(composition.size_bytes);
  put(out, composition.manifest);
  for (const CompositionPart& part : composition.parts) {
    out.u8(static_cast<uint8_t>(part.kind));
    put(out, part.digest);
    FR_ASSERT(part.name.size() <= kNameMax);
    out.u8(static_cast<uint8_t>(part.name.size()));
    out.bytes(as_bytes(part.name));
  }
  for (const CompositionExtent& extent : composition.extents) {
    out.u64(extent.range.offset);
    out.u64(extent.range.length);
    out.u32(extent.part);
    out.u64(extent.part_offset);
  }
  return out.take();
}

Result<Composition> parse_composition(ByteView data) {
  if (data.size() > kCompositionBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("a composition of {} bytes", data.size()));
  ByteReader in(data);
  if (as_text(in.bytes(kMagic.size())) != kMagic) return corrupt("it does not begin as one");
  if (const uint16_t version = in.u16(); in.good() && version != kVersion)
    return fail(ErrorCode::kUnsupported,
                fmt::format("the composition has version {}; this program reads version {}",
                            version, kVersion));
  Composition composition;
  const uint16_t part_count = in.u16();
  const uint32_t extent_count = in.u32();
  composition.size_bytes = in.u64();
  composition.manifest = take_digest(in);
  if (!in.good()) return corrupt("it ends within its header");
  if (composition.size_bytes == 0 || composition.size_bytes > repository::kImageSizeMax ||
      composition.size_bytes % 512 != 0)
    return corrupt(fmt::format("a disk of {} bytes", composition.size_bytes));
  if (part_count > kCompositionPartsMax)
    return fail(ErrorCode::kTooLarge, fmt::format("a composition of {} parts", part_count));
  for (uint16_t i = 0; i < part_count; ++i) {
    FR_TRY(CompositionPart part, take_part(in));
    composition.parts.push_back(std::move(part));
  }
  if (in.left() != extent_count * kExtentBytes)
    return corrupt(fmt::format("{} bytes are not {} extents", in.left(), extent_count));
  composition.extents.reserve(extent_count);
  uint64_t end = 0;
  for (uint32_t i = 0; i < extent_count; ++i) {
    FR_TRY(const CompositionExtent extent, take_extent(in, composition, end));
    end = extent.range.end();
    composition.extents.push_back(extent);
  }
  return composition;
}

std::string composition_path(const Digest& digest) { return "compositions/" + digest.hex(); }

std::string object_path(const CompositionPart& part) {
  return part.kind == CompositionPart::Kind::kIndex ? repository::index_path(part.digest)
                                                    : component_path(part.digest);
}

std::string composed_path(const Digest& manifest) {
  constexpr int kComposerVersion = 3;
  return fmt::format("composed/{}.{}", manifest.hex(), kComposerVersion);
}

}  // namespace forerun::image
