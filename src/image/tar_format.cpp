// SOURCE: POSIX.1-2017, pax ("ustar Interchange Format", "pax Header Block"); GNU tar manual,
// "Basic Tar Format" and "Storing Sparse Files".
#include "image/tar_format.h"

#include <fmt/format.h>

#include "image/tree_builder.h"
#include "image/tree_limits.h"

namespace forerun::image {
namespace {

// Where fields stand in a header block, and how long they are.
struct Field {
  size_t at, size;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12},
    kMtime{136, 12}, kChecksum{148, 8}, kType{156, 1}, kLink{157, 100}, kMagic{257, 8},
    kMajor{329, 8}, kMinor{337, 8}, kPrefix{345, 155}, kRealSize{483, 12};
constexpr size_t kRunSize = 24;  // two fields of 12
constexpr int64_t kTimeMax = 1ll << 40;
constexpr size_t kPrintableMax = 200;
constexpr std::string_view kXattrKey = "SCHILY.xattr.";

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::kCorrupt, std::move(what));
}

ByteView field(ByteView block, Field which) { return block.subspan(which.at, which.size); }

// Returns the text up to the first NUL, or all of it.
std::string_view text_of(ByteView bytes) {
  const std::string_view text = as_text(bytes);
  return text.substr(0, std::min(text.find('\0'), text.size()));
}

// GNU's form for what octal digits cannot hold: bit 7 of the first byte, then a signed number.
Result<int64_t> parse_binary(ByteView bytes) {
  const auto first = std::to_integer<uint8_t>(bytes[0]);
  const bool is_negative = (first & 0x40) != 0;
  uint64_t value = is_negative ? ~uint64_t{0} : 0;
  const uint8_t filler = is_negative ? 0xff : 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    auto byte = std::to_integer<uint8_t>(bytes[i]);
    if (i == 0) byte = static_cast<uint8_t>(is_negative ? byte | 0x80 : byte & 0x3f);
    if (value >> 56 != filler) return corrupt("is a number out of range");
    value = value << 8 | byte;
  }
  if ((value >> 63 != 0) != is_negative) return corrupt("is a number out of range");
  return static_cast<int64_t>(value);
}

// Returns the number in a field, or nothing if it is blank.
Result<std::optional<int64_t>> parse_number(ByteView bytes) {
  if ((std::to_integer<uint8_t>(bytes[0]) & 0x80) != 0) {
    FR_TRY(const int64_t value, parse_binary(bytes));
    return value;
  }
  std::string_view text = as_text(bytes);
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  int64_t value = 0;
  size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '7'; ++digits)
    value = value * 8 + (text[digits] - '0');
  for (const char c : text.substr(digits)) {
    if (c != ' ' && c != '\0') return corrupt("is no octal number");
  }
  if (digits == 0) return std::nullopt;
  return value;
}

Result<int64_t> number_in(ByteView block, Field which, std::string_view what, int64_t max,
                          int64_t min = 0) {
  auto value = parse_number(field(block, which));
  if (!value) return corrupt(fmt::format("its {} {}", what, value.error().message));
  const int64_t number = value->value_or(0);
  if (number < min || number > max)
    return corrupt(fmt::format("its {} {} is out of range", what, number));
  return number;
}

Status check_sum(ByteView block) {
  uint64_t sum = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    const bool is_sum = i >= kChecksum.at && i < kChecksum.at + kChecksum.size;
    sum += is_sum ? uint64_t{' '} : std::to_integer<uint64_t>(block[i]);
  }
  const auto said = parse_number(field(block, kChecksum));
  if (!said || !*said || **said != static_cast<int64_t>(sum))
    return corrupt("its header's checksum is wrong");
  return {};
}

