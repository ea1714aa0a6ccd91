#include "image/settings.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>
#include <set>

#include "image/systemd_unit.h"
#include "image/text_lines.h"

namespace forerun::image {
namespace {

constexpr std::array<std::string_view, 3> kUnitFolders{
    "/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"};

struct Account {
  uint32_t id = 0, group = 0;
};

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  while (true) {
    const size_t end = line.find(':');
    fields.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return fields;
    line.remove_prefix(end + 1);
  }
}

// Returns the entry of a user or group in the text of passwd or group, which were checked before.
std::optional<Account> find_account(std::string_view text, std::string_view name) {
  for (const std::string_view line : lines_of(text)) {
    const auto fields = fields_of(line);
    if (fields[0] != name || fields.size() < 4) continue;
    Account account;
    std::from_chars(fields[2].data(), fields[2].data() + fields[2].size(), account.id);
    std::from_chars(fields[3].data(), fields[3].data() + fields[3].size(), account.group);
    return account;
  }
  return std::nullopt;
}

class Settings {
 public:
  Settings(const Manifest& manifest, std::span<const ComponentFiles> components, int64_t time_s,
           KindMerge& merge)
      : manifest_(manifest), components_(components), time_s_(time_s), merge_(merge) {}

  Status apply() {
    if (!manifest_.hostname.empty()) {
      put("/etc/hostname", manifest_.hostname + "\n");
      put("/etc/hosts", fmt::format("127.0.0.1 localhost {}\n::1 localhost\n", manifest_.hostname));
    }
    if (manifest_.network) add_network(*manifest_.network);
    for (const ManifestUser& user : manifest_.users) FR_CHECK(add_user(user));
    for (const ManifestFile& file : manifest_.files) FR_CHECK(add_file(file));
    for (const std::string& unit : manifest_.enable) FR_CHECK(enable(unit));
    for (const std::string& unit : manifest_.mask) link("/etc/systemd/system/" + unit, "/dev/null");
    return {};
  }

 private:
  GeneratedFile& put(std::string path, std::string_view text, uint16_t mode = 0644) {
    GeneratedFile file;
    file.inode.kind = InodeKind::kRegular;
    file.inode.mode = mode;
    file.inode.mtime_s = time_s_;
    file.inode.size = text.size();
    file.inode.content = sha256(as_bytes(text));
    const ByteView bytes = as_bytes(text);
    file.content.assign(bytes.begin(), bytes.end());
    return add(std::move(path), std::move(file));
  }

  GeneratedFile& link(std::string path, std::string target) {
    GeneratedFile file;
    file.inode.kind = InodeKind::kSymlink;
    file.inode.mode = 0777;
    file.inode.mtime_s = time_s_;
    file.inode.target = std::move(target);
    return add(std::move(path), std::move(file));
  }

  GeneratedFile& directory(std::string path, uint16_t mode, const Account& owner) {
    GeneratedFile file;
    file.inode.kind = InodeKind::kDirectory;
    file.inode.mode = mode;
    file.inode.mtime_s = time_s_;
    GeneratedFile& added = add(std::move(path), std::move(file));
    added.inode.uid = owner.id, added.inode.gid = owner.group;
    return added;
  }

  // A later word on one path replaces an earlier one.
  GeneratedFile& add(std::string path, GeneratedFile file) {
    file.path = std::move(path);
    for (GeneratedFile& known : merge_.generated) {
      if (known.path == file.path) return known = std::move(file);
    }
    return merge_.generated.emplace_back(std::move(file));
  }

  // SOURCE: systemd.network(5).
  void add_network(const ManifestNetwork& network) {
    std::string text = fmt::format("[Match]\nName={}\n\n[Network]\n", network.match);
    text += network.address.empty() ? std::string("DHCP=yes\n")
                                    : fmt::format("Address={}\n", network.address);
    if (!network.gateway.empty()) text += fmt::format("Gateway={}\n", network.gateway);
    for (const std::string& server : network.dns) text += fmt::format("DNS={}\n", server);
    put("/etc/systemd/network/10-forerun.network", text);
  }

  bool exists(std::string_view path) const {
    return std::any_of(components_.begin(), components_.end(),
                       [&](const ComponentFiles& files) { return files.find(path) != nullptr; });
  }

  // Returns the text of a file of the manifest itself.
  std::optional<std::string> own_text(std::string_view path) const {
    for (const ManifestFile& file : manifest_.files) {
      if (file.path == path) return file.content;
    }
    return std::nullopt;
  }

  // As systemctl enable: links in the .wants and .requires folders of what [Install] names.
  Status enable(const std::string& unit) {
    const std::string generic = template_of(unit);
    for (const std::string_view folder : kUnitFolders) {
      for (const std::string& name : {unit, generic}) {
        const std::string path = fmt::format("{}/{}", folder, name);
        if (const auto text = own_text(path)) return enable(unit, path, *text);
      }
    }
    for (auto files = components_.rbegin(); files != components_.rend(); ++files) {
      for (const std::string_view folder : kUnitFolders) {
        for (const std::string& name : {unit, generic}) {
          if (name.empty()) continue;
          const std::string path = fmt::format("{}/{}", folder, name);
          FR_TRY(const auto text, files->text(path, kUnitBytesMax));
          if (text) return enable(unit, path, *text);
        }
      }
    }
    return fail(ErrorCode::kNotFound,
                fmt::format("neither a component nor a file of the manifest is the unit {}", unit));
  }

