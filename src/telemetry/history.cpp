#include "telemetry/history.h"

#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/codec.h"
#include "core/id.h"

namespace forerun::telemetry {
namespace {

constexpr uint8_t kRowVersion = 1;
constexpr uint32_t kMantissaDropped = 11;  // of 23 bits

// Rounds to the nearest value that the dropped bits do not tell apart.
uint32_t rounded(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t up = bits + (1u << (kMantissaDropped - 1));
  return (std::isfinite(std::bit_cast<float>(up)) ? up : bits) >> kMantissaDropped;
}
float restored(uint32_t kept) { return std::bit_cast<float>(kept << kMantissaDropped); }

// Bytes of one place of all numbers stand together: they are alike, and compress.
void add_planes(const std::vector<uint32_t>& numbers, Buffer& out) {
  for (uint32_t shift = 0; shift < 32; shift += 8)
    for (const uint32_t number : numbers) out.push_back(static_cast<std::byte>(number >> shift));
}

std::vector<uint32_t> read_planes(ByteView bytes, size_t count) {
  std::vector<uint32_t> numbers(count);
  for (size_t plane = 0; plane < 4; ++plane)
    for (size_t i = 0; i < count; ++i)
      numbers[i] |= static_cast<uint32_t>(bytes[plane * count + i]) << (8 * plane);
  return numbers;
}

bool is_metric(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

}  // namespace

Status check(const SeriesName& name) {
  const bool is_vm = name.entity.starts_with("vm/") && is_valid_name(name.entity.substr(3));
  if (!is_vm && name.entity != "host")
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}' is neither host nor vm/NAME", name.entity.substr(0, 80)));
  if (!is_metric(name.metric))
    return fail(ErrorCode::kInvalid,
                fmt::format("metric '{}' must be 1 to 64 of a-z 0-9 _", name.metric.substr(0, 80)));
  return {};
}

std::string_view resolution_name(Resolution resolution) {
  constexpr std::array<std::string_view, kResolutionCount> kNames{"10s", "1m", "5m", "1h"};
  return kNames[static_cast<size_t>(resolution)];
}

Resolution resolution_for(int64_t seconds, size_t points_max) {
  for (size_t i = 0; i < kResolutionCount; ++i) {
    const bool fits = seconds / kResolutions[i].seconds <= static_cast<int64_t>(points_max);
    if (fits && seconds <= kResolutions[i].kept_seconds) return static_cast<Resolution>(i);
  }
  return Resolution::k1h;
}

Buffer encode_row(std::vector<HistoryPoint> points) {
  FR_ASSERT(points.size() <= kRowPointsMax);
  std::ranges::sort(points, {}, &HistoryPoint::series);
  std::vector<uint32_t> steps, means, above;
  uint32_t last = 0;
  for (const HistoryPoint& point : points) {
    steps.push_back(point.series - last);
    last = point.series;
    means.push_back(rounded(point.mean));
    // In most rows of the finest resolution there is nothing above the mean.
    above.push_back(rounded(point.max) ^ means.back());
  }
  Buffer plain;
  plain.reserve(12 * points.size());
  for (const auto* column : {&steps, &means, &above}) add_planes(*column, plain);
  ByteWriter out;
  out.u8(kRowVersion);
  out.u32(static_cast<uint32_t>(points.size()));
  Buffer packed(ZSTD_compressBound(plain.size()));
  const size_t bytes = ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 3);
  FR_ASSERT(ZSTD_isError(bytes) == 0, "compressing into a buffer that is large enough failed");
  out.bytes(ByteView(packed).first(bytes));
  return out.take();
}

Result<std::vector<HistoryPoint>> decode_row(ByteView bytes) {
  ByteReader in(bytes);
  const uint8_t version = in.u8();
  const size_t count = in.u32();
  if (!in.good() || version != kRowVersion)
    return fail(ErrorCode::kCorrupt, "a row of the history has no known beginning");
  if (count > kRowPointsMax)
    return fail(ErrorCode::kTooLarge, fmt::format("a row of {} points", count));
  const ByteView packed = in.bytes(in.left());
  Buffer plain(12 * count);
  const size_t size = ZSTD_decompress(plain.data(), plain.size(), packed.data(), packed.size());
  if (ZSTD_isError(size) != 0 || size != plain.size())
    return fail(ErrorCode::kCorrupt, "a row of the history does not decompress");
  const ByteView all(plain);
  const auto steps = read_planes(all.first(4 * count), count);
  const auto means = read_planes(all.subspan(4 * count, 4 * count), count);
  const auto above = read_planes(all.subspan(8 * count), count);
  std::vector<HistoryPoint> points(count);
  uint32_t series = 0;
  for (size_t i = 0; i < count; ++i) {
    series += steps[i];
    points[i] = {series, restored(means[i]), restored(above[i] ^ means[i])};
    if ((i > 0 && steps[i] == 0) || !std::isfinite(points[i].mean) || !std::isfinite(points[i].max))
      return fail(ErrorCode::kCorrupt, fmt::format("point {} of a row of the history is none", i));
  }
  return points;
}

void RowMerger::add(std::span<const HistoryPoint> row) {
  std::vector<std::pair<uint32_t, Sum>> merged;
  merged.reserve(std::max(sums_.size(), row.size()));
  auto known = sums_.begin();
  for (const HistoryPoint& point : row) {
    while (known != sums_.end() && known->first < point.series) merged.push_back(*known++);
    Sum sum{0, point.max, 0};
    if (known != sums_.end() && known->first == point.series) sum = (known++)->second;
    sum.means += point.mean;
    sum.max = std::max(sum.max, point.max);
    ++sum.count;
    merged.emplace_back(point.series, sum);
  }
  merged.insert(merged.end(), known, sums_.end());
  sums_ = std::move(merged);
}

std::vector<HistoryPoint> RowMerger::take() {
  std::vector<HistoryPoint> points;
  points.reserve(sums_.size());
  for (const auto& [series, sum] : sums_)
    points.push_back({series, static_cast<float>(sum.means / sum.count), sum.max});
  sums_.clear();
  return points;
}

}  // namespace forerun::telemetry
