#include "image/ar_reader.h"

#include <fmt/format.h>

#include <array>

#include "image/tar_format.h"

namespace forerun::image {
namespace {

constexpr std::string_view kMagic = "!<arch>\n";
constexpr size_t kHeaderSize = 60;
constexpr size_t kNameSize = 16, kSizeAt = 48, kSizeSize = 10, kEndAt = 58;

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::kCorrupt, std::move(what));
}

std::string_view trimmed(std::string_view field) {
  return field.substr(0, field.find_last_not_of(' ') + 1);
}

Result<ArMember> parse_header(ByteView bytes) {
  const std::string_view header = as_text(bytes);
  if (header.substr(kEndAt) != "`\n") return corrupt("an ar header does not end as one does");
  std::string_view name = trimmed(header.substr(0, kNameSize));
  if (name.size() > 1 && name.ends_with('/')) name.remove_suffix(1);
  const bool is_plain = !name.empty() && std::ranges::all_of(name, [](char c) {
    return c > ' ' && c < '\x7f' && c != '/';
  });
  if (!is_plain)
    return corrupt(fmt::format("'{}' cannot name a member", printable(header.substr(0, 16))));
  const std::string_view size = trimmed(header.substr(kSizeAt, kSizeSize));
  const auto number = parse_decimal(size);
  if (!number) return corrupt(fmt::format("member '{}' has the size '{}'", name, printable(size)));
  return ArMember{std::string(name), *number};
}

}  // namespace

Status ArReader::skip_rest() {
  Buffer scrap(std::min<uint64_t>(left_, 64 * kKiB));
  while (left_ > 0) {
    FR_TRY(const size_t count, read(MutableByteView(scrap)));
    if (count == 0) break;
  }
  if (!is_padded_) return {};
  is_padded_ = false;
  std::array<std::byte, 1> pad{};
  FR_TRY(const size_t count, read_full(stream_, pad));
  // dpkg-deb leaves it away behind the last member of some packages.
  if (count == 1 && pad[0] != std::byte{'\n'})
    return corrupt("what fills up a member is no line feed");
  return {};
}

Result<std::optional<ArMember>> ArReader::next() {
  if (!is_begun_) {
    Buffer magic(kMagic.size());
    FR_TRY(const size_t count, read_full(stream_, magic));
    if (as_text(ByteView(magic).first(count)) != kMagic) return corrupt("this is no ar archive");
    is_begun_ = true;
  }
  FR_CHECK(skip_rest());
  Buffer header(kHeaderSize);
  FR_TRY(const size_t count, read_full(stream_, header));
  if (count == 0) return std::nullopt;
  if (count < kHeaderSize) return corrupt("the ar archive is cut off within a header");
  if (++members_ > kMembersMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("the ar archive has over {} members", kMembersMax));
  FR_TRY(ArMember member, parse_header(header));
  left_ = member.size;
  is_padded_ = member.size % 2 != 0;
  return member;
}

Result<size_t> ArReader::read(MutableByteView out) {
  if (left_ == 0) return size_t{0};
  FR_TRY(const size_t count, stream_(out.first(std::min<uint64_t>(out.size(), left_))));
  if (count == 0) return corrupt("the ar archive is cut off within a member");
  left_ -= count;
  return count;
}

}  // namespace forerun::image