// Returns seconds and nanoseconds of "-12.5": -13 and 500,000,000.
Result<std::pair<int64_t, uint32_t>> parse_time(std::string_view text) {
  const bool is_negative = text.starts_with('-');
  if (is_negative) text.remove_prefix(1);
  const size_t dot = std::min(text.find('.'), text.size());
  const auto whole = parse_decimal(text.substr(0, dot));
  if (!whole || *whole > static_cast<uint64_t>(kTimeMax)) return corrupt("a time that is none");
  std::string_view fraction = text.substr(std::min(dot + 1, text.size()));
  uint32_t nanoseconds = 0;
  for (size_t i = 0; i < 9; ++i) {
    const char digit = i < fraction.size() ? fraction[i] : '0';
    if (digit < '0' || digit > '9') return corrupt("a time that is none");
    nanoseconds = nanoseconds * 10 + static_cast<uint32_t>(digit - '0');
  }
  if (fraction.find_first_not_of("0123456789") != fraction.npos)
    return corrupt("a time that is none");
  auto seconds = static_cast<int64_t>(*whole);
  if (!is_negative) return std::pair(seconds, nanoseconds);
  if (nanoseconds == 0) return std::pair(-seconds, 0u);
  return std::pair(-seconds - 1, 1'000'000'000 - nanoseconds);
}

Result<std::vector<TarRun>> parse_map(std::string_view text) {
  std::vector<TarRun> runs;
  std::vector<uint64_t> numbers;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    FR_TRY(numbers.emplace_back(), parse_decimal(text.substr(0, comma)));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  if (numbers.size() % 2 != 0) return corrupt("a sparse map of half a run");
  for (size_t i = 0; i < numbers.size(); i += 2) runs.push_back({numbers[i], numbers[i + 1]});
  return runs;
}

Status apply_sparse(std::string_view key, std::string_view value, PaxRecords& records) {
  records.is_sparse = true;
  if (key == "GNU.sparse.name") {
    records.sparse_name = value;
    return {};
  }
  if (key == "GNU.sparse.map") {
    FR_TRY(records.sparse_map, parse_map(value));
    return {};
  }
  FR_TRY(const uint64_t number, parse_decimal(value));
  if (key == "GNU.sparse.major") records.sparse_major = static_cast<uint32_t>(number);
  if (key == "GNU.sparse.minor") records.sparse_minor = static_cast<uint32_t>(number);
  if (key == "GNU.sparse.realsize" || key == "GNU.sparse.size") records.sparse_size = number;
  if (key == "GNU.sparse.offset") records.sparse_map.push_back({number, 0});
  if (key == "GNU.sparse.numbytes") {
    if (records.sparse_map.empty()) return corrupt("a sparse map that begins with a length");
    records.sparse_map.back().length = number;
  }
  return {};
}

Status apply(std::string_view key, std::string_view value, PaxRecords& records) {
  const auto owner = [&]() -> Result<uint32_t> {
    FR_TRY(const uint64_t number, parse_decimal(value));
    if (number >= UINT32_MAX) return corrupt("an owner out of range");
    return static_cast<uint32_t>(number);
  };
  if (key == "path") records.path = value;
  if (key == "linkpath") records.link = value;
  if (key == "size") {
    FR_TRY(records.size, parse_decimal(value));
  }
  if (key == "uid") {
    FR_TRY(records.uid, owner());
  }
  if (key == "gid") {
    FR_TRY(records.gid, owner());
  }
  if (key == "mtime") {
    FR_TRY(records.mtime, parse_time(value));
  }
  if (key.starts_with("GNU.sparse.")) return apply_sparse(key, value, records);
  if (key.starts_with(kXattrKey)) {
    const ByteView bytes = as_bytes(value);
    records.xattrs.push_back(
        {std::string(key.substr(kXattrKey.size())), Buffer(bytes.begin(), bytes.end())});
  }
  return {};
}

}  // namespace

Result<TarHeader> parse_tar_header(ByteView block) {
  FR_CHECK(check_sum(block));
  TarHeader header;
  const std::string_view magic = as_text(field(block, kMagic));
  header.is_gnu = magic == std::string_view("ustar  \0", 8);
  const bool is_ustar = magic.starts_with(std::string_view("ustar\0", 6));
  header.name = text_of(field(block, kName));
  const std::string_view prefix = text_of(field(block, kPrefix));
  if (is_ustar && !prefix.empty()) header.name = fmt::format("{}/{}", prefix, header.name);
  header.link = text_of(field(block, kLink));
  header.type = static_cast<char>(block[kType.at]);
  if (header.type == '\0') header.type = '0';
  auto read = [&]() -> Status {
    FR_TRY(const int64_t mode, number_in(block, kMode, "mode", 0177777));
    FR_TRY(const int64_t uid, number_in(block, kUid, "uid", UINT32_MAX - 1));
    FR_TRY(const int64_t gid, number_in(block, kGid, "gid", UINT32_MAX - 1));
    if (const auto blank = parse_number(field(block, kSize)); blank && !*blank)
      return corrupt("its size is missing");
    FR_TRY(const int64_t size, number_in(block, kSize, "size", kFileSizeMax));
    FR_TRY(header.mtime_s, number_in(block, kMtime, "time", kTimeMax, -kTimeMax));
    header.mode = static_cast<uint32_t>(mode) & kModeMax;
    header.uid = static_cast<uint32_t>(uid);
    header.gid = static_cast<uint32_t>(gid);
    header.size = static_cast<uint64_t>(size);
    if (header.type != '3' && header.type != '4') return {};
    FR_TRY(const int64_t major, number_in(block, kMajor, "device", kDeviceMajorMax));
    FR_TRY(const int64_t minor, number_in(block, kMinor, "device", kDeviceMinorMax));
    header.device_major = static_cast<uint32_t>(major);
    header.device_minor = static_cast<uint32_t>(minor);
    return {};
  };
  if (Status status = read(); !status) {
    return std::unexpected(
        std::move(status.error()).within(fmt::format("'{}'", printable(header.name))));
  }
  return header;
}

