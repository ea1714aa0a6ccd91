#include "telemetry/remote_read.h"

#include <snappy.h>

#include <bit>
#include <optional>

namespace forerun::telemetry {
namespace {

enum WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// A message is built as text: what snappy takes.
void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}
void put_number(std::string& out, uint32_t field, uint64_t value) {
  put_varint(out, field << 3 | kVarint);
  put_varint(out, value);
}
void put_text(std::string& out, uint32_t field, std::string_view text) {
  put_varint(out, field << 3 | kBytes);
  put_varint(out, text.size());
  out += text;
}

struct WireField {
  uint32_t number = 0;
  WireType type = kVarint;
  uint64_t value = 0;  // of kVarint, kFixed64, kFixed32
  std::string_view bytes;
};

// Reads the fields of one message; at the first that is none it turns bad, and ends.
class WireReader {
 public:
  explicit WireReader(std::string_view message) : left_(message) {}
  std::optional<WireField> next() {
    if (left_.empty() || !good_) return std::nullopt;
    const uint64_t key = varint();
    WireField field{.number = static_cast<uint32_t>(key >> 3),
                    .type = static_cast<WireType>(key & 7)};
    if (key >> 3 == 0 || key >> 32 != 0) good_ = false;
    if (field.type == kVarint)
      field.value = varint();
    else if (field.type == kFixed64 || field.type == kFixed32)
      field.value = fixed(field.type == kFixed64 ? 8 : 4);
    else if (field.type == kBytes)
      field.bytes = take(varint());
    else
      good_ = false;
    return good_ ? std::optional(field) : std::nullopt;
  }
  bool good() const { return good_; }

 private:
  std::string_view take(uint64_t size) {
    good_ = good_ && size <= left_.size();
    if (!good_) return {};
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(size);
    return taken;
  }
  uint64_t fixed(size_t size) {
    uint64_t value = 0, shift = 0;
    for (const char byte : take(size)) {
      value |= uint64_t{static_cast<uint8_t>(byte)} << shift;
      shift += 8;
    }
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 64; shift += 7) {
      const std::string_view byte = take(1);
      if (byte.empty()) return 0;
      const auto bits = static_cast<uint8_t>(byte[0]);
      value |= uint64_t{bits & 0x7fU} << shift;
      if (bits < 0x80) return value;
    }
    good_ = false;  // over ten bytes
    return 0;
  }

  std::string_view left_;
  bool good_ = true;
};

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("not an answer to remote read: {}", what));
}

// Label: name = 1, value = 2.
Status read_label(std::string_view message, const RemoteLimits& limits, RemoteSeries& series) {
  WireReader fields(message);
  std::string name, value;
  while (const auto field = fields.next()) {
    if (field->number == 1 && field->type == kBytes) name = field->bytes;
    if (field->number == 2 && field->type == kBytes) value = field->bytes;
  }
  if (!fields.good()) return corrupt("a label is cut off");
  if (series.labels.size() >= limits.labels_max)
    return fail(ErrorCode::kTooLarge,
                fmt::format("a series has over {} labels", limits.labels_max));
  series.labels[std::move(name)] = std::move(value);
  return {};
}

// Sample: value = 1 (double), timestamp = 2. What is 0 is not sent.
Result<RemoteSample> read_sample(std::string_view message) {
  WireReader fields(message);
  RemoteSample sample;
  while (const auto field = fields.next()) {
    if (field->number == 1 && field->type == kFixed64)
      sample.value = std::bit_cast<double>(field->value);
    if (field->number == 2 && field->type == kVarint)
      sample.unix_ms = static_cast<int64_t>(field->value);
  }
  if (!fields.good()) return corrupt("a sample is cut off");
  return sample;
}

// TimeSeries: labels = 1, samples = 2.
Result<RemoteSeries> read_series(std::string_view message, const RemoteLimits& limits,
                                 size_t& samples_left) {
  WireReader fields(message);
  RemoteSeries series;
  while (const auto field = fields.next()) {
    if (field->type != kBytes) continue;
    if (field->number == 1) FR_CHECK(read_label(field->bytes, limits, series));
    if (field->number != 2) continue;
    if (samples_left-- == 0)
      return fail(ErrorCode::kTooLarge,
                  fmt::format("the answer has over {} samples", limits.samples_max));
    FR_TRY(const RemoteSample sample, read_sample(field->bytes));
    if (!series.samples.empty() && sample.unix_ms < series.samples.back().unix_ms)
      return corrupt("samples are not in the order of time");
    series.samples.push_back(sample);
  }
  if (!fields.good()) return corrupt("a series is cut off");
  return series;
}

}  // namespace

// ReadRequest: queries = 1, accepted_response_types = 2 (0: samples). Query: start = 1, end = 2 in
// ms, matchers = 3. LabelMatcher: type = 1, name = 2, value = 3.
Buffer encode_remote_read(const RemoteQuery& query) {
  std::string asked;
  put_number(asked, 1, static_cast<uint64_t>(query.from_ms));
  put_number(asked, 2, static_cast<uint64_t>(query.until_ms));
  for (const LabelMatcher& matcher : query.matchers) {
    std::string text;
    put_number(text, 1, static_cast<uint64_t>(matcher.kind));
    put_text(text, 2, matcher.label);
    put_text(text, 3, matcher.value);
    put_text(asked, 3, text);
  }
  std::string request, packed;
  put_text(request, 1, asked);
  put_number(request, 2, 0);
  snappy::Compress(request.data(), request.size(), &packed);
  const ByteView bytes = as_bytes(packed);
  return {bytes.begin(), bytes.end()};
}

// ReadResponse: results = 1. QueryResult: timeseries = 1.
Result<std::vector<RemoteSeries>> decode_remote_read(ByteView body, const RemoteLimits& limits) {
  const std::string_view packed = as_text(body);
  size_t size = 0;
  if (!snappy::GetUncompressedLength(packed.data(), packed.size(), &size))
    return corrupt("it is not packed by snappy");
  if (size > limits.plain_bytes_max)
    return fail(ErrorCode::kTooLarge, fmt::format("the answer has {} bytes, {} are read at most",
                                                  size, limits.plain_bytes_max));
  // Not as large as it says until it is known to be what it says.
  if (!snappy::IsValidCompressedBuffer(packed.data(), packed.size()))
    return corrupt("it does not unpack");
  std::string plain;
  snappy::Uncompress(packed.data(), packed.size(), &plain);
  std::vector<RemoteSeries> all;
  size_t results = 0, samples_left = limits.samples_max;
  WireReader answer(plain);
  while (const auto result = answer.next()) {
    if (result->number != 1 || result->type != kBytes) continue;
    if (++results > 1) return corrupt("it has more results than were asked for");
    WireReader series(result->bytes);
    while (const auto field = series.next()) {
      if (field->number != 1 || field->type != kBytes) continue;
      if (all.size() >= limits.series_max)
        return fail(ErrorCode::kTooLarge,
                    fmt::format("the answer has over {} series", limits.series_max));
      FR_TRY(all.emplace_back(), read_series(field->bytes, limits, samples_left));
    }
    if (!series.good()) return corrupt("a result is cut off");
  }
  if (!answer.good()) return corrupt("it is cut off");
  return all;
}

}  // namespace forerun::telemetry
