#include "image/merge_by_kind.h"

#include <fmt/format.h>

#include <array>
#include <set>

#include "image/package_records.h"
#include "image/text_merge.h"

namespace forerun::image {
namespace {

constexpr std::array<std::string_view, 2> kPackage{"Package", "Architecture"};

enum class TextKind { kStanzas, kLines };
struct TextFile {
  std::string_view path;
  TextKind kind;
};
// SOURCE: dpkg(1), apt-mark(8), shells(5), dpkg-statoverride(1), update-ca-certificates(8).
constexpr std::string_view kStatus = "/var/lib/dpkg/status";
constexpr std::array<TextFile, 7> kTextFiles{{
    {kStatus, TextKind::kStanzas},
    {"/var/lib/apt/extended_states", TextKind::kStanzas},
    {"/var/lib/dpkg/statoverride", TextKind::kLines},
    {"/var/lib/dpkg/triggers/File", TextKind::kLines},
    {"/etc/shells", TextKind::kLines},
    {"/etc/services", TextKind::kLines},
    {"/etc/ca-certificates.conf", TextKind::kLines},
}};

// Caches and traces of a build: each system makes its own. The loader finds libraries in its usual
// folders without a cache.
constexpr std::array<std::string_view, 15> kDropped{"/etc/ld.so.cache",
                                                    "/var/cache/ldconfig/aux-cache",
                                                    "/etc/passwd-",
                                                    "/etc/group-",
                                                    "/etc/shadow-",
                                                    "/etc/gshadow-",
                                                    "/var/lib/dpkg/status-old",
                                                    "/var/lib/dpkg/diversions-old",
                                                    "/var/log/dpkg.log",
                                                    "/var/log/alternatives.log",
                                                    "/var/log/apt/history.log",
                                                    "/var/log/apt/term.log",
                                                    "/var/log/apt/eipp.log.xz",
                                                    "/var/cache/debconf/config.dat-old",
                                                    "/var/cache/debconf/templates.dat-old"};

// Where independent packages write beside each other, and order decides.
constexpr std::array<std::string_view, 5> kLastWins{
    "/etc/alternatives/", "/var/lib/dpkg/alternatives/", "/var/cache/debconf/",
    "/var/lib/systemd/deb-systemd-helper-enabled/", "/var/lib/dpkg/lock"};

const TreeInode* first_with(std::span<const ComponentFiles> components, std::string_view path) {
  for (const ComponentFiles& files : components) {
    if (const TreeInode* inode = files.find(path); inode && inode->kind == InodeKind::kRegular)
      return inode;
  }
  return nullptr;
}

class KindMerger {
 public:
  KindMerger(std::span<const ComponentFiles> components,
             std::span<const std::vector<uint32_t>> sees)
      : components_(components), sees_(sees) {}

  Result<KindMerge> run() {
    FR_CHECK(merge_all_accounts());
    for (const TextFile& file : kTextFiles) FR_CHECK(merge_text(file));
    FR_CHECK(merge_package_records());
    for (const std::string_view path : kDropped) drop(path);
    for (const std::string_view path : kLastWins) merge_.last_wins.emplace_back(path);
    return std::move(merge_);
  }

 private:
  // The text as each component has it: its own file, that of the last one it was built on, or the
  // base's.
  Result<std::vector<TextVersion>> versions_of(std::string_view path, uint64_t bytes_max) {
    std::vector<TextVersion> versions;
    for (size_t i = 0; i < components_.size(); ++i) {
      const ComponentFiles& files = components_[i];
      FR_TRY(auto text, files.text(path, bytes_max));
      if (!text && i > 0 && files.find(path) == nullptr)
        text = versions[last_seen(i, [&](size_t below) { return has(below, path); })].text;
      versions.push_back({files.name(), text ? std::move(*text) : std::string()});
    }
    return versions;
  }

  bool has(size_t component, std::string_view path) const {
    return components_[component].find(path) != nullptr;
  }
  bool sees(size_t later, uint32_t earlier) const {
    return later < sees_.size() && std::ranges::find(sees_[later], earlier) != sees_[later].end();
  }
  // Returns the last one that `component` was built on and for which test() holds; else the base.
  template <typename Test>
  size_t last_seen(size_t component, const Test& test) const {
    for (size_t below = component; below-- > 1;) {
      if (sees(component, static_cast<uint32_t>(below)) && test(below)) return below;
    }
    return 0;
  }
  // Returns the last one that was built on `component` and for which test() holds, else itself.
  template <typename Test>
  size_t topmost(size_t component, const Test& test) const {
    for (size_t above = components_.size(); --above > component;) {
      if (sees(above, static_cast<uint32_t>(component)) && test(above)) return above;
    }
    return component;
  }

  bool changes(std::string_view path) const {
    return std::any_of(components_.begin() + 1, components_.end(),
                       [&](const ComponentFiles& files) { return files.find(path) != nullptr; });
  }

