#include "image/merge_by_kind.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <optional>
#include <set>

#include "image/kind_context.h"
#include "image/package_records.h"
#include "image/text_lines.h"
#include "image/text_merge.h"

namespace forerun::image {
namespace {

constexpr std::string_view kStatus = "/var/lib/dpkg/status";
constexpr std::string_view kExtendedStates = "/var/lib/apt/extended_states";
constexpr std::array<std::string_view, 2> kPackage{"Package", "Architecture"};
constexpr std::array<std::string_view, 1> kName{"Name"};
constexpr std::array<std::string_view, 1> kOwners{"Owners"};
constexpr RecordRules kPackages{.key = kPackage};
// Answers to a package's questions: the truth is in the files it configures.
constexpr RecordRules kDebconf{.key = kName, .united = kOwners, .first_wins = true};
constexpr RecordRules kByLastWord{.kind = RecordKind::kLastWord};

struct TextFile {
  std::string_view path;               // that ends in '/': all files in it
  std::optional<RecordRules> records;  // nothing: a set of lines
  std::string_view name_end;           // of files in a folder
};
// SOURCE: dpkg(1), dpkg-divert(1), dpkg-statoverride(1), dpkg's doc/triggers.txt, apt-mark(8),
// debconf-devel(7), ucf(1), shells(5), services(5), nsswitch.conf(5), update-ca-certificates(8),
// deb-systemd-helper(1p), pam-auth-update(8).
constexpr TextFile kTextFiles[] = {
    {kStatus, kPackages, {}},
    {"/var/lib/dpkg/available", kPackages, {}},
    {"/var/lib/dpkg/diversions", RecordRules{.kind = RecordKind::kTriple}, {}},
    {"/var/lib/dpkg/statoverride", kByLastWord, {}},
    {"/var/lib/dpkg/arch", {}, {}},
    {"/var/lib/dpkg/triggers/", {}, {}},
    {"/var/cache/debconf/config.dat", kDebconf, {}},
    {"/var/cache/debconf/templates.dat", kDebconf, {}},
    {"/var/cache/debconf/passwords.dat", kDebconf, {}},
    {"/var/lib/ucf/hashfile", kByLastWord, {}},
    {"/var/lib/ucf/registry", kByLastWord, {}},
    {"/var/lib/systemd/deb-systemd-helper-enabled/", {}, ".dsh-also"},
    {"/var/lib/systemd/deb-systemd-user-helper-enabled/", {}, ".dsh-also"},
    {"/var/lib/pam/seen", {}, {}},
    {"/etc/shells", {}, {}},
    {"/etc/services", {}, {}},
    {"/etc/protocols", {}, {}},
    {"/etc/rpc", {}, {}},
    {"/etc/environment", {}, {}},
    {"/etc/ld.so.conf", {}, {}},
    {"/etc/modules", {}, {}},
    {"/etc/ca-certificates.conf", {}, {}},
    {"/etc/nsswitch.conf", RecordRules{.kind = RecordKind::kFirstWord, .unites_words = true}, {}},
};

// Caches and traces of a build: each system makes its own. The loader finds libraries in its usual
// folders without a cache.
constexpr std::string_view kDropped[] = {
    "/etc/ld.so.cache",
    "/var/cache/ldconfig/aux-cache",
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    "/var/lib/dpkg/status-old",
    "/var/lib/dpkg/available-old",
    "/var/lib/dpkg/diversions-old",
    "/var/lib/dpkg/statoverride-old",
    "/var/log/dpkg.log",
    "/var/log/alternatives.log",
    "/var/log/bootstrap.log",
    "/var/log/fontconfig.log",
    "/var/log/apt/history.log",
    "/var/log/apt/term.log",
    "/var/log/apt/eipp.log.xz",
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
    "/var/cache/debconf/config.dat-old",
    "/var/cache/debconf/templates.dat-old",
    "/var/cache/debconf/passwords.dat-old",
    "/var/lib/systemd/random-seed",
};
constexpr std::array<std::pair<std::string_view, std::string AccountFiles::*>, 4> kAccountFiles{{
    {"/etc/passwd", &AccountFiles::passwd},
    {"/etc/group", &AccountFiles::group},
    {"/etc/shadow", &AccountFiles::shadow},
    {"/etc/gshadow", &AccountFiles::gshadow},
}};
constexpr std::string_view kUcf = "/var/lib/ucf";

// What each build makes anew, of one and the same kind: whose it is does not matter, but what
// belongs together comes from one component, the last.
constexpr std::string_view kLastWins[] = {
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/lock-frontend",
    "/var/cache/man/",
    "/var/cache/fontconfig/",
    "/var/lib/systemd/catalog/database",
    "/etc/udev/hwdb.bin",
    "/usr/lib/udev/hwdb.bin",
    "/usr/share/info/dir",
    "/usr/share/info/dir.old",
    "/usr/share/mime/",
    "/usr/share/applications/mimeinfo.cache",
    "/usr/share/glib-2.0/schemas/gschemas.compiled",
    "/etc/ssl/certs/java/cacerts",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_rsa_key.pub",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ecdsa_key.pub",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_ed25519_key.pub",
};

// Returns the names of what merges as `file` says in a folder, or the one path it names.
std::vector<std::string> paths_of(const TextFile& file, const KindContext& context) {
  if (!file.path.ends_with('/')) return {std::string(file.path)};
  std::vector<std::string> paths;
  for (const std::string& name : context.names_in(file.path.substr(0, file.path.size() - 1))) {
    if (name.ends_with(file.name_end)) paths.push_back(fmt::format("{}{}", file.path, name));
  }
  return paths;
}

class KindMerger {
 public:
  KindMerger(std::span<const ComponentFiles> components,
             std::span<const std::vector<uint32_t>> sees)
      : components_(components), context_(components, sees, merge_) {}

