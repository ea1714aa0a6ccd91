#include "predict/saved_form.h"

#include "core/id.h"

namespace forerun::predict {
namespace {

std::string_view mark_of(SavedKind kind) {
  switch (kind) {
    case SavedKind::kHistory:
      return "FRHIST\r\n";
    case SavedKind::kSuccessors:
      return "FRSUCC\r\n";
    case SavedKind::kNetwork:
      return "FRGRUN\r\n";
    case SavedKind::kRnn:
      return "FRRNNS\r\n";
    case SavedKind::kMarkov:
      return "FRMRKV\r\n";
    case SavedKind::kAssociation:
      return "FRASSO\r\n";
    case SavedKind::kVmModels:
      return "FRVMMD\r\n";
    case SavedKind::kVmHistory:
      return "FRVMHI\r\n";
  }
  return "";
}

}  // namespace

uint32_t to_bits(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float from_bits(uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

ByteWriter begin_saved(SavedKind kind, uint32_t version) {
  ByteWriter out;
  out.bytes(as_bytes(mark_of(kind)));
  out.u32(version);
  return out;
}

Buffer seal(ByteWriter out) {
  const Digest digest = sha256(out.view());
  out.bytes({reinterpret_cast<const std::byte*>(digest.bytes.data()), digest.bytes.size()});
  return out.take();
}

Result<OpenedForm> open_saved(ByteView saved, SavedKind kind, uint64_t bytes_max,
                              uint32_t version_max) {
  if (saved.size() < kSavedHeadBytes + kSavedDigestBytes)
    return fail(ErrorCode::kCorrupt, fmt::format("saved statistics: only {} bytes", saved.size()));
  if (saved.size() > bytes_max)
    return fail(ErrorCode::kTooLarge,
                fmt::format("saved statistics: {} bytes are over the limit", saved.size()));
  ByteReader in(saved);
  if (const auto mark = mark_of(kind); as_text(in.bytes(mark.size())) != mark)
    return fail(ErrorCode::kCorrupt, "saved statistics: it does not begin with its mark");
  OpenedForm form;
  form.version = in.u32();
  if (form.version == 0 || form.version > version_max)
    return fail(ErrorCode::kUnsupported,
                fmt::format("saved statistics: version {} is not known", form.version));
  const size_t body_end = saved.size() - kSavedDigestBytes;
  const Digest digest = sha256(saved.first(body_end));
  if (std::memcmp(digest.bytes.data(), saved.data() + body_end, kSavedDigestBytes) != 0)
    return fail(ErrorCode::kCorrupt, "saved statistics: its checksum does not match");
  form.body = saved.subspan(kSavedHeadBytes, body_end - kSavedHeadBytes);
  return form;
}

}  // namespace forerun::predict
