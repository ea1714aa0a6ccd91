#include "image/tar_import.h"

#include <fmt/format.h>

namespace forerun::image {
namespace {

Status add_entry(TarReader& archive, TarEntry& entry, ComponentBuilder& builder) {
  switch (entry.kind) {
    case TarEntry::Kind::kInode:
      return builder.add(entry.path, std::move(entry.inode),
                         [&](MutableByteView out) { return archive.read(out); });
    case TarEntry::Kind::kHardLink:
      return builder.add_link(entry.path, entry.link_target);
    case TarEntry::Kind::kWhiteout:
      return builder.add_whiteout(entry.path);
    case TarEntry::Kind::kOpaque:
      return builder.set_opaque(entry.path);
  }
  return fail(ErrorCode::kInternal, "a tar entry of no kind");
}

}  // namespace

Status add_tar(TarReader& archive, ComponentBuilder& builder) {
  for (;;) {
    FR_TRY(std::optional<TarEntry> entry, archive.next());
    if (!entry) return {};
    if (Status added = add_entry(archive, *entry, builder); !added)
      return std::unexpected(std::move(added.error()).within("tar entry"));
  }
}

}  // namespace forerun::image
