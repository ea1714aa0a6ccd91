// The NBD handshake against option frames that are mostly well formed, in parts of any size.
// Checked: the replies are well formed, limits hold, nothing opens in plain text where TLS is
// required, and TLS forgets what was agreed.
#include <fuzzer/FuzzedDataProvider.h>

#include "export/nbd_handshake.h"
#include "fuzz_common.h"

namespace forerun::nbd {
namespace {

constexpr uint32_t kOptions[] = {kOptExportName,
                                 kOptAbort,
                                 kOptList,
                                 kOptStartTls,
                                 kOptInfo,
                                 kOptGo,
                                 kOptStructuredReply,
                                 kOptListMetaContext,
                                 kOptSetMetaContext,
                                 4,
                                 11,
                                 0xffffffff};

class FuzzExports final : public HandshakeExports {
 public:
  std::optional<ExportInfo> describe(std::string_view name) override {
    require(name.size() <= kNameBytesMax);
    if (name != "a" && name != "disk") return std::nullopt;
    return ExportInfo{.description = "an export", .size_bytes = 1 << 20};
  }
  std::expected<ExportInfo, OpenRefusal> open(std::string_view name) override {
    auto info = describe(name);
    if (!info) return std::unexpected(OpenRefusal::kUnknown);
    is_open = true;
    return *info;
  }
  std::vector<ExportEntry> list(const std::string* after, size_t count_max) override {
    require(count_max > 0);
    if (after == nullptr) return {{"a", "an export"}};
    return *after == "a" ? std::vector<ExportEntry>{{"disk", ""}} : std::vector<ExportEntry>{};
  }
  bool is_open = false;
};

std::string make_name(FuzzedDataProvider& input) {
  switch (input.ConsumeIntegralInRange(0, 4)) {
    case 0:
      return "a";
    case 1:
      return "disk";
    case 2:
      return std::string(input.ConsumeIntegralInRange(0, 6000), 'n');
    default:
      return input.ConsumeRandomLengthString(40);
  }
}

void append_counted(FuzzedDataProvider& input, std::string& payload, const std::string& text) {
  const bool lies = input.ConsumeIntegralInRange(0, 19) == 0;
  append_be(payload, lies ? input.ConsumeIntegral<uint32_t>() : static_cast<uint32_t>(text.size()));
  payload += text;
}

std::string make_payload(FuzzedDataProvider& input, uint32_t option) {
  std::string payload;
  switch (option) {
    case kOptExportName:
      return make_name(input);
    case kOptInfo:
    case kOptGo: {
      append_counted(input, payload, make_name(input));
      const auto infos = input.ConsumeIntegralInRange<uint16_t>(0, 6);
      append_be(payload, infos);
      for (uint16_t i = 0; i < infos; ++i) append_be(payload, input.ConsumeIntegral<uint16_t>());
      return payload;
    }
    case kOptListMetaContext:
    case kOptSetMetaContext: {
      append_counted(input, payload, make_name(input));
      const auto queries = input.ConsumeIntegralInRange<uint32_t>(0, 4);
      append_be(payload, queries);
      for (uint32_t i = 0; i < queries; ++i)
        append_counted(
            input, payload,
            input.ConsumeBool() ? "base:allocation" : input.ConsumeRandomLengthString(20));
      return payload;
    }
    default:
      return input.ConsumeIntegralInRange(0, 9) == 0 ? input.ConsumeRandomLengthString(100) : "";
  }
}

std::string make_bytes(FuzzedDataProvider& input) {
  std::string bytes;
  append_be(bytes,
            input.ConsumeIntegralInRange(0, 9) == 0 ? input.ConsumeIntegral<uint32_t>() : 3u);
  for (int count = input.ConsumeIntegralInRange(0, 80); count > 0; --count) {
    const uint32_t option = input.PickValueInArray(kOptions);
    const std::string payload = make_payload(input, option);
    const bool lies = input.ConsumeIntegralInRange(0, 19) == 0;
    append_be(bytes, input.ConsumeIntegralInRange(0, 49) == 0 ? 1 : kOptionMagic);
    append_be(bytes, option);
    append_be(bytes,
              lies ? input.ConsumeIntegral<uint32_t>() : static_cast<uint32_t>(payload.size()));
    bytes += payload;
  }
  return bytes;
}

// Every reply but the one to EXPORT_NAME, which has no frame and ends the handshake.
void check_replies(ByteView output) {
  while (output.size() >= kOptionReplyHeaderBytes) {
    require(take_be<uint64_t>(output) == kOptionReplyMagic);
    take_be<uint32_t>(output);
    take_be<uint32_t>(output);
    const auto size = take_be<uint32_t>(output);
    require(size <= output.size() && size <= 2 * kNameBytesMax + 4);
    output = output.subspan(size);
  }
  require(output.empty());
}

void run(FuzzedDataProvider& input) {
  HandshakeOptions options;
  options.tls =
      input.PickValueInArray({TlsPolicy::kNone, TlsPolicy::kOffered, TlsPolicy::kRequired});
  options.output_bytes_soft_max = input.ConsumeIntegralInRange<size_t>(1, 8192);
  const size_t part_max = input.ConsumeIntegralInRange<size_t>(1, 4096);
  FuzzExports exports;
  NbdHandshake handshake(options, exports);
  const std::string bytes = make_bytes(input);
  ByteView rest = as_bytes(bytes);
  bool is_tls = false;
  for (;;) {
    const ByteView part = rest.first(std::min(rest.size(), part_max));
    ByteView left = part;
    Buffer output;
    const NbdHandshake::Next next = handshake.feed(left, output);
    rest = rest.subspan(part.size() - left.size());
    require(output.size() <= options.output_bytes_soft_max + 32 * kKiB);
    require(options.tls != TlsPolicy::kRequired || is_tls || !exports.is_open);
    if (next == NbdHandshake::Next::kTransmission) {
      require(exports.is_open);
      break;
    }
    check_replies(output);
    if (next == NbdHandshake::Next::kClose) break;
    if (next == NbdHandshake::Next::kStartTls) {
      require(options.tls != TlsPolicy::kNone && !is_tls);
      handshake.tls_started();
      is_tls = true;
      require(!handshake.negotiated().structured_replies &&
              !handshake.negotiated().base_allocation);
    }
    require(handshake.negotiated().structured_replies || !handshake.negotiated().base_allocation);
    if (next == NbdHandshake::Next::kReceive) {
      require(left.empty());
      if (rest.empty()) break;
    }
  }
}

}  // namespace
}  // namespace forerun::nbd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  forerun::nbd::run(input);
  return 0;
}