  Result<KindMerge> run() {
    FR_CHECK(merge_all_accounts());
    for (const TextFile& file : kTextFiles) FR_CHECK(merge_texts(file));
    FR_CHECK(merge_package_marks());
    FR_CHECK(merge_package_records());
    FR_CHECK(merge_alternatives(context_));
    FR_CHECK(merge_certificates(context_));
    for (const std::string_view path : kDropped) context_.drop(path);
    drop_backups();
    for (const std::string_view path : kLastWins) merge_.last_wins.emplace_back(path);
    return std::move(merge_);
  }

 private:
  Status merge_all_accounts() {
    std::vector<AccountFiles> accounts(components_.size());
    for (const auto& [path, member] : kAccountFiles) {
      FR_TRY(auto versions, context_.versions_of(path, kAccountBytesMax));
      for (size_t i = 0; i < versions.size(); ++i) {
        accounts[i].component = versions[i].component;
        accounts[i].*member = std::move(versions[i].text);
      }
    }
    const auto has_accounts = [&](size_t component) {
      return std::ranges::any_of(
          kAccountFiles, [&](const auto& file) { return context_.has(component, file.first); });
    };
    std::vector<AccountFiles> siblings;
    std::map<size_t, size_t> sibling_of;  // component: its number among them
    for (size_t i = 1; i < accounts.size(); ++i) {
      if (context_.topmost(i, has_accounts) != i) continue;
      sibling_of.emplace(i, siblings.size());
      siblings.push_back(std::move(accounts[i]));
    }
    FR_TRY(merge_.accounts, merge_accounts(accounts.front(), siblings));
    merge_.ids.emplace_back();  // the base's
    for (size_t i = 1; i < accounts.size(); ++i)
      merge_.ids.push_back(merge_.accounts.ids[sibling_of.at(context_.topmost(i, has_accounts))]);
    context_.generate("/etc/passwd", merge_.accounts.passwd);
    context_.generate("/etc/group", merge_.accounts.group);
    context_.generate("/etc/shadow", merge_.accounts.shadow);
    context_.generate("/etc/gshadow", merge_.accounts.gshadow);
    return {};
  }

  Status merge_texts(const TextFile& file) {
    for (const std::string& path : paths_of(file, context_)) FR_CHECK(merge_text(path, file));
    return {};
  }

  // What one component alone changes, or all in the same way, is right as it is.
  Status merge_text(const std::string& path, const TextFile& file) {
    const std::vector<uint32_t> changed_by = context_.siblings_with(path);
    if (changed_by.size() < 2) return {};
    FR_TRY(const auto versions, context_.versions_of(path, kMergedTextBytesMax));
    std::vector<TextVersion> siblings;
    std::set<std::string_view> changes;
    for (const uint32_t sibling : changed_by) {
      siblings.push_back(versions[sibling]);
      if (versions[sibling].text != versions.front().text) changes.insert(versions[sibling].text);
    }
    if (changes.size() < 2) return {};
    auto merged = file.records ? merge_records(versions.front(), siblings, *file.records)
                               : merge_lines(versions.front(), siblings);
    if (!merged)
      return std::unexpected(std::move(merged.error()).within(fmt::format("merging {}", path)));
    context_.generate(path, std::move(*merged));
    return {};
  }

