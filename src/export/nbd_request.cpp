#include "export/nbd_request.h"

namespace forerun::nbd {
namespace {

// The flags that a command may carry. FUA is allowed everywhere, for "the server MUST accept all
// commands with this bit set".
std::optional<uint16_t> allowed_flags(uint16_t command, const RequestRules& rules) {
  switch (command) {
    case kCmdRead:
      return static_cast<uint16_t>(kCmdFua | (rules.structured_replies ? kCmdDf : 0));
    case kCmdWrite:
    case kCmdFlush:
    case kCmdTrim:
    case kCmdCache:
      return kCmdFua;
    case kCmdWriteZeroes:
      return static_cast<uint16_t>(kCmdFua | kCmdNoHole | kCmdFastZero);
    case kCmdBlockStatus:
      return static_cast<uint16_t>(kCmdFua | kCmdReqOne);
    default:
      return std::nullopt;
  }
}

NbdError check_range(const Request& request, const RequestRules& rules) {
#ifdef FORERUN_PLANT_BUG_NBD
  // What fuzz/nbd/prove.sh must find: a sum that wraps around.
  if (request.offset + request.length <= rules.size_bytes) return kOk;
#endif
  if (fits(request.range(), rules.size_bytes)) return kOk;
  const bool adds = request.command == kCmdWrite || request.command == kCmdWriteZeroes;
  return adds ? kEnospc : kEinval;  // proto.md: writing past the end is ENOSPC
}

}  // namespace

std::optional<Request> parse_request(ByteView bytes) {
  const std::byte* at = bytes.data();
  if (load_be<uint32_t>(at) != kRequestMagic) return std::nullopt;
  return Request{.flags = load_be<uint16_t>(at + 4),
                 .command = load_be<uint16_t>(at + 6),
                 .cookie = load_be<uint64_t>(at + 8),
                 .offset = load_be<uint64_t>(at + 16),
                 .length = load_be<uint32_t>(at + 24)};
}

NbdError check_request(const Request& request, const RequestRules& rules) {
  const std::optional<uint16_t> allowed = allowed_flags(request.command, rules);
  if (!allowed || (request.flags & ~*allowed) != 0) return kEinval;
  switch (request.command) {
    case kCmdRead:
      if (request.length > kPayloadBytesMax) return kEinval;
      return check_range(request, rules);
    case kCmdWrite:
      if (rules.read_only) return kEperm;
      if (request.length > kPayloadBytesMax) return kEinval;
      return check_range(request, rules);
    case kCmdFlush:
      return request.offset == 0 && request.length == 0 ? kOk : kEinval;
    case kCmdTrim:
      return rules.read_only ? kEperm : check_range(request, rules);
    case kCmdWriteZeroes:
      if (rules.read_only) return kEperm;
      // A hole is quick; zeroes that must not be a hole may have to be written.
      if (request.has(kCmdFastZero) && request.has(kCmdNoHole)) return kEnotsup;
      return check_range(request, rules);
    case kCmdBlockStatus:
      if (!rules.base_allocation || request.length == 0) return kEinval;
      return check_range(request, rules);
    default:
      return check_range(request, rules);
  }
}

NbdError error_to_client(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNoSpace:
      return kEnospc;
    case ErrorCode::kDenied:
      return kEperm;
    case ErrorCode::kInvalid:
      return kEinval;
    case ErrorCode::kTooLarge:
      return kEoverflow;
    case ErrorCode::kUnsupported:
      return kEnotsup;
    default:
      return kEio;
  }
}

}  // namespace forerun::nbd
