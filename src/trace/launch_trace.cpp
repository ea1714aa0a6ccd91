#include "trace/launch_trace.h"

#include <fmt/core.h>
#include <zstd.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace forerun::trace {
namespace {

constexpr size_t kPieceBytes = 64 * 1024;
constexpr uint32_t kZstdMagic = 0xfd2fb528;
constexpr int kWindowLogMax = 27;  // 128 MiB: what zstd's own tools accept by default

// Adds one to the manifest's part, keeping parts in order.
void add_to(std::vector<LaunchBatch::Part>& parts, uint32_t manifest) {
  const auto at = std::lower_bound(
      parts.begin(), parts.end(), manifest,
      [](const LaunchBatch::Part& part, uint32_t number) { return part.manifest < number; });
  if (at != parts.end() && at->manifest == manifest)
    ++at->launches;
  else
    parts.insert(at, {manifest, 1});
}

}  // namespace

bool is_launch_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-' || c == ':' || c == '+';
  });
}

std::string launch_line(const LaunchBin& bin, const LaunchNames& names) {
  std::string line = fmt::format("{} ", bin.second);
  const auto add = [&](const std::vector<LaunchBatch::Part>& parts, std::string_view mark) {
    for (const LaunchBatch::Part& part : parts)
      for (uint32_t i = 0; i < part.launches; ++i)
        line += fmt::format("{}{},", mark, names.name_of(part.manifest));
  };
  for (size_t i = 0; i < bin.batches.size(); ++i) {
    const LaunchBatch& batch = bin.batches[i];
    if (i > 0) line += ',';
    add(batch.parts, "");
    add(batch.stops, "~");
    if (!batch.host.empty()) line += fmt::format("@{},", batch.host);
    if (!batch.tenant.empty()) line += fmt::format("%{},", batch.tenant);
    line += '|';
  }
  return line + '\n';
}

uint32_t LaunchNames::number_of(std::string_view name) {
  if (const auto found = numbers_.find(name); found != numbers_.end()) return found->second;
  const auto number = static_cast<uint32_t>(names_.size());
  names_.emplace_back(name);
  numbers_.emplace(name, number);
  return number;
}

// The file in pieces, decompressed if it is compressed.
struct LaunchTraceReader::Decoder {
  explicit Decoder(StorageFile& source) : file(source) {}
  ~Decoder() { ZSTD_freeDCtx(context); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  StorageFile& file;
  Buffer raw;
  size_t raw_taken = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  bool begun = false;
  bool compressed = false;
  bool within_frame = false;
  bool holds_more = false;  // decoded, but there was no room for it
  ZSTD_DCtx* context = nullptr;

  Status read_raw() {
    raw.resize(static_cast<size_t>(std::min<uint64_t>(kPieceBytes, size - offset)));
    raw_taken = 0;
    if (raw.empty()) return {};
    FR_CHECK(file.read(offset, raw));
    offset += raw.size();
    return {};
  }

  Status begin() {
    begun = true;
    FR_TRY(size, file.size());
    FR_CHECK(read_raw());
    uint32_t magic = 0;
    for (size_t i = 0; i < 4 && raw.size() >= 4; ++i)
      magic |= static_cast<uint32_t>(std::to_integer<uint8_t>(raw[i])) << (8 * i);
    compressed = magic == kZstdMagic;
    if (!compressed) return {};
    context = ZSTD_createDCtx();
    if (!context) return fail(ErrorCode::kInternal, "cannot make a decompressor");
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, kWindowLogMax);
    return {};
  }

  // Appends some text. Returns false at the end.
  Result<bool> more(std::string& text) {
    if (!begun) FR_CHECK(begin());
    if (raw_taken == raw.size() && !holds_more) FR_CHECK(read_raw());
    if (raw.empty() && !holds_more) {
      if (within_frame) return fail(ErrorCode::kCorrupt, "the compressed data ends early");
      return false;
    }
    const size_t before = text.size();
    if (!compressed) {
      text.append(reinterpret_cast<const char*>(raw.data()), raw.size());
      raw_taken = raw.size();
      return true;
    }
    text.resize(before + kPieceBytes);
    ZSTD_inBuffer in{raw.data(), raw.size(), raw_taken};
    ZSTD_outBuffer out{text.data() + before, kPieceBytes, 0};
    const size_t left = ZSTD_decompressStream(context, &out, &in);
    text.resize(before + out.pos);
    if (ZSTD_isError(left))
      return fail(ErrorCode::kCorrupt,
                  fmt::format("the compressed data is damaged: {}", ZSTD_getErrorName(left)));
    raw_taken = in.pos;
    within_frame = left != 0;
    holds_more = left != 0 && out.pos == out.size;
    return true;
  }
};

LaunchTraceReader::LaunchTraceReader(StorageFile& file, std::string label, LaunchNames& names,
                                     Limits limits)
    : label_(std::move(label)),
      names_(names),
      limits_(limits),
      decoder_(std::make_unique<Decoder>(file)) {}

LaunchTraceReader::~LaunchTraceReader() = default;

