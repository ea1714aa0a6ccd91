// The alternatives on the disk: admin files and the links that follow them. SOURCE: as
// alternatives_merge.h.
#include <fmt/format.h>

#include "image/alternatives_merge.h"
#include "image/kind_context.h"

namespace forerun::image {
namespace {

constexpr std::string_view kAdminFolder = "/var/lib/dpkg/alternatives";
constexpr std::string_view kLinkFolder = "/etc/alternatives";
constexpr uint64_t kAdminBytesMax = 4 * kMiB;

class GroupMerge {
 public:
  GroupMerge(KindContext& context, std::string name)
      : context_(context),
        name_(std::move(name)),
        admin_(fmt::format("{}/{}", kAdminFolder, name_)) {}

  // Where one component alone changes a group, its files are right as they are.
  Status run() {
    const std::vector<uint32_t> siblings = context_.siblings_with(admin_);
    if (siblings.size() < 2) return {};
    FR_TRY(const LinkGroupVersion base, version_of(0));
    std::vector<LinkGroupVersion> versions;
    for (const uint32_t sibling : siblings) {
      FR_TRY(LinkGroupVersion version, version_of(sibling));
      versions.push_back(std::move(version));
    }
    auto merged = merge_link_groups(base, versions);
    if (!merged) return std::unexpected(std::move(merged.error()).within("merging " + admin_));
    versions.push_back(base);
    for (const LinkGroupVersion& version : versions) {
      if (version.group) FR_CHECK(forget_links(*version.group));
    }
    if (!merged->group) {
      context_.drop(admin_);
      context_.drop(link_path(name_));
      return {};
    }
    context_.generate(admin_, serialize(*merged->group));
    return put_links(*merged);
  }

 private:
  static std::string link_path(std::string_view name) {
    return fmt::format("{}/{}", kLinkFolder, name);
  }

  Result<LinkGroupVersion> version_of(size_t component) const {
    const ComponentFiles& files = context_.components()[component];
    LinkGroupVersion version{files.name(), {}, {}};
    FR_TRY(const auto text, files.text(admin_, kAdminBytesMax));
    if (!text) return version;
    auto group = parse_link_group(*text);
    if (!group)
      return std::unexpected(
          std::move(group.error()).within(fmt::format("{}: {}", files.name(), admin_)));
    version.group = std::move(*group);
    const TreeInode* link = files.find(link_path(name_));
    if (link == nullptr) link = context_.components()[0].find(link_path(name_));
    if (link != nullptr) version.chosen = link->target;
    return version;
  }

  // A link's folder may be reached through another link: /bin/sh.
  Result<std::string> place_of(const std::string& link) const {
    const size_t slash = link.rfind('/');
    const auto folder = resolve_path(context_.components(), link.substr(0, slash));
    if (!folder || link.ends_with('/') || link.find("/../") != link.npos)
      return fail(ErrorCode::kInvalid, fmt::format("{}: the link {} cannot be", admin_, link));
    return *folder == "/" ? link.substr(slash) : *folder + link.substr(slash);
  }

  // Only links are dropped: a file in their place is somebody's.
  Status forget_links(const LinkGroup& group) {
    for (const auto& [slave, link] : group.slaves) {
      context_.drop(link_path(slave));
      FR_TRY(const std::string place, place_of(link));
      const TreeInode* there = find_last(context_.components(), place);
      if (there != nullptr && there->kind == InodeKind::kSymlink) context_.drop(place);
    }
    return {};
  }

  Status put_links(const MergedLinkGroup& merged) {
    const LinkGroup& group = *merged.group;
    context_.link(link_path(name_), merged.chosen);
    FR_TRY(const std::string place, place_of(group.link));
    context_.link(place, link_path(name_));
    for (const auto& [slave, file] : group.choices.at(merged.chosen).slaves) {
      const auto link = group.slaves.find(slave);
      const auto target = resolve_path(context_.components(), file);
      if (link == group.slaves.end() || !target ||
          find_last(context_.components(), *target) == nullptr)
        continue;  // update-alternatives leaves out what is not installed
      context_.link(link_path(slave), file);
      FR_TRY(const std::string slave_place, place_of(link->second));
      context_.link(slave_place, link_path(slave));
    }
    return {};
  }

  KindContext& context_;
  const std::string name_, admin_;
};

}  // namespace

void add_alternatives(const KindContext& context, std::vector<std::string>& paths) {
  for (const std::string& name : context.names_in(kAdminFolder)) {
    std::string path = fmt::format("{}/{}", kAdminFolder, name);
    if (context.siblings_with(path).size() > 1) paths.push_back(std::move(path));
  }
}

Status merge_alternatives(KindContext& context) {
  for (const std::string& name : context.names_in(kAdminFolder))
    FR_CHECK(GroupMerge(context, name).run());
  return {};
}

}  // namespace forerun::image
