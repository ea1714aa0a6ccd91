// The server's side of the NBD handshake as a state machine without I/O: bytes in, bytes out, and
// what to do next. SOURCE: NetworkBlockDevice/nbd, doc/proto.md, "Fixed newstyle negotiation",
// "Option types", "Metadata querying". One thread. Everything the peer sends is untrusted: lengths
// are checked before they are believed, payloads that are refused are skipped without being stored,
// and the limits end the handshake rather than slow it down.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "export/export_provider.h"
#include "export/nbd_protocol.h"

namespace forerun::nbd {

// What a client may know of an export before it uses it.
struct ExportInfo {
  std::string description;
  uint64_t size_bytes = 0;
  bool read_only = false;
  bool multi_conn = true;
};

enum class OpenRefusal : uint8_t { kUnknown, kTooManyConnections };

// What the handshake asks of the server; one per connection.
class HandshakeExports {
 public:
  virtual ~HandshakeExports() = default;
  virtual std::optional<ExportInfo> describe(std::string_view name) = 0;
  // Takes the export into use by this connection; the next open() or the connection's end gives it
  // back.
  virtual std::expected<ExportInfo, OpenRefusal> open(std::string_view name) = 0;
  virtual std::vector<ExportEntry> list(const std::string* after, size_t count_max) = 0;
};

enum class TlsPolicy : uint8_t { kNone, kOffered, kRequired };

struct HandshakeOptions {
  TlsPolicy tls = TlsPolicy::kNone;
  uint64_t received_bytes_max = 16u << 20;  // of all options together, headers included
  uint32_t options_max = 64;
  // A payload over this is skipped and answered with an error. The largest useful one holds two
  // names.
  uint32_t payload_bytes_max = 16u << 10;
  size_t output_bytes_soft_max = 8u
                                 << 10;  // a long export list is sent in parts of about this size
};

// What was agreed. A TLS handshake resets it.
struct Negotiated {
  bool structured_replies = false;
  bool base_allocation = false;  // block status may be asked for
  std::string export_name;
};

class NbdHandshake {
 public:
  enum class Next : uint8_t {
    kReceive,       // send the output, then feed() more bytes
    kSend,          // send the output, then feed() again: there is more to say
    kStartTls,      // send the output, do the TLS handshake, then tls_started()
    kTransmission,  // send the output: the export is open
    kClose,         // send the output, then close the connection
  };

  NbdHandshake(HandshakeOptions options, HandshakeExports& exports);

  // Appends the server's greeting.
  void begin(Buffer& output);
  // Consumes from the front of `input` and appends to `output`. After kStartTls, bytes left in
  // `input` were sent before TLS began: an injection, for which the connection is to be closed.
  // After kTransmission they are requests.
  Next feed(ByteView& input, Buffer& output);
  // All that was agreed in plain text is forgotten. REQUIRES: feed() returned kStartTls.
  void tls_started();

  const Negotiated& negotiated() const { return negotiated_; }
  // Returns why the connection is closed, for the log; empty after a plain abort.
  std::string_view close_reason() const { return close_reason_; }

 private:
  enum class Phase : uint8_t {
    kClientFlags,
    kOptionHeader,
    kPayload,
    kSkip,
    kList,
    kStartTls,
    kEnd
  };
  struct NameAndRest;

  std::optional<Next> step(ByteView& input, Buffer& output);
  bool gather(ByteView& input, size_t bytes);
  Next close(std::string_view reason);
  std::optional<Next> on_client_flags(ByteView& input);
  std::optional<Next> on_option_header(ByteView& input, Buffer& output);
  std::optional<Next> on_payload(ByteView& input, Buffer& output);
  std::optional<Next> on_skip(ByteView& input, Buffer& output);
  std::optional<Next> on_list(Buffer& output);
  std::optional<Next> on_option(ByteView payload, Buffer& output);
  std::optional<Next> on_export_name(ByteView payload, Buffer& output);
  std::optional<Next> on_info_or_go(ByteView payload, Buffer& output);
  void on_meta_context(ByteView payload, Buffer& output);
  std::optional<uint32_t> refusal() const;
  uint16_t transmission_flags(const ExportInfo& info) const;
  void add_info(const ExportInfo& info, ByteView requests, Buffer& output) const;
  void reply(Buffer& output, uint32_t type, ByteView payload = {}) const;
  void reply_error(Buffer& output, uint32_t type, std::string_view message) const;

  const HandshakeOptions options_;
  HandshakeExports& exports_;
  Phase phase_ = Phase::kClientFlags;
  bool fixed_newstyle_ = false;
  bool no_zeroes_ = false;
  bool tls_active_ = false;
  uint32_t option_count_ = 0;
  uint64_t received_bytes_ = 0;
  uint32_t option_ = 0;
  uint32_t payload_bytes_ = 0;
  uint32_t skip_bytes_ = 0;
  uint32_t skip_reply_ = 0;
  Buffer pending_;                     // an option's header or payload that has not arrived whole
  std::optional<std::string> listed_;  // the last export that was listed
  std::string meta_export_;            // for which base:allocation was chosen
  Negotiated negotiated_;
  std::string_view close_reason_;
};

}  // namespace forerun::nbd