  // A package that one component was asked to install is not one that only came with others, though
  // it did so in another component: apt would remove it.
  Status merge_package_marks() {
    const std::vector<uint32_t> installers = context_.siblings_with(kStatus);
    if (installers.size() < 2) return {};
    FR_TRY(const auto marks, context_.versions_of(kExtendedStates, kMergedTextBytesMax));
    FR_TRY(const auto installed, context_.versions_of(kStatus, kMergedTextBytesMax));
    std::vector<TextVersion> siblings;
    for (const uint32_t sibling : context_.siblings_with(kExtendedStates))
      siblings.push_back(marks[sibling]);
    if (siblings.empty()) return {};
    auto merged = merge_records(marks.front(), siblings, kPackages);
    if (!merged)
      return std::unexpected(
          std::move(merged.error()).within(fmt::format("merging {}", kExtendedStates)));
    const auto in_base = package_lines(installed.front().text);
    std::set<std::string_view> asked_for;
    for (const uint32_t i : installers) {
      const auto marked = package_lines(marks[i].text);
      for (const std::string_view package : package_lines(installed[i].text)) {
        if (!marked.contains(package) && !in_base.contains(package)) asked_for.insert(package);
      }
    }
    std::string text;
    for (std::string_view left = *merged; !left.empty();) {
      const size_t end = std::min(left.find("\n\n"), left.size() - 2) + 2;
      const std::string_view stanza = left.substr(0, end);
      if (!asked_for.contains(stanza.substr(0, stanza.find('\n')))) text += stanza;
      left.remove_prefix(end);
    }
    context_.generate(kExtendedStates, std::move(text));
    return {};
  }

  static std::set<std::string_view> package_lines(std::string_view text) {
    std::set<std::string_view> packages;
    for (const std::string_view line : lines_of(text)) {
      if (line.starts_with("Package: ")) packages.insert(line);
    }
    return packages;
  }

  // Where dpkg is, its database gets the packages that came without it.
  Status merge_package_records() {
    FR_TRY(const auto records, find_package_records(components_));
    if (records.empty() || find_last(components_, kStatus) == nullptr) return {};
    FR_TRY(const auto versions, context_.versions_of(kStatus, kMergedTextBytesMax));
    const std::vector<uint32_t> changed_by = context_.siblings_with(kStatus);
    const auto known =
        std::ranges::find(merge_.generated, std::string(kStatus), &GeneratedFile::path);
    const std::string merged = known != merge_.generated.end()
                                   ? std::string(as_text(known->content))
                                   : versions[changed_by.empty() ? 0 : changed_by.front()].text;
    auto text =
        add_package_records(versions.front().text, merged, records, components_, context_.sees());
    if (!text)
      return std::unexpected(std::move(text.error()).within(fmt::format("merging {}", kStatus)));
    context_.generate(kStatus, std::move(*text));
    std::set<std::string> paths;
    for (const PackageRecord& record : records) paths.insert(record.path);
    for (const std::string& path : paths) context_.drop(path);
    return {};
  }

  // ucf keeps old versions: hashfile.0, registry.3.
  void drop_backups() {
    for (const std::string& name : context_.names_in(kUcf)) {
      if (name.starts_with("hashfile.") || name.starts_with("registry."))
        context_.drop(fmt::format("{}/{}", kUcf, name));
    }
  }

  const std::span<const ComponentFiles> components_;
  KindMerge merge_;
  KindContext context_;
};

}  // namespace

std::vector<repository::ChunkRef> chunks_to_merge(std::span<const ComponentFiles> components,
                                                  std::span<const std::vector<uint32_t>> sees) {
  KindMerge nothing;
  const KindContext context(components, sees, nothing);
  std::vector<std::string> paths{std::string(kStatus)};
  for (const auto& [path, member] : kAccountFiles) paths.emplace_back(path);
  if (context.siblings_with(kStatus).size() > 1) paths.emplace_back(kExtendedStates);
  for (const TextFile& file : kTextFiles) {
    for (std::string& path : paths_of(file, context)) {
      if (context.siblings_with(path).size() > 1) paths.push_back(std::move(path));
    }
  }
  add_alternatives(context, paths);
  add_certificates(context, paths);
  std::vector<repository::ChunkRef> chunks;
  for (const std::string& path : paths) {
    for (const ComponentFiles& files : components) files.add_chunks(path, chunks);
  }
  return chunks;
}

Result<KindMerge> merge_by_kind(std::span<const ComponentFiles> components,
                                std::span<const std::vector<uint32_t>> sees) {
  FR_ASSERT(!components.empty());
  return KindMerger(components, sees).run();
}

}  // namespace forerun::image
