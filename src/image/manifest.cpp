// SOURCE: docs/format_manifest.md.
#include "image/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "image/certificate.h"
#include "image/manifest_text.h"
#include "image/systemd_unit.h"

namespace forerun::image {
namespace {

constexpr size_t kListMax = 4096;
constexpr size_t kPathBytesMax = 4095;

class Reader {
 public:
  explicit Reader(std::string_view file_name) : file_name_(file_name) {}

  std::unexpected<Error> wrong(const TextNode& node, std::string_view what) const {
    return fail(ErrorCode::kInvalid, fmt::format("{}:{}: {}", file_name_, node.line, what));
  }

  using Field = std::function<Status(const TextNode&)>;
  using Fields = std::map<std::string_view, Field>;
  // Reads a table; refuses fields that are not in `fields`.
  Status read(const TextNode& node, std::string_view what, const Fields& fields) const {
    if (node.kind != TextNode::Kind::kTable)
      return wrong(node, fmt::format("{} must be a table", what));
    for (const TextNode& value : node.items) {
      const auto field = fields.find(value.name);
      if (field == fields.end())
        return wrong(value, fmt::format("'{}' is unknown in {}", value.name, what));
      FR_CHECK(field->second(value));
    }
    return {};
  }

  Field text(std::string& out, std::function<bool(std::string_view)> is_right,
             std::string what) const {
    return [this, &out, is_right, what](const TextNode& node) -> Status {
      if (node.kind != TextNode::Kind::kText || !is_right(node.text))
        return wrong(node, fmt::format("this must be {}", what));
      out = node.text;
      return {};
    };
  }

  Field list(std::function<Status(const TextNode&)> item) const {
    return [this, item](const TextNode& node) -> Status {
      if (node.kind != TextNode::Kind::kList) return wrong(node, "this must be a list");
      if (node.items.size() > kListMax) return wrong(node, fmt::format("over {} items", kListMax));
      for (const TextNode& element : node.items) FR_CHECK(item(element));
      return {};
    };
  }

  Field texts(std::vector<std::string>& out, std::function<bool(std::string_view)> is_right,
              std::string what) const {
    return list([this, &out, is_right, what](const TextNode& node) -> Status {
      std::string item;
      FR_CHECK(text(item, is_right, what)(node));
      out.push_back(std::move(item));
      return {};
    });
  }

  Field number(uint64_t& out, uint64_t min, uint64_t max) const {
    return [this, &out, min, max](const TextNode& node) -> Status {
      if (node.kind != TextNode::Kind::kNumber || node.number < 0 ||
          static_cast<uint64_t>(node.number) < min || static_cast<uint64_t>(node.number) > max)
        return wrong(node, fmt::format("this must be a whole number from {} to {}", min, max));
      out = static_cast<uint64_t>(node.number);
      return {};
    };
  }

  Field flag(bool& out) const {
    return [this, &out](const TextNode& node) -> Status {
      if (node.kind != TextNode::Kind::kBool) return wrong(node, "this must be true or false");
      out = node.number != 0;
      return {};
    };
  }

 private:
  std::string file_name_;
};

bool is_line(std::string_view text) {
  return text.size() <= 16'384 && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

bool is_path(std::string_view text) {
  if (!text.starts_with('/') || text.size() < 2 || text.size() > kPathBytesMax || !is_line(text))
    return false;
  while (!text.empty()) {
    text.remove_prefix(1);
    const size_t end = std::min(text.find('/'), text.size());
    const std::string_view name = text.substr(0, end);
    if (name == "." || name == ".." || name.size() > 255 || (name.empty() && end < text.size()))
      return false;
    text.remove_prefix(end);
    if (name.empty() && !text.empty()) return false;
  }
  return true;
}

// Of users, groups: as adduser's default NAME_REGEX.
bool is_account(std::string_view text) {
  return !text.empty() && text.size() <= 32 &&
         (text[0] == '_' || (text[0] >= 'a' && text[0] <= 'z')) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
         });
}

// RFC 1123, one label or several.
bool is_hostname(std::string_view text) {
  return !text.empty() && text.size() <= 253 && text.front() != '-' && text.back() != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.';
         });
}

// What stands in a networkd file: no line breaks, no section marks.
bool is_network_word(std::string_view text) {
  return !text.empty() && text.size() <= 128 && is_line(text) &&
         text.find_first_of("[]=#;") == std::string_view::npos;
}

