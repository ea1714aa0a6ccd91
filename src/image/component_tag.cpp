// SOURCE: docs/format_repository.md.
#include "image/component_tag.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "image/component_prior.h"
#include "image/tree_limits.h"

namespace forerun::image {
namespace {

namespace json = boost::json;

constexpr int64_t kVersion = 1;
constexpr size_t kDepthMax = 3;
constexpr std::string_view kFolder = "components";
constexpr std::string_view kTagFolder = "component-tags";

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("the component tag is malformed: {}", what));
}

Result<std::string> text_field(const json::object& fields, std::string_view key) {
  const json::value* value = fields.if_contains({key.data(), key.size()});
  if (value == nullptr || !value->is_string())
    return corrupt(fmt::format("it has no string '{}'", key));
  return std::string(value->get_string());
}

Result<uint64_t> number_field(const json::object& fields, std::string_view key, uint64_t max) {
  const json::value* value = fields.if_contains({key.data(), key.size()});
  if (value != nullptr && value->is_int64() && value->get_int64() >= 0 &&
      static_cast<uint64_t>(value->get_int64()) <= max) {
    return static_cast<uint64_t>(value->get_int64());
  }
  return corrupt(fmt::format("it has no number '{}' of at most {}", key, max));
}

Result<std::optional<repository::Signature>> signature_field(const json::object& fields) {
  const json::value* value = fields.if_contains("signature");
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) return corrupt("its signature is not a JSON object");
  FR_TRY(const std::string key, text_field(value->get_object(), "key"));
  FR_TRY(const std::string text, text_field(value->get_object(), "value"));
  auto signature = repository::parse_signature(key, text);
  if (!signature) return corrupt(signature.error().message);
  return *signature;
}

// Returns whether `text` has the shape 2026-11-21T02:40:00Z.
bool is_utc_time(std::string_view text) {
  constexpr std::string_view kShape = "dddd-dd-ddTdd:dd:ddZ";
  return text.size() == kShape.size() &&
         std::equal(text.begin(), text.end(), kShape.begin(), [](char c, char shape) {
           return shape == 'd' ? c >= '0' && c <= '9' : c == shape;
         });
}

Result<json::object> parse_object(std::string_view text) {
  if (text.size() > repository::kTagBytesMax)
    return corrupt(fmt::format("it has more than {} bytes", repository::kTagBytesMax));
  boost::system::error_code error;
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::value value = json::parse({text.data(), text.size()}, error, {}, options);
  if (error) return corrupt(error.message());
  if (!value.is_object()) return corrupt("it is not a JSON object");
  const json::value* version = value.get_object().if_contains("version");
  if (version == nullptr || !version->is_int64()) return corrupt("it has no version");
  if (version->get_int64() != kVersion) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the component tag has version {}; this program reads version {}",
                            version->get_int64(), kVersion));
  }
  return std::move(value.get_object());
}

Result<repository::Needs> needs_of_tag(std::string_view leaf, ByteView data) {
  FR_TRY(const ComponentTag tag, parse_component_tag(as_text(data)));
  if (component_tag_path(tag.name) != fmt::format("{}/{}", kTagFolder, leaf))
    return corrupt(fmt::format("{} names component {}", leaf, tag.name));
  return repository::Needs{.objects = {component_path(tag.index)}};
}

Result<repository::Needs> needs_of_component(std::string_view leaf, ByteView data) {
  FR_TRY(const Digest name, parse_digest(leaf));
  if (sha256(data) != name)
    return fail(ErrorCode::kCorrupt, fmt::format("component {} is not what its name says", leaf));
  FR_TRY(ComponentIndex index, parse_component_index(data));
  repository::Needs needs{.optional = {component_prior_path(name)},
                          .chunks = std::move(index.data.chunks)};
  needs.chunks.insert(needs.chunks.end(), index.data.bases.begin(), index.data.bases.end());
  return needs;
}

Result<repository::Needs> needs_of_prior(std::string_view, ByteView data) {
  FR_CHECK(predict::parse_block_sequence(data));
  return repository::Needs{};
}

}  // namespace

