// One request of the transmission phase: parsing it, and whether it may be executed.
// SOURCE: NetworkBlockDevice/nbd, doc/proto.md, "Request message", "Request types", "Error values".
#pragma once

#include <cstdint>
#include <optional>

#include "core/bytes.h"
#include "core/result.h"
#include "export/nbd_protocol.h"

namespace forerun::nbd {

struct Request {
  uint16_t flags = 0;
  uint16_t command = 0;
  uint64_t cookie = 0;
  uint64_t offset = 0;
  uint32_t length = 0;

  ByteRange range() const { return {offset, length}; }
  bool has(CommandFlag flag) const { return (flags & flag) != 0; }
  bool operator==(const Request&) const = default;
};

// What a request is checked against.
struct RequestRules {
  uint64_t size_bytes = 0;
  bool read_only = false;
  bool structured_replies = false;
  bool base_allocation = false;
};

// Returns the request in the first kRequestBytes of `bytes`; nothing if the magic number is wrong.
// REQUIRES: bytes.size() ≥ kRequestBytes.
std::optional<Request> parse_request(ByteView bytes);

// Returns kOk if the request may be executed, else the error to answer with. A request that is
// refused may still have a payload on its way: see payload_bytes().
NbdError check_request(const Request& request, const RequestRules& rules);

// Returns how many bytes follow the request.
inline uint32_t payload_bytes(const Request& request) {
  return request.command == kCmdWrite ? request.length : 0;
}

// Returns the error that a client sees for a failure of the device.
NbdError error_to_client(const Error& error);

}  // namespace forerun::nbd
