// The small JSON objects of a repository: tags and the list of images. SOURCE:
// docs/format_repository.md.
#include <fmt/format.h>

#include <boost/json.hpp>

#include "repository/image_index.h"

namespace forerun::repository {
namespace {

namespace json = boost::json;

constexpr uint64_t kVersion = 1;
constexpr size_t kDepthMax = 3;

std::unexpected<Error> corrupt(std::string_view object, std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("the {} is malformed: {}", object, what));
}

// Returns the JSON object in `text`, of a version this program reads.
Result<json::object> parse_object(std::string_view object, std::string_view text, size_t size_max) {
  if (text.size() > size_max)
    return corrupt(object, fmt::format("it has more than {} bytes", size_max));
  boost::system::error_code error;
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::value value = json::parse({text.data(), text.size()}, error, {}, options);
  if (error) return corrupt(object, error.message());
  if (!value.is_object()) return corrupt(object, "it is not a JSON object");
  json::object fields = std::move(value.get_object());
  const json::value* version = fields.if_contains("version");
  if (version == nullptr || !version->is_int64()) return corrupt(object, "it has no version");
  if (version->get_int64() != static_cast<int64_t>(kVersion)) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the {} has version {}; this program reads version {}", object,
                            version->get_int64(), kVersion));
  }
  return fields;
}

Result<std::string> text_field(const json::object& fields, std::string_view key) {
  const json::value* value = fields.if_contains({key.data(), key.size()});
  if (value == nullptr || !value->is_string())
    return corrupt("image tag", fmt::format("it has no string '{}'", key));
  return std::string(value->get_string());
}

Result<uint64_t> number_field(const json::object& fields, std::string_view key) {
  const json::value* value = fields.if_contains({key.data(), key.size()});
  if (value != nullptr && value->is_uint64()) return value->get_uint64();
  if (value != nullptr && value->is_int64() && value->get_int64() >= 0) {
    return static_cast<uint64_t>(value->get_int64());
  }
  return corrupt("image tag", fmt::format("it has no natural number '{}'", key));
}

Result<std::optional<Signature>> signature_field(const json::object& fields) {
  const json::value* value = fields.if_contains("signature");
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) return corrupt("image tag", "its signature is not a JSON object");
  FR_TRY(const std::string key, text_field(value->get_object(), "key"));
  FR_TRY(const std::string text, text_field(value->get_object(), "value"));
  auto signature = parse_signature(key, text);
  if (!signature) return corrupt("image tag", signature.error().message);
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

}  // namespace

std::string serialize(const ImageTag& tag) {
  json::object fields{
      {"version", kVersion},
      {"name", tag.name},
      {"index", tag.index.hex()},
      {"size_bytes", tag.size_bytes},
      {"stored_bytes", tag.stored_bytes},
      {"created", tag.created},
  };
  if (tag.signature) {
    fields["signature"] = {{"key", tag.signature->key.hex()},
                           {"value", tag.signature->value_hex()}};
  }
  return json::serialize(fields) + "\n";
}

Result<ImageTag> parse_tag(std::string_view text) {
  FR_TRY(const json::object fields, parse_object("image tag", text, kTagBytesMax));
  ImageTag tag;
  FR_TRY(tag.name, text_field(fields, "name"));
  if (!is_valid_name(tag.name)) return corrupt("image tag", "its name may not name an image");
  FR_TRY(const std::string digest, text_field(fields, "index"));
  auto index = parse_digest(digest);
  if (!index) return corrupt("image tag", index.error().message);
  tag.index = *index;
  FR_TRY(tag.size_bytes, number_field(fields, "size_bytes"));
  if (tag.size_bytes == 0 || tag.size_bytes > kImageSizeMax) {
    return corrupt("image tag", fmt::format("an image of {} bytes", tag.size_bytes));
  }
  FR_TRY(tag.stored_bytes, number_field(fields, "stored_bytes"));
  FR_TRY(tag.created, text_field(fields, "created"));
  if (!is_utc_time(tag.created))
    return corrupt("image tag", "'created' is not a time like 2026-11-21T02:40:00Z");
  FR_TRY(tag.signature, signature_field(fields));
  return tag;
}

std::string serialize_image_list(const std::vector<std::string>& names) {
  json::array list(names.begin(), names.end());
  return json::serialize(json::object{{"version", kVersion}, {"images", std::move(list)}}) + "\n";
}

Result<std::vector<std::string>> parse_image_list(std::string_view text) {
  FR_TRY(const json::object fields, parse_object("image list", text, kImageListBytesMax));
  const json::value* list = fields.if_contains("images");
  if (list == nullptr || !list->is_array())
    return corrupt("image list", "it has no array 'images'");
  std::vector<std::string> names;
  for (const json::value& entry : list->get_array()) {
    if (!entry.is_string()) return corrupt("image list", "a name is not a string");
    names.emplace_back(entry.get_string());
    if (!is_valid_name(names.back())) return corrupt("image list", "a name may not name an image");
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace forerun::repository