std::string component_path(const Digest& index) {
  return fmt::format("{}/{}", kFolder, index.hex());
}

std::string component_tag_path(std::string_view name) {
  return fmt::format("{}/{}.json", kTagFolder, name);
}

std::string serialize(const ComponentTag& tag) {
  json::object fields{
      {"version", kVersion},          {"name", tag.name},
      {"index", tag.index.hex()},     {"component_version", tag.component_version},
      {"function", tag.function},     {"names", tag.names},
      {"data_bytes", tag.data_bytes}, {"stored_bytes", tag.stored_bytes},
      {"created", tag.created},
  };
  if (tag.signature) {
    fields["signature"] = {{"key", tag.signature->key.hex()},
                           {"value", tag.signature->value_hex()}};
  }
  return json::serialize(fields) + "\n";
}

Result<ComponentTag> parse_component_tag(std::string_view text) {
  FR_TRY(const json::object fields, parse_object(text));
  ComponentTag tag;
  FR_TRY(tag.name, text_field(fields, "name"));
  if (!is_valid_name(tag.name)) return corrupt("its name may not name a component");
  FR_TRY(const std::string digest, text_field(fields, "index"));
  auto index = parse_digest(digest);
  if (!index) return corrupt(index.error().message);
  tag.index = *index;
  FR_TRY(tag.component_version, text_field(fields, "component_version"));
  if (tag.component_version.size() > kVersionBytesMax) return corrupt("its version is too long");
  FR_TRY(tag.function, text_field(fields, "function"));
  if (!tag.function.empty() && !is_valid_name(tag.function))
    return corrupt("its function is no word");
  FR_TRY(tag.names, number_field(fields, "names", kTreeNamesMax));
  FR_TRY(tag.data_bytes, number_field(fields, "data_bytes", kComponentDataBytesMax));
  FR_TRY(tag.stored_bytes, number_field(fields, "stored_bytes", 2 * kComponentDataBytesMax));
  FR_TRY(tag.created, text_field(fields, "created"));
  if (!is_utc_time(tag.created))
    return corrupt("'created' is not a time like 2026-11-21T02:40:00Z");
  FR_TRY(tag.signature, signature_field(fields));
  return tag;
}

Result<ComponentTag> fetch_component_tag(repository::Source& source, std::string_view name) {
  if (!is_valid_name(name)) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' cannot name a component", name));
  }
  FR_TRY(const Buffer data, source.fetch(component_tag_path(name), repository::kTagBytesMax));
  auto tag = parse_component_tag(as_text(data));
  if (!tag) {
    return std::unexpected(
        tag.error().within(fmt::format("{}: component {}", source.name(), name)));
  }
  if (tag->name != name) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: the tag of component {} names component {}",
                                                 source.name(), name, tag->name));
  }
  return tag;
}

Result<ComponentIndex> fetch_component_index(repository::Source& source, const Digest& digest) {
  FR_TRY(const Buffer data, source.fetch(component_path(digest), kComponentIndexBytesMax));
  if (sha256(data) != digest) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: component {} is not what its name says",
                                                 source.name(), digest.hex()));
  }
  auto index = parse_component_index(data);
  if (!index) {
    return std::unexpected(
        index.error().within(fmt::format("{}: component {}", source.name(), digest.hex())));
  }
  return index;
}

repository::ObjectKinds component_kinds() {
  return {{.folder = std::string(kTagFolder),
           .size_max = repository::kTagBytesMax,
           .needs = needs_of_tag,
           .list_roots =
               [](repository::Source& source) {
                 return repository::list_tags(source, std::string(kTagFolder));
               }},
          {.folder = std::string(kFolder),
           .size_max = kComponentIndexBytesMax,
           .needs = needs_of_component,
           .is_named_by_digest = true},
          {.folder = std::string(kComponentPriorFolder),
           .size_max = kComponentPriorBytesMax,
           .needs = needs_of_prior,
           .is_named_by_digest = true}};
}

}  // namespace forerun::image
