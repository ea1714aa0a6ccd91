#include "image/repository_kinds.h"

#include <fmt/format.h>

#include "image/boot_prior.h"
#include "image/component_tag.h"
#include "image/composition.h"
#include "predict/sequence.h"

namespace forerun::image {
namespace {

using repository::Needs;

Result<Needs> needs_of_composition(bool has_others, std::string_view leaf, ByteView data) {
  FR_TRY(const Digest name, parse_digest(leaf));
  if (sha256(data) != name)
    return fail(ErrorCode::kCorrupt, fmt::format("composition {} is not what its name says", leaf));
  FR_TRY(const Composition composition, parse_composition(data));
  Needs needs;
  for (uint32_t i = 0; i < composition.parts.size(); ++i) {
    const CompositionPart& part = composition.parts[i];
    const bool may_be_missing = has_others && part.kind == CompositionPart::Kind::kComponent;
    (may_be_missing ? needs.optional : needs.objects).push_back(object_path(part));
    needs.optional.push_back(part_prior_path(name, i));
  }
  // Nothing needs the note, and it keeps nothing: it goes with what it notes.
  needs.optional.push_back(composed_path(composition.manifest));
  return needs;
}

Result<Needs> check_prior(std::string_view, ByteView data) {
  FR_CHECK(predict::parse_block_sequence(data));
  return Needs{};
}

}  // namespace

repository::ObjectKinds repository_kinds(bool has_others) {
  repository::ObjectKinds kinds = repository::image_kinds();
  for (repository::ObjectKind& kind : kinds)
    if (kind.folder == "priors") kind.needs = check_prior;
  // Tags first, then compositions, which need components and indexes.
  const repository::ObjectKinds components = component_kinds();
  const repository::ObjectKinds compositions = {
      {.folder = "compositions",
       .size_max = kCompositionBytesMax,
       .needs = [has_others](
                    std::string_view leaf,
                    ByteView data) { return needs_of_composition(has_others, leaf, data); },
       .is_named_by_digest = true},
      {.folder = "composed", .size_max = repository::kTagBytesMax, .is_named_by_digest = true}};
  kinds.insert(kinds.begin() + 1, compositions.begin(), compositions.end());
  kinds.insert(kinds.begin(), components.begin(), components.begin() + 1);
  kinds.insert(kinds.end(), components.begin() + 1, components.end());
  return kinds;
}

}  // namespace forerun::image
