#include "image/signed_tag.h"

#include <fmt/format.h>

#include "image/component_tag.h"
#include "repository/image_index.h"

namespace forerun::image {
namespace {

constexpr std::string_view kImageFolder = "images/";
constexpr std::string_view kComponentFolder = "component-tags/";

std::string path_of(const repository::ImageTag& tag) { return repository::image_path(tag.name); }
std::string path_of(const ComponentTag& tag) { return component_tag_path(tag.name); }

// Calls `use` with the tag as what it is.
template <typename T, typename Use>
Result<T> with_tag(std::string_view path, ByteView data, const Use& use) {
  const auto checked = [&](auto tag) -> Result<T> {
    if (!tag) return std::unexpected(std::move(tag.error()).within(path));
    if (path_of(*tag) != path)
      return fail(ErrorCode::kCorrupt, fmt::format("{} is the tag of {}", path, tag->name));
    return use(std::move(*tag));
  };
  if (path.starts_with(kImageFolder)) return checked(repository::parse_tag(as_text(data)));
  if (path.starts_with(kComponentFolder)) return checked(parse_component_tag(as_text(data)));
  return fail(ErrorCode::kInvalid, fmt::format("{} is no tag", path));
}

}  // namespace

bool is_tag_path(std::string_view path) {
  return path.starts_with(kImageFolder) || path.starts_with(kComponentFolder);
}

Result<TagClaim> read_claim(std::string_view path, ByteView tag) {
  return with_tag<TagClaim>(path, tag, [](const auto& known) {
    return TagClaim{path_of(known), known.index, known.created, known.signature};
  });
}

Result<std::string> with_signature(std::string_view path, ByteView tag,
                                   const repository::Signature& signature) {
  return with_tag<std::string>(path, tag, [&](auto known) {
    known.signature = signature;
    return serialize(known);
  });
}

Status check_tag(const repository::TrustPolicy& policy, std::string_view path, ByteView tag) {
  FR_TRY(const TagClaim claim, read_claim(path, tag));
  auto trusted = repository::check_trust(policy, claim.statement(), claim.signature);
  if (trusted) return {};
  return std::unexpected(std::move(trusted.error()).within(fmt::format("cannot trust {}", path)));
}

}  // namespace forerun::image