bool is_certificate(std::string_view text) { return read_certificate(text).has_value(); }

Status read_component(const Reader& reader, const TextNode& node, ComponentWish& wish) {
  const std::string_view text = node.text;
  const size_t at = text.find('@');
  wish.name = text.substr(0, at);
  bool is_right = node.kind == TextNode::Kind::kText && is_valid_name(wish.name);
  if (is_right && at != std::string_view::npos) {
    const auto digest = parse_digest(text.substr(at + 1));
    is_right = digest.has_value();
    if (digest) wish.digest = *digest;
  }
  if (!is_right) return reader.wrong(node, "this must be a component: NAME or NAME@DIGEST");
  return {};
}

Status read_network(const Reader& reader, const TextNode& node, Manifest& manifest) {
  ManifestNetwork& network = manifest.network.emplace();
  return reader.read(node, "[network]",
                     {{"match", reader.text(network.match, is_network_word, "interface names")},
                      {"address", reader.text(network.address, is_network_word, "ADDRESS/BITS")},
                      {"gateway", reader.text(network.gateway, is_network_word, "an address")},
                      {"dns", reader.texts(network.dns, is_network_word, "an address")}});
}

Status read_user(const Reader& reader, const TextNode& node, Manifest& manifest) {
  ManifestUser& user = manifest.users.emplace_back();
  uint64_t uid = UINT64_MAX;
  FR_CHECK(reader.read(
      node, "[[user]]",
      {{"name", reader.text(user.name, is_account, "a user's name: a-z 0-9 _ -")},
       {"uid", reader.number(uid, 1000, 59'999)},
       {"groups", reader.texts(user.groups, is_account, "a group's name")},
       {"shell", reader.text(user.shell, is_path, "an absolute path")},
       {"ssh_keys", reader.texts(user.ssh_keys, is_line, "one line of authorized_keys")}}));
  if (user.name.empty()) return reader.wrong(node, "a [[user]] needs a name");
  if (uid != UINT64_MAX) user.uid = static_cast<uint32_t>(uid);
  return {};
}

Status read_file(const Reader& reader, const TextNode& node, Manifest& manifest) {
  ManifestFile& file = manifest.files.emplace_back();
  uint64_t mode = file.mode;
  const auto is_anything = [](std::string_view) { return true; };
  FR_CHECK(reader.read(node, "[[file]]",
                       {{"path", reader.text(file.path, is_path, "an absolute path")},
                        {"content", reader.text(file.content, is_anything, "text")},
                        {"mode", reader.number(mode, 0, 07777)},
                        {"owner", reader.text(file.owner, is_account, "a user's name")},
                        {"group", reader.text(file.group, is_account, "a group's name")}}));
  if (file.path.empty() || file.path.ends_with('/'))
    return reader.wrong(node, "a [[file]] needs a path that ends in a name");
  file.mode = static_cast<uint16_t>(mode);
  return {};
}

template <typename T, typename Name>
Status check_unique(const std::vector<T>& items, std::string_view file_name, std::string_view what,
                    const Name& name) {
  std::vector<std::string> names;
  for (const T& item : items) names.push_back(name(item));
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return {};
  return fail(ErrorCode::kInvalid,
              fmt::format("{}: {} '{}' is given twice", file_name, what, *twice));
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += '\\', out += c;
    else if (byte < 0x20 || byte == 0x7f)
      out += fmt::format("\\u{:04X}", byte);
    else
      out += c;
  }
  return out + "\"";
}

std::string quoted(const std::vector<std::string>& texts) {
  std::vector<std::string> items;
  for (const std::string& text : texts) items.push_back(quoted(text));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

std::string written(const ComponentWish& wish) {
  return wish.digest ? fmt::format("{}@{}", wish.name, wish.digest->hex()) : wish.name;
}

}  // namespace

Result<Manifest> parse_manifest(std::string_view text, std::string_view file_name) {
  if (text.size() > kManifestBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("{}: {} bytes", file_name, text.size()));
  FR_TRY(const TextNode root, read_manifest_text(text, file_name));
  const Reader reader(file_name);
  Manifest manifest;
  uint64_t version = 0;
  FR_CHECK(reader.read(
      root, "a manifest",
      {{"version", reader.number(version, 0, UINT32_MAX)},
       {"base", [&](const TextNode& node) { return read_component(reader, node, manifest.base); }},
       {"components", reader.list([&](const TextNode& node) {
          return read_component(reader, node, manifest.components.emplace_back());
        })},
       {"rank", reader.texts(manifest.rank, is_path, "an absolute path")},
       {"allow_other_base", reader.flag(manifest.allow_other_base)},
       {"writable_bytes", reader.number(manifest.writable_bytes, 0, kWritableBytesMax)},
       {"grow", reader.flag(manifest.grow)},
       {"hostname", reader.text(manifest.hostname, is_hostname, "a host's name")},
       {"network", [&](const TextNode& node) { return read_network(reader, node, manifest); }},
       {"user",
        reader.list([&](const TextNode& node) { return read_user(reader, node, manifest); })},
       {"file",
        reader.list([&](const TextNode& node) { return read_file(reader, node, manifest); })},
       {"enable", reader.texts(manifest.enable, is_unit_name, "a unit's name")},
       {"mask", reader.texts(manifest.mask, is_unit_name, "a unit's name")},
       {"ca_certificates",
        reader.texts(manifest.ca_certificates, is_certificate, "one certificate in PEM")}}));
  if (version != 1)
    return fail(version == 0 ? ErrorCode::kInvalid : ErrorCode::kUnsupported,
                version == 0 ? fmt::format("{}: version = 1 is missing", file_name)
                             : fmt::format("{}: version {} is not known", file_name, version));
  if (manifest.base.name.empty())
    return fail(ErrorCode::kInvalid, fmt::format("{}: base is missing", file_name));
  if (manifest.components.size() > kManifestComponentsMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("{}: over {} components", file_name, kManifestComponentsMax));
  FR_CHECK(check_unique(manifest.components, file_name, "component",
                        [](const ComponentWish& wish) { return wish.name; }));
  FR_CHECK(check_unique(manifest.users, file_name, "user",
                        [](const ManifestUser& user) { return user.name; }));
  FR_CHECK(check_unique(manifest.files, file_name, "file",
                        [](const ManifestFile& file) { return file.path; }));
  return manifest;
}

std::string canonical_text(const Manifest& manifest) {
  std::vector<std::string> components;
  for (const ComponentWish& wish : manifest.components) components.push_back(written(wish));
  std::string out =
      fmt::format("version = 1\nbase = {}\ncomponents = {}\nrank = {}\nwritable_bytes = {}\n",
                  quoted(written(manifest.base)), quoted(components), quoted(manifest.rank),
                  manifest.writable_bytes);
  // Fields of later days are written where they say something: what has none keeps its digest.
  if (manifest.allow_other_base) out += "allow_other_base = true\n";
  if (manifest.grow) out += "grow = true\n";
  if (!manifest.hostname.empty()) out += fmt::format("hostname = {}\n", quoted(manifest.hostname));
  out += fmt::format("enable = {}\nmask = {}\n", quoted(manifest.enable), quoted(manifest.mask));
  if (!manifest.ca_certificates.empty())
    out += fmt::format("ca_certificates = {}\n", quoted(manifest.ca_certificates));
  if (manifest.network) {
    const ManifestNetwork& network = *manifest.network;
    out += fmt::format("[network]\nmatch = {}\n", quoted(network.match));
    if (!network.address.empty()) out += fmt::format("address = {}\n", quoted(network.address));
    if (!network.gateway.empty()) out += fmt::format("gateway = {}\n", quoted(network.gateway));
    out += fmt::format("dns = {}\n", quoted(network.dns));
  }
  for (const ManifestUser& user : manifest.users) {
    out += fmt::format("[[user]]\nname = {}\n", quoted(user.name));
    if (user.uid) out += fmt::format("uid = {}\n", *user.uid);
    out += fmt::format("groups = {}\nshell = {}\nssh_keys = {}\n", quoted(user.groups),
                       quoted(user.shell), quoted(user.ssh_keys));
  }
  for (const ManifestFile& file : manifest.files) {
    out += fmt::format("[[file]]\npath = {}\ncontent = {}\nmode = {}\nowner = {}\ngroup = {}\n",
                       quoted(file.path), quoted(file.content), file.mode, quoted(file.owner),
                       quoted(file.group));
  }
  return out;
}

Digest digest_of(const Manifest& manifest) { return sha256(as_bytes(canonical_text(manifest))); }

}  // namespace forerun::image
