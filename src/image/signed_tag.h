// Tags of images and components, signed and checked alike: repository/signature.h says how.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "repository/signature.h"

namespace forerun::image {

// Returns whether `path` is where a tag stands.
bool is_tag_path(std::string_view path);

// What a tag of either kind says.
struct TagClaim {
  std::string path;
  Digest index;
  std::string created;
  std::optional<repository::Signature> signature;
  std::string statement() const { return repository::tag_statement(path, index, created); }
};
// ERRORS: kInvalid if `path` is no tag's; kCorrupt, also if the tag is of another name.
Result<TagClaim> read_claim(std::string_view path, ByteView tag);
// Returns the tag with this signature, whatever it had. ERRORS: as read_claim.
Result<std::string> with_signature(std::string_view path, ByteView tag,
                                   const repository::Signature& signature);

// ERRORS: as read_claim; kDenied, naming the tag and why it is not believed.
Status check_tag(const repository::TrustPolicy& policy, std::string_view path, ByteView tag);

}  // namespace forerun::image
