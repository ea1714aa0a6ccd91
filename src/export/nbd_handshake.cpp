#include "export/nbd_handshake.h"

namespace forerun::nbd {
namespace {

constexpr size_t kListPage = 8;

template <typename T>
void append_be(Buffer& output, T value) {
  const size_t at = output.size();
  output.resize(at + sizeof value);
  store_be(output.data() + at, value);
}

void append(Buffer& output, ByteView data) {
  output.insert(output.end(), data.begin(), data.end());
}

bool is_known(uint32_t option) {
  switch (option) {
    case kOptExportName:
    case kOptAbort:
    case kOptList:
    case kOptStartTls:
    case kOptInfo:
    case kOptGo:
    case kOptStructuredReply:
    case kOptListMetaContext:
    case kOptSetMetaContext:
      return true;
    default:
      return false;
  }
}

// Returns the string that a 32-bit length precedes, and moves `payload` behind it; nothing if it
// does not fit.
std::optional<std::string_view> take_string(ByteView& payload) {
  if (payload.size() < sizeof(uint32_t)) return std::nullopt;
  const uint32_t length = load_be<uint32_t>(payload.data());
  payload = payload.subspan(sizeof length);
  if (length > payload.size()) return std::nullopt;
  const std::string_view text = as_text(payload.first(length));
  payload = payload.subspan(length);
  return text;
}

bool is_name_too_long(std::string_view name) {
#ifdef FORERUN_PLANT_BUG_NBD
  // What fuzz/nbd/prove.sh must find: CVE-2017-15118, a name copied to the stack before its length
  // is checked.
  char copy[kNameBytesMax];
  std::memcpy(copy, name.data(), name.size());
  asm volatile("" : : "r"(copy) : "memory");
#endif
  return name.size() > kNameBytesMax;
}

}  // namespace

NbdHandshake::NbdHandshake(HandshakeOptions options, HandshakeExports& exports)
    : options_(options), exports_(exports) {}

void NbdHandshake::begin(Buffer& output) {
  append_be(output, kGreetingMagic);
  append_be(output, kOptionMagic);
  append_be(output, static_cast<uint16_t>(kFlagFixedNewstyle | kFlagNoZeroes));
}

NbdHandshake::Next NbdHandshake::feed(ByteView& input, Buffer& output) {
  for (;;) {
    if (const std::optional<Next> next = step(input, output)) return *next;
    if (output.size() >= options_.output_bytes_soft_max) return Next::kSend;
  }
}

void NbdHandshake::tls_started() {
  FR_ASSERT(phase_ == Phase::kStartTls, "tls_started() without kStartTls");
  phase_ = Phase::kOptionHeader;
  tls_active_ = true;
  negotiated_ = {};
  meta_export_.clear();
}

// Does one thing; nothing is returned as long as there is more to do with what is at hand.
std::optional<NbdHandshake::Next> NbdHandshake::step(ByteView& input, Buffer& output) {
  switch (phase_) {
    case Phase::kClientFlags:
      return gather(input, kClientFlagsBytes) ? on_client_flags(input) : Next::kReceive;
    case Phase::kOptionHeader:
      return gather(input, kOptionHeaderBytes) ? on_option_header(input, output) : Next::kReceive;
    case Phase::kPayload:
      return gather(input, payload_bytes_) ? on_payload(input, output) : Next::kReceive;
    case Phase::kSkip:
      return on_skip(input, output);
    case Phase::kList:
      return on_list(output);
    case Phase::kStartTls:
    case Phase::kEnd:
      break;
  }
  return close("fed after its end");
}

// Returns whether pending_ holds `bytes` bytes.
bool NbdHandshake::gather(ByteView& input, size_t bytes) {
  const size_t taken = std::min(bytes - pending_.size(), input.size());
  append(pending_, input.first(taken));
  input = input.subspan(taken);
  return pending_.size() == bytes;
}

NbdHandshake::Next NbdHandshake::close(std::string_view reason) {
  phase_ = Phase::kEnd;
  close_reason_ = reason;
  return Next::kClose;
}

std::optional<NbdHandshake::Next> NbdHandshake::on_client_flags(ByteView&) {
  const uint32_t flags = load_be<uint32_t>(pending_.data());
  pending_.clear();
  if ((flags & ~uint32_t{kFlagFixedNewstyle | kFlagNoZeroes}) != 0)
    return close("unknown client flags");
  fixed_newstyle_ = (flags & kFlagFixedNewstyle) != 0;
  no_zeroes_ = (flags & kFlagNoZeroes) != 0;
  phase_ = Phase::kOptionHeader;
  return std::nullopt;
}

// Returns the error with which the option is refused whatever its payload says.
std::optional<uint32_t> NbdHandshake::refusal() const {
  const bool plain = options_.tls == TlsPolicy::kRequired && !tls_active_;
  if (plain && option_ != kOptStartTls && option_ != kOptAbort) return kRepErrTlsRequired;
  if (!is_known(option_)) return kRepErrUnsupported;
  if (option_ == kOptStartTls && options_.tls == TlsPolicy::kNone) return kRepErrUnsupported;
  if (payload_bytes_ > options_.payload_bytes_max) return kRepErrTooBig;
  if (option_ == kOptExportName && payload_bytes_ > kNameBytesMax) return kRepErrTooBig;
  const bool bare =
      option_ == kOptList || option_ == kOptStartTls || option_ == kOptStructuredReply;
  if (bare && payload_bytes_ != 0) return kRepErrInvalid;
  if (option_ == kOptStartTls && tls_active_) return kRepErrInvalid;
  return std::nullopt;
}

std::optional<NbdHandshake::Next> NbdHandshake::on_option_header(ByteView&, Buffer&) {
  const uint64_t magic = load_be<uint64_t>(pending_.data());
  option_ = load_be<uint32_t>(pending_.data() + 8);
  payload_bytes_ = load_be<uint32_t>(pending_.data() + 12);
  pending_.clear();
  if (magic != kOptionMagic) return close("an option with a wrong magic number");
  received_bytes_ += kOptionHeaderBytes + payload_bytes_;
  if (received_bytes_ > options_.received_bytes_max) return close("too many bytes of options");
  if (++option_count_ > options_.options_max) return close("too many options");
  if (!fixed_newstyle_ && option_ != kOptExportName)
    return close("an option that needs fixed newstyle");
  if (const std::optional<uint32_t> refused = refusal()) {
    // This option has no reply that could carry an error.
    if (option_ == kOptExportName) return close("an export name that cannot be accepted");
    skip_bytes_ = payload_bytes_;
    skip_reply_ = *refused;
    phase_ = Phase::kSkip;
    return std::nullopt;
  }
  phase_ = Phase::kPayload;
  return std::nullopt;
}

std::optional<NbdHandshake::Next> NbdHandshake::on_skip(ByteView& input, Buffer& output) {
  const size_t skipped = std::min<size_t>(skip_bytes_, input.size());
  input = input.subspan(skipped);
  skip_bytes_ -= static_cast<uint32_t>(skipped);
  if (skip_bytes_ > 0) return Next::kReceive;
  phase_ = Phase::kOptionHeader;
  reply(output, skip_reply_);
  return std::nullopt;
}

std::optional<NbdHandshake::Next> NbdHandshake::on_payload(ByteView&, Buffer& output) {
  Buffer payload;
  payload.swap(pending_);
  phase_ = Phase::kOptionHeader;
  return on_option(payload, output);
}

std::optional<NbdHandshake::Next> NbdHandshake::on_option(ByteView payload, Buffer& output) {
  switch (option_) {
    case kOptExportName:
      return on_export_name(payload, output);
    case kOptAbort:
      reply(output, kRepAck);
      return close("");
    case kOptList:
      listed_.reset();
      phase_ = Phase::kList;
      return std::nullopt;
    case kOptStartTls:
      reply(output, kRepAck);
      phase_ = Phase::kStartTls;
      return Next::kStartTls;
    case kOptStructuredReply:
      negotiated_.structured_replies = true;
      reply(output, kRepAck);
      return std::nullopt;
    case kOptInfo:
    case kOptGo:
      return on_info_or_go(payload, output);
    case kOptListMetaContext:
    case kOptSetMetaContext:
      on_meta_context(payload, output);
      return std::nullopt;
    default:
      return close("an option that was not refused in time");
  }
}

std::optional<NbdHandshake::Next> NbdHandshake::on_export_name(ByteView payload, Buffer& output) {
  const std::string_view name = as_text(payload);
  const auto info = exports_.open(name);
  if (!info)
    return close(info.error() == OpenRefusal::kUnknown ? "an unknown export"
                                                       : "too many connections to the export");
  negotiated_.export_name = name;
  if (meta_export_ != name) negotiated_.base_allocation = false;
  append_be(output, info->size_bytes);
  append_be(output, transmission_flags(*info));
  if (!no_zeroes_) output.resize(output.size() + kExportNamePaddingBytes);
  phase_ = Phase::kEnd;
  return Next::kTransmission;
}

std::optional<NbdHandshake::Next> NbdHandshake::on_info_or_go(ByteView payload, Buffer& output) {
  ByteView rest = payload;
  const std::optional<std::string_view> name = take_string(rest);
  if (!name || rest.size() < sizeof(uint16_t) ||
      rest.size() != sizeof(uint16_t) * (1 + size_t{load_be<uint16_t>(rest.data())})) {
    reply_error(output, kRepErrInvalid, "malformed request");
    return std::nullopt;
  }
  if (is_name_too_long(*name)) {
    reply_error(output, kRepErrTooBig, "the export name is too long");
    return std::nullopt;
  }
  const ByteView requests = rest.subspan(sizeof(uint16_t));
  std::optional<ExportInfo> info;
  if (option_ == kOptInfo) {
    info = exports_.describe(*name);
  } else if (auto opened = exports_.open(*name)) {
    info = std::move(*opened);
  } else if (opened.error() == OpenRefusal::kTooManyConnections) {
    reply_error(output, kRepErrPolicy, "the export has too many connections");
    return std::nullopt;
  }
  if (!info) {
    reply_error(output, kRepErrUnknown, "no such export");
    return std::nullopt;
  }
  // A context chosen for one export does not hold for another.
  if (option_ == kOptGo && meta_export_ != *name) negotiated_.base_allocation = false;
  negotiated_.export_name = *name;
  add_info(*info, requests, output);
  reply(output, kRepAck);
  if (option_ == kOptInfo) return std::nullopt;
  phase_ = Phase::kEnd;
  return Next::kTransmission;
}

void NbdHandshake::add_info(const ExportInfo& info, ByteView requests, Buffer& output) const {
  Buffer payload;
  append_be(payload, uint16_t{kInfoExport});
  append_be(payload, info.size_bytes);
  append_be(payload, transmission_flags(info));
  reply(output, kRepInfo, payload);

  payload.clear();
  append_be(payload, uint16_t{kInfoBlockSize});
  append_be(payload, kBlockBytesMin);
  append_be(payload, kBlockBytesPreferred);
  append_be(payload, kPayloadBytesMax);
  reply(output, kRepInfo, payload);

  bool name = false;
  bool description = false;
  for (size_t at = 0; at + sizeof(uint16_t) <= requests.size(); at += sizeof(uint16_t)) {
    const uint16_t type = load_be<uint16_t>(requests.data() + at);
    name |= type == kInfoName;
    description |= type == kInfoDescription;
  }
  if (name) {
    payload.clear();
    append_be(payload, uint16_t{kInfoName});
    append(payload, as_bytes(negotiated_.export_name));
    reply(output, kRepInfo, payload);
  }
  if (description && !info.description.empty()) {
    payload.clear();
    append_be(payload, uint16_t{kInfoDescription});
    append(payload, as_bytes(info.description));
    reply(output, kRepInfo, payload);
  }
}

void NbdHandshake::on_meta_context(ByteView payload, Buffer& output) {
  const bool set = option_ == kOptSetMetaContext;
  if (set) {  // whatever comes of it, the last choice no longer holds
    negotiated_.base_allocation = false;
    meta_export_.clear();
  }
  const std::optional<std::string_view> name = take_string(payload);
  if (!name || payload.size() < sizeof(uint32_t))
    return reply_error(output, kRepErrInvalid, "malformed request");
  const uint32_t query_count = load_be<uint32_t>(payload.data());
  payload = payload.subspan(sizeof query_count);
  bool wanted = query_count == 0 && !set;
  for (uint32_t i = 0; i < query_count; ++i) {
    const std::optional<std::string_view> query = take_string(payload);
    if (!query) return reply_error(output, kRepErrInvalid, "malformed query");
    wanted |= *query == kBaseAllocation || (!set && *query == "base:");
  }
  if (!payload.empty()) return reply_error(output, kRepErrInvalid, "bytes behind the last query");
  if (!negotiated_.structured_replies)
    return reply_error(output, kRepErrInvalid, "structured replies come first");
  if (is_name_too_long(*name) || !exports_.describe(*name))
    return reply_error(output, kRepErrUnknown, "no such export");
  if (wanted) {
    Buffer answer;
    append_be(answer, set ? kBaseAllocationId : uint32_t{0});
    append(answer, as_bytes(kBaseAllocation));
    reply(output, kRepMetaContext, answer);
  }
  if (set) {
    negotiated_.base_allocation = wanted;
    meta_export_ = *name;
  }
  reply(output, kRepAck);
}

// Adds a page of the export list; feed() has a full output sent before the next.
std::optional<NbdHandshake::Next> NbdHandshake::on_list(Buffer& output) {
  const std::vector<ExportEntry> page = exports_.list(listed_ ? &*listed_ : nullptr, kListPage);
  for (const ExportEntry& entry : page) {
    Buffer payload;
    append_be(payload, static_cast<uint32_t>(entry.name.size()));
    append(payload, as_bytes(entry.name));
    append(payload, as_bytes(entry.description));
    reply(output, kRepServer, payload);
    listed_ = entry.name;
  }
  if (page.empty()) {
    reply(output, kRepAck);
    phase_ = Phase::kOptionHeader;
  }
  return std::nullopt;
}

uint16_t NbdHandshake::transmission_flags(const ExportInfo& info) const {
  uint16_t flags = kHasFlags | kSendFlush | kSendCache;
  if (info.read_only)
    flags |= kReadOnly;
  else
    flags |= kSendFua | kSendTrim | kSendWriteZeroes | kSendFastZero;
  if (info.multi_conn) flags |= kCanMultiConn;
  if (negotiated_.structured_replies) flags |= kSendDf;
  return flags;
}

void NbdHandshake::reply(Buffer& output, uint32_t type, ByteView payload) const {
  append_be(output, kOptionReplyMagic);
  append_be(output, option_);
  append_be(output, type);
  append_be(output, static_cast<uint32_t>(payload.size()));
  append(output, payload);
}

void NbdHandshake::reply_error(Buffer& output, uint32_t type, std::string_view message) const {
  reply(output, type, as_bytes(message));
}

}  // namespace forerun::nbd