std::unexpected<Error> LaunchTraceReader::wrong(std::string_view what, ErrorCode code) const {
  return fail(code,
              fmt::format("cannot read launches of {}, line {}: {}", label_, line_number_, what));
}

// Drops what was given out and decodes some more.
Status LaunchTraceReader::fill() {
  text_.erase(0, taken_);
  taken_ = 0;
  const size_t before = text_.size();
  auto more = decoder_->more(text_);
  is_broken_ = !more || decoded_ + text_.size() - before > limits_.text_bytes_max;
  if (!more)
    return std::unexpected(
        std::move(more.error())
            .within(fmt::format("cannot read launches of {} after line {}", label_, line_number_)));
  ended_ = !*more;
  decoded_ += text_.size() - before;
  if (decoded_ > limits_.text_bytes_max)
    return wrong(fmt::format("more than {} bytes of text", limits_.text_bytes_max),
                 ErrorCode::kTooLarge);
  return {};
}

Result<bool> LaunchTraceReader::line(std::string& out) {
  ++line_number_;
  size_t searched = 0;
  for (;;) {
    const size_t end = text_.find('\n', taken_ + searched);
    const size_t bytes = (end == std::string::npos ? text_.size() : end) - taken_;
    is_broken_ = bytes > limits_.line_bytes_max;
    if (is_broken_)
      return wrong(fmt::format("longer than {} bytes", limits_.line_bytes_max),
                   ErrorCode::kTooLarge);
    if (end != std::string::npos) {
      out.assign(text_, taken_, bytes);
      taken_ = end + 1;
      return true;
    }
    if (ended_) {
      out.assign(text_, taken_, bytes);
      taken_ = text_.size();
      return bytes > 0;
    }
    searched = bytes;
    FR_CHECK(fill());
  }
}

Result<bool> LaunchTraceReader::next(LaunchBin& bin) {
  std::string text;
  FR_TRY(const bool is_line, line(text));
  if (!is_line) return false;
  FR_CHECK(parse(text, bin));
  return true;
}

Status LaunchTraceReader::parse(std::string_view line, LaunchBin& bin) {
  bin.batches.clear();
  const char* end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data(), end, bin.second);
  if (error != std::errc{} || (stop != end && *stop != ' '))
    return wrong("expected seconds, a blank and batches");
  if (bin.second > limits_.second_max)
    return wrong(fmt::format("second {} is over {}", bin.second, limits_.second_max),
                 ErrorCode::kTooLarge);
  if (any_ && bin.second < last_second_)
    return wrong(fmt::format("second {} does not come after {}", bin.second, last_second_));
  any_ = true;
  last_second_ = bin.second;
  if (stop == end || stop + 1 == end) return {};
  return parse_batches(line.substr(static_cast<size_t>(stop + 1 - line.data())), bin);
}

Status LaunchTraceReader::parse_batches(std::string_view list, LaunchBin& bin) {
  LaunchBatch batch;
  for (size_t from = 0; from <= list.size();) {
    const size_t comma = std::min(list.find(',', from), list.size());
    const std::string_view item = list.substr(from, comma - from);
    from = comma + 1;
    if (item != "|") {
      FR_CHECK(parse_item(item, batch));
      continue;
    }
    if (batch.parts.empty() && batch.stops.empty()) return wrong("a batch without launches");
    bin.batches.push_back(std::exchange(batch, {}));
  }
  if (batch != LaunchBatch{}) return wrong("the last batch is not ended by '|'");
  return {};
}

Status LaunchTraceReader::parse_item(std::string_view item, LaunchBatch& batch) {
  if (item.starts_with('@')) {
    FR_CHECK(check_name(item.substr(1)));
    if (!batch.host.empty()) return wrong("a batch names two hosts");
    batch.host = item.substr(1);
    return {};
  }
  if (item.starts_with('%')) {
    FR_CHECK(check_name(item.substr(1)));
    if (!batch.tenant.empty()) return wrong("a batch names two tenants");
    batch.tenant = item.substr(1);
    return {};
  }
  const bool is_stop = item.starts_with('~');
  FR_TRY(const uint32_t manifest, parse_name(is_stop ? item.substr(1) : item));
  add_to(is_stop ? batch.stops : batch.parts, manifest);
  return {};
}

Status LaunchTraceReader::check_name(std::string_view name) const {
  if (name.size() > limits_.name_bytes_max)
    return wrong(fmt::format("a name longer than {} bytes", limits_.name_bytes_max),
                 ErrorCode::kTooLarge);
  if (!is_launch_name(name))
    return wrong("a name is empty or holds other than letters, digits and ._-:+");
  return {};
}

Result<uint32_t> LaunchTraceReader::parse_name(std::string_view name) {
  FR_CHECK(check_name(name));
  const uint32_t number = names_.number_of(name);
  if (names_.size() > limits_.names_max)
    return wrong(fmt::format("more than {} different names", limits_.names_max),
                 ErrorCode::kTooLarge);
  return number;
}

}  // namespace forerun::trace