  void generate(std::string_view path, std::string text) {
    const TreeInode* like = first_with(components_, path);
    if (like == nullptr) return;
    GeneratedFile file;
    file.path = path;
    file.inode = *like;
    file.inode.extents.clear();
    file.inode.size = text.size();
    file.inode.content = sha256(as_bytes(text));
    const ByteView bytes = as_bytes(text);
    file.content.assign(bytes.begin(), bytes.end());
    merge_.generated.push_back(std::move(file));
  }

  void drop(std::string_view path) {
    if (first_with(components_, path) == nullptr) return;
    GeneratedFile file;
    file.path = path;
    file.inode.kind = InodeKind::kWhiteout;
    merge_.generated.push_back(std::move(file));
  }

  Status merge_all_accounts() {
    std::vector<AccountFiles> accounts(components_.size());
    const std::array<std::pair<std::string_view, std::string AccountFiles::*>, 4> kFiles{{
        {"/etc/passwd", &AccountFiles::passwd},
        {"/etc/group", &AccountFiles::group},
        {"/etc/shadow", &AccountFiles::shadow},
        {"/etc/gshadow", &AccountFiles::gshadow},
    }};
    for (const auto& [path, member] : kFiles) {
      FR_TRY(auto versions, versions_of(path, kAccountBytesMax));
      for (size_t i = 0; i < versions.size(); ++i) {
        accounts[i].component = versions[i].component;
        accounts[i].*member = std::move(versions[i].text);
      }
    }
    const auto has_accounts = [&](size_t component) {
      return std::ranges::any_of(kFiles,
                                 [&](const auto& file) { return has(component, file.first); });
    };
    std::vector<AccountFiles> siblings;
    std::map<size_t, size_t> sibling_of;  // component: its number among them
    for (size_t i = 1; i < accounts.size(); ++i) {
      if (topmost(i, has_accounts) != i) continue;
      sibling_of.emplace(i, siblings.size());
      siblings.push_back(std::move(accounts[i]));
    }
    FR_TRY(merge_.accounts, merge_accounts(accounts.front(), siblings));
    merge_.ids.emplace_back();  // the base's
    for (size_t i = 1; i < accounts.size(); ++i)
      merge_.ids.push_back(merge_.accounts.ids[sibling_of.at(topmost(i, has_accounts))]);
    generate("/etc/passwd", merge_.accounts.passwd);
    generate("/etc/group", merge_.accounts.group);
    generate("/etc/shadow", merge_.accounts.shadow);
    generate("/etc/gshadow", merge_.accounts.gshadow);
    return {};
  }

  Status merge_text(const TextFile& file) {
    if (!changes(file.path)) return {};
    FR_TRY(const auto versions, versions_of(file.path, kMergedTextBytesMax));
    const auto has_file = [&](size_t component) { return has(component, file.path); };
    std::vector<TextVersion> siblings;
    for (size_t i = 1; i < versions.size(); ++i) {
      if (topmost(i, has_file) == i) siblings.push_back(versions[i]);
    }
    auto merged = file.kind == TextKind::kStanzas
                      ? merge_stanzas(versions.front(), siblings, kPackage)
                      : merge_lines(versions.front(), siblings);
    if (!merged)
      return std::unexpected(
          std::move(merged.error()).within(fmt::format("merging {}", file.path)));
    generate(file.path, std::move(*merged));
    return {};
  }

  // Where dpkg is, its database gets the packages that came without it.
  Status merge_package_records() {
    FR_TRY(const auto records, find_package_records(components_));
    if (records.empty() || first_with(components_, kStatus) == nullptr) return {};
    FR_TRY(const auto base, components_.front().text(kStatus, kMergedTextBytesMax));
    const std::string base_text = base.value_or("");
    const auto known =
        std::ranges::find(merge_.generated, std::string(kStatus), &GeneratedFile::path);
    const std::string merged =
        known == merge_.generated.end() ? base_text : std::string(as_text(known->content));
    auto text = add_package_records(base_text, merged, records, components_, sees_);
    if (!text)
      return std::unexpected(std::move(text.error()).within(fmt::format("merging {}", kStatus)));
    if (known != merge_.generated.end()) merge_.generated.erase(known);
    generate(kStatus, std::move(*text));
    std::set<std::string> paths;
    for (const PackageRecord& record : records) paths.insert(record.path);
    for (const std::string& path : paths) drop(path);
    return {};
  }

  const std::span<const ComponentFiles> components_;
  const std::span<const std::vector<uint32_t>> sees_;
  KindMerge merge_;
};

}  // namespace

Result<KindMerge> merge_by_kind(std::span<const ComponentFiles> components,
                                std::span<const std::vector<uint32_t>> sees) {
  FR_ASSERT(!components.empty());
  return KindMerger(components, sees).run();
}

}  // namespace forerun::image