Result<PaxRecords> parse_pax(ByteView body) {
  PaxRecords records;
  std::string_view text = as_text(body);
  while (!text.empty()) {
    // "27 mtime=1700000000.123456\n", where 27 counts all of it.
    const size_t space = text.substr(0, 12).find(' ');
    if (space == text.npos) return corrupt("a PAX record has no length");
    const auto length = parse_decimal(text.substr(0, space));
#ifdef FORERUN_PLANT_BUG_TAR  // set by fuzz/component/prove.sh only
    const bool fits = length && *length > space + 1;
#else
    const bool fits = length && *length > space + 1 && *length <= text.size();
#endif
    if (!fits || text[*length - 1] != '\n') return corrupt("a PAX record's length is wrong");
    const std::string_view record = text.substr(space + 1, *length - space - 2);
    const size_t equals = record.find('=');
    if (equals == record.npos || equals == 0) return corrupt("a PAX record has no key");
    const std::string_view key = record.substr(0, equals);
    if (Status status = apply(key, record.substr(equals + 1), records); !status) {
      return corrupt(
          fmt::format("its PAX record '{}' is {}", printable(key), status.error().message));
    }
    text.remove_prefix(*length);
  }
  return records;
}

bool is_harmless(const PaxRecords& global) {
  return !global.path && !global.link && !global.size && !global.uid && !global.gid &&
         !global.mtime && global.xattrs.empty() && !global.is_sparse;
}

Status append_gnu_runs(ByteView block, size_t at, size_t count, std::vector<TarRun>& runs) {
  constexpr auto kMax = static_cast<int64_t>(kFileSizeMax);
  for (size_t i = 0; i < count; ++i, at += kRunSize) {
    const auto first = parse_number(field(block, {at, 12}));
    if (first && !*first) return {};
    FR_TRY(const int64_t offset, number_in(block, {at, 12}, "sparse map", kMax));
    FR_TRY(const int64_t length, number_in(block, {at + 12, 12}, "sparse map", kMax));
    runs.push_back({static_cast<uint64_t>(offset), static_cast<uint64_t>(length)});
  }
  return {};
}

bool has_more_gnu_runs(ByteView block, size_t at) { return block[at] != std::byte{0}; }

Result<uint64_t> gnu_real_size(ByteView header) {
  FR_TRY(const int64_t size, number_in(header, kRealSize, "size", kFileSizeMax));
  return static_cast<uint64_t>(size);
}

Result<uint64_t> parse_decimal(std::string_view text) {
  if (text.empty() || text.size() > 18) return corrupt("no decimal number");
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return corrupt("no decimal number");
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

Result<std::string> plain_path(std::string_view path) {
  const auto refuse = [](std::string_view what) {
    return fail(ErrorCode::kInvalid, std::string(what));
  };
  if (path.empty()) return refuse("has no name");
  if (path[0] == '/') return refuse("is an absolute path");
  std::string plain;
  plain.reserve(path.size());
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") return refuse("leads out of the archive with '..'");
    if (!is_valid_tree_name(part)) return refuse("has a name that is too long or holds a NUL");
    if (!plain.empty()) plain += '/';
    plain += part;
    if (plain.size() + 1 > kPathBytesMax) return refuse("is too long a path");
  }
  return plain;
}

std::string printable(std::string_view text) {
  std::string out(text.substr(0, kPrintableMax));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  }
  if (text.size() > kPrintableMax) out += "…";
  return out;
}

}  // namespace forerun::image