  Status enable(const std::string& unit, const std::string& path, std::string_view text) {
    bool has_install = false, is_install = false;
    const auto link_in = [&](std::string_view names, std::string_view kind) {
      while (!names.empty()) {
        const size_t end = std::min(names.find(' '), names.size());
        if (const auto name = names.substr(0, end); is_unit_name(name)) {
          link(fmt::format("/etc/systemd/system/{}.{}/{}", name, kind, unit), path);
          has_install = true;
        }
        names.remove_prefix(std::min(end + 1, names.size()));
      }
    };
    for (const std::string_view line : lines_of(text)) {
      if (line.starts_with('[')) is_install = line == "[Install]";
      if (is_install && line.starts_with("WantedBy=")) link_in(line.substr(9), "wants");
      if (is_install && line.starts_with("RequiredBy=")) link_in(line.substr(11), "requires");
    }
    if (!has_install)
      return fail(ErrorCode::kInvalid,
                  fmt::format("the unit {} does not say what wants it: it has no [Install]", unit));
    return {};
  }

  Status add_user(const ManifestUser& user) {
    AccountMerge& accounts = merge_.accounts;
    if (find_account(accounts.passwd, user.name))
      return fail(ErrorCode::kInvalid, fmt::format("the user '{}' is there already", user.name));
    const bool has_group = find_account(accounts.group, user.name).has_value();
    uint32_t id = user.uid.value_or(1000);
    while (is_taken(accounts.passwd, id) || (!has_group && is_taken(accounts.group, id))) {
      if (user.uid)
        return fail(ErrorCode::kInvalid, fmt::format("the id {} of '{}' is taken", id, user.name));
      ++id;
    }
    const uint32_t group = has_group ? find_account(accounts.group, user.name)->id : id;
    accounts.passwd +=
        fmt::format("{0}:x:{1}:{2}::/home/{0}:{3}\n", user.name, id, group, user.shell);
    accounts.shadow += fmt::format("{}:!:19700:0:99999:7:::\n", user.name);
    if (!has_group) {
      accounts.group += fmt::format("{}:x:{}:\n", user.name, group);
      accounts.gshadow += fmt::format("{}:!::\n", user.name);
    }
    for (const std::string& name : user.groups) FR_CHECK(join(user.name, name));
    const Account owner{id, group};
    directory("/home/" + user.name, 0755, owner);
    if (!user.ssh_keys.empty()) {
      directory(fmt::format("/home/{}/.ssh", user.name), 0700, owner);
      GeneratedFile& keys = put(fmt::format("/home/{}/.ssh/authorized_keys", user.name),
                                fmt::format("{}\n", fmt::join(user.ssh_keys, "\n")), 0600);
      keys.inode.uid = id, keys.inode.gid = group;
    }
    rewrite("/etc/passwd", accounts.passwd, 0644);
    rewrite("/etc/group", accounts.group, 0644);
    rewrite("/etc/shadow", accounts.shadow, 0640);
    rewrite("/etc/gshadow", accounts.gshadow, 0640);
    return {};
  }

  static bool is_taken(std::string_view text, uint32_t id) {
    const std::string wanted = std::to_string(id);
    for (const std::string_view line : lines_of(text)) {
      const auto fields = fields_of(line);
      if (fields.size() > 2 && fields[2] == wanted) return true;
    }
    return false;
  }

  // Appends a member to a group's line.
  Status join(const std::string& user, const std::string& group) {
    for (auto [text, members] :
         {std::pair{&merge_.accounts.group, true}, std::pair{&merge_.accounts.gshadow, false}}) {
      const std::string start = group + ":";
      size_t at = text->starts_with(start) ? 0 : text->find("\n" + start);
      if (at == std::string::npos) {
        if (!members) continue;  // a system without gshadow
        return fail(ErrorCode::kNotFound,
                    fmt::format("no component brings the group '{}' of user '{}'", group, user));
      }
      at = text->find('\n', at == 0 ? 0 : at + 1);
      if (at == std::string::npos) at = text->size();
      text->insert(at, (at > 0 && (*text)[at - 1] == ':' ? "" : ",") + user);
    }
    return {};
  }

  // Keeps the attributes of the file that was merged.
  void rewrite(const std::string& path, const std::string& text, uint16_t mode) {
    for (GeneratedFile& known : merge_.generated) {
      if (known.path != path) continue;
      const TreeInode like = known.inode;
      GeneratedFile& file = put(path, text, like.mode);
      file.inode.uid = like.uid, file.inode.gid = like.gid;
      return;
    }
    put(path, text, mode);
  }

  Status add_file(const ManifestFile& file) {
    const auto owner = find_account(merge_.accounts.passwd, file.owner);
    const auto group = find_account(merge_.accounts.group, file.group);
    if (!owner || !group)
      return fail(ErrorCode::kNotFound,
                  fmt::format("{}: no component brings {} '{}'", file.path,
                              owner ? "the group" : "the user", owner ? file.group : file.owner));
    GeneratedFile& added = put(file.path, file.content, file.mode);
    added.inode.uid = owner->id, added.inode.gid = group->id;
    return {};
  }

  const Manifest& manifest_;
  std::span<const ComponentFiles> components_;
  const int64_t time_s_;
  KindMerge& merge_;
};

}  // namespace

Status apply_settings(const Manifest& manifest, std::span<const ComponentFiles> components,
                      int64_t time_s, KindMerge& merge) {
  return Settings(manifest, components, time_s, merge).apply();
}

}  // namespace forerun::image
