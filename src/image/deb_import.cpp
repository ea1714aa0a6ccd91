// SOURCE: deb(5), deb-conffiles(5), dpkg's /var/lib/dpkg/info (format 1).
#include "image/deb_import.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include "image/text_lines.h"

namespace forerun::image {
namespace {

constexpr std::string_view kDatabase = "var/lib/dpkg/";
constexpr size_t kInfoNameBytesMax = 50;  // as dpkg

std::unexpected<Error> refuse(std::string what) {
  return fail(ErrorCode::kInvalid, std::move(what));
}

// MD5 is what conffiles have in dpkg's database; nothing here trusts it.
class Md5 {
 public:
  Md5() { FR_ASSERT(EVP_DigestInit_ex(context_.get(), EVP_md5(), nullptr) == 1, "no MD5"); }
  void add(ByteView bytes) {
    FR_ASSERT(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  std::string finish() {
    std::array<uint8_t, 16> digest{};
    FR_ASSERT(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
    return fmt::format("{:02x}", fmt::join(digest, ""));
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_{EVP_MD_CTX_new(),
                                                                   &EVP_MD_CTX_free};
};

TreeInode file_inode(int64_t time_s, uint16_t mode, size_t size) {
  TreeInode inode;
  inode.mode = mode;
  inode.mtime_s = time_s;
  inode.size = size;
  return inode;
}

bool is_info_name(std::string_view name) {
  return !name.empty() && name.size() <= kInfoNameBytesMax && name != "list" &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '+' || c == '.';
         });
}

}  // namespace

Result<std::unique_ptr<DebReader>> DebReader::open(ByteStream stream, DebLimits limits) {
  std::unique_ptr<DebReader> reader(new DebReader(std::move(stream), limits));
  FR_CHECK(reader->read_format());
  FR_CHECK(reader->read_control());
  FR_CHECK(reader->read_conffiles());
  return reader;
}

Status DebReader::read_format() {
  FR_TRY(const auto member, archive_.next());
  if (!member || member->name != "debian-binary")
    return fail(ErrorCode::kCorrupt,
                "this is no Debian package: its first member is not "
                "'debian-binary'");
  Buffer bytes(64);
  if (member->size > bytes.size())
    return fail(ErrorCode::kCorrupt, "member 'debian-binary' is no version");
  FR_TRY(const size_t count,
         read_full([this](MutableByteView out) { return archive_.read(out); }, bytes));
  const std::string_view text = as_text(ByteView(bytes).first(count));
  const std::string_view version = text.substr(0, text.find('\n'));
  if (version.size() == text.size() || !version.starts_with("2.") ||
      !parse_decimal(version.substr(2)))
    return fail(ErrorCode::kUnsupported,
                fmt::format("the Debian package is of format '{}'; this program reads 2.x",
                            printable(version)));
  return {};
}

// Returns the next member, whose name must begin so. Those that begin with '_' are anyone's.
Result<ArMember> DebReader::next_named(std::string_view start) {
  for (;;) {
    FR_TRY(const auto member, archive_.next());
    if (!member)
      return fail(ErrorCode::kCorrupt, fmt::format("the Debian package has no {}", start));
    if (member->name.starts_with('_')) continue;
    if (!member->name.starts_with(start))
      return fail(ErrorCode::kCorrupt, fmt::format("the Debian package has '{}' where {} should be",
                                                   member->name, start));
    return *member;
  }
}

Result<ByteStream> DebReader::open_member(const ArMember& member, std::string_view start) {
  const std::string_view end = std::string_view(member.name).substr(start.size());
  Packing packing = Packing::kPlain;
  if (end == ".gz") {
    packing = Packing::kGzip;
  } else if (end == ".xz") {
    packing = Packing::kXz;
  } else if (end == ".zst") {
    packing = Packing::kZstd;
  } else if (!end.empty()) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("member '{}' is packed in a way not known here", member.name));
  }
  auto plain = unpacked_as(
      packing, [this](MutableByteView out) { return archive_.read(out); }, limits_.unpack);
  if (!plain)
    return std::unexpected(
        std::move(plain.error()).within(fmt::format("member '{}'", member.name)));
  return plain;
}

Status DebReader::read_control() {
  constexpr std::string_view kStart = "control.tar";
  FR_TRY(const ArMember member, next_named(kStart));
  FR_TRY(ByteStream plain, open_member(member, kStart));
  TarOptions options;
  options.limits.content_bytes_max = limits_.control_bytes_max + kDebControlBytesMax;
  options.limits.entries_max = limits_.control_files_max * 2;
  TarReader archive(std::move(plain), options);
  uint64_t total = 0;
  for (;;) {
    auto entry = archive.next();
    Status status;
    if (entry && *entry) status = read_control_file(archive, **entry, total);
    if (!entry) status = std::unexpected(std::move(entry.error()));
    if (!status)
      return std::unexpected(
          std::move(status.error()).within(fmt::format("member '{}'", member.name)));
    if (!*entry) break;
  }
  const auto found = info_.find("control");
  if (found == info_.end())
    return fail(ErrorCode::kCorrupt, "the Debian package has no control file");
  made_at_s_ = found->second.inode.mtime_s;
  FR_TRY(control_, parse_deb_control(found->second.content));
  info_.erase(found);
  return {};
}

Status DebReader::read_control_file(TarReader& archive, const TarEntry& entry, uint64_t& total) {
  const bool is_inode = entry.kind == TarEntry::Kind::kInode;
  if (entry.path.empty() && is_inode) return {};
  if (!is_inode || entry.inode.kind != InodeKind::kRegular || !is_info_name(entry.path))
    return refuse(
        fmt::format("'{}' is no file that a package may have there", printable(entry.path)));
  total += entry.inode.size;
  if (total > limits_.control_bytes_max + kDebControlBytesMax ||
      info_.size() >= limits_.control_files_max)
    return fail(ErrorCode::kTooLarge, fmt::format("'{}' is one file or byte too many", entry.path));
  Buffer bytes(entry.inode.size);
  FR_TRY(const size_t count,
         read_full([&](MutableByteView out) { return archive.read(out); }, bytes));
  FR_ASSERT(count == bytes.size());
  InfoFile file{file_inode(entry.inode.mtime_s, entry.inode.mode & 0777u, count),
                std::string(as_text(bytes))};
  if (!info_.emplace(entry.path, std::move(file)).second)
    return refuse(fmt::format("'{}' is there twice", entry.path));
  return {};
}

Status DebReader::read_conffiles() {
  const auto found = info_.find("conffiles");
  if (found == info_.end()) return {};
  for (std::string_view line : lines_of(found->second.content)) {
    // What an upgrade removes is not in the package.
    if (line.empty() || line.starts_with("remove-on-upgrade ")) continue;
    const auto path = line.starts_with('/') ? plain_path(line.substr(1))
                                            : Result<std::string>(refuse("is not absolute"));
    if (!path || path->empty() || *path != line.substr(1))
      return refuse(fmt::format("the package's conffiles name '{}', which is no plain path",
                                printable(line)));
    if (!conffiles_.emplace(*path, "").second)
      return refuse(fmt::format("the package's conffiles name '{}' twice", printable(line)));
    conffile_order_.push_back(*path);
  }
  return {};
}

DebState DebReader::state() const {
  for (const char* script : {"preinst", "postinst", "config"}) {
    if (info_.contains(script)) return DebState::kUnpacked;
  }
  const auto triggers = info_.find("triggers");
  if (triggers == info_.end()) return DebState::kInstalled;
  // The loader's cache is not kept in a composed disk.
  const bool is_nothing_left =
      std::ranges::all_of(lines_of(triggers->second.content), [](std::string_view line) {
        return line.empty() || line.starts_with('#') || line == "activate-noawait ldconfig" ||
               line == "activate ldconfig";
      });
  return is_nothing_left ? DebState::kInstalled : DebState::kUnpacked;
}

Status DebReader::add_to(ComponentBuilder& builder) {
  constexpr std::string_view kStart = "data.tar";
  FR_TRY(const ArMember member, next_named(kStart));
  FR_TRY(const ByteStream plain, open_member(member, kStart));
  if (Status added = add_data(plain, builder); !added)
    return std::unexpected(
        std::move(added.error()).within(fmt::format("member '{}'", member.name)));
  for (;;) {
    FR_TRY(const auto more, archive_.next());
    if (!more) break;
    if (!more->name.starts_with('_'))
      return fail(ErrorCode::kCorrupt,
                  fmt::format("the Debian package has '{}' behind its data", more->name));
  }
  return add_database(builder);
}

Status DebReader::add_data(const ByteStream& data, ComponentBuilder& builder) {
  TarOptions options;
  options.limits = limits_.data;
  TarReader archive(data, options);
  list_ = "/.\n";
  for (;;) {
    FR_TRY(std::optional<TarEntry> entry, archive.next());
    if (!entry) break;
    const std::string path = entry->path;
    if (path.starts_with(kDatabase))
      return refuse(fmt::format("'{}' is in dpkg's own database", printable(path)));
    if (path.find('\n') != path.npos)
      return refuse(fmt::format("'{}' has a line feed in its name", printable(path)));
    if (!path.empty()) list_ += fmt::format("/{}\n", path);
    FR_CHECK(add_entry(archive, std::move(*entry), builder));
  }
  for (const auto& [path, md5] : conffiles_) {
    if (md5.empty())
      return refuse(fmt::format("the conffile '/{}' is no file of the package", printable(path)));
  }
  return {};
}

Status DebReader::add_entry(TarReader& archive, TarEntry entry, ComponentBuilder& builder) {
  if (entry.kind == TarEntry::Kind::kHardLink) {
    const auto sum = sums_.find(entry.link_target);
    if (sum != sums_.end()) sums_[entry.path] = sum->second;
    return builder.add_link(entry.path, entry.link_target);
  }
  entry.inode.gives_way = entry.inode.kind == InodeKind::kDirectory;
  const auto conffile = conffiles_.find(entry.path);
  // dpkg makes the list of sums that a package does not bring.
  const bool is_summed = conffile != conffiles_.end() || !info_.contains("md5sums");
  if (!is_summed || entry.inode.kind != InodeKind::kRegular)
    return builder.add(entry.path, std::move(entry.inode),
                       [&](MutableByteView out) { return archive.read(out); });
  Md5 md5;
  FR_CHECK(
      builder.add(entry.path, std::move(entry.inode), [&](MutableByteView out) -> Result<size_t> {
        FR_TRY(const size_t count, archive.read(out));
        md5.add(out.first(count));
        return count;
      }));
  (conffile == conffiles_.end() ? sums_[entry.path] : conffile->second) = md5.finish();
  return {};
}

Status DebReader::add_database(ComponentBuilder& builder) {
  const std::string name = control_.info_name();
  const auto add = [&](const std::string& path, TreeInode inode, const std::string& content) {
    inode.size = content.size();
    return builder.add(path, std::move(inode), stream_of(as_bytes(content)));
  };
  if (!info_.contains("md5sums")) {
    InfoFile& made = info_["md5sums"];
    made.inode = file_inode(made_at_s_, 0644, 0);
    for (const auto& [path, sum] : sums_) made.content += fmt::format("{}  {}\n", sum, path);
  }
  for (const auto& [file, content] : info_) {
    FR_CHECK(
        add(fmt::format("{}info/{}.{}", kDatabase, name, file), content.inode, content.content));
  }
  FR_CHECK(
      add(fmt::format("{}info/{}.list", kDatabase, name), file_inode(made_at_s_, 0644, 0), list_));
  std::vector<DebConffile> conffiles;
  for (const std::string& path : conffile_order_)
    conffiles.push_back({"/" + path, conffiles_.at(path)});
  return add(fmt::format("{}status.d/{}", kDatabase, name), file_inode(made_at_s_, 0644, 0),
             status_stanza(control_, state(), conffiles));
}

}  // namespace forerun::image
