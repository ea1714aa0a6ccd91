#include "image/tar_reader.h"

#include <fmt/format.h>

namespace forerun::image {
namespace {

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kOpaqueName = ".wh..wh..opq";
constexpr std::string_view kAufsPrefix = ".wh..wh.";
constexpr uint64_t kSizeInHeaderMax = (uint64_t{1} << 33) - 1;  // eleven octal digits
constexpr size_t kGnuRunsAt = 386, kGnuRuns = 4, kGnuMoreAt = 482;
constexpr size_t kGnuMoreRuns = 21, kGnuMoreStillAt = 504;

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::kCorrupt, std::move(what));
}
std::unexpected<Error> refuse(std::string what) {
  return fail(ErrorCode::kInvalid, std::move(what));
}

bool is_regular(char type) { return type == '0' || type == '7' || type == 'S'; }

Result<InodeKind> kind_of(char type) {
  switch (type) {
    case '0':
    case '7':
    case 'S':
      return InodeKind::kRegular;
    case '2':
      return InodeKind::kSymlink;
    case '3':
      return InodeKind::kCharDevice;
    case '4':
      return InodeKind::kBlockDevice;
    case '5':
      return InodeKind::kDirectory;
    case '6':
      return InodeKind::kFifo;
    default:
      return fail(ErrorCode::kUnsupported, fmt::format("is of type '{}', which is not known here",
                                                       printable(std::string_view(&type, 1))));
  }
}

// A GNU long name ends with a NUL, which its length counts.
Result<std::string> long_text(const Buffer& body) {
  std::string_view text = as_text(body);
  const size_t end = text.find('\0');
  if (end == text.npos || text.find_first_not_of('\0', end) != text.npos || end == 0)
    return corrupt("a long name is empty or does not end");
  return std::string(text.substr(0, end));
}

}  // namespace

Result<size_t> TarReader::fill(MutableByteView out) { return read_full(stream_, out); }

Status TarReader::skip(uint64_t bytes) {
  Buffer scrap(std::min<uint64_t>(bytes, 64 * kKiB));
  while (bytes > 0) {
    const size_t wanted = std::min<uint64_t>(bytes, scrap.size());
    FR_TRY(const size_t count, fill(MutableByteView(scrap).first(wanted)));
    if (count < wanted) return corrupt("the archive is cut off within an entry");
    bytes -= wanted;
  }
  return {};
}

Status TarReader::read_block(Buffer& block) {
  block.resize(kTarBlock);
  FR_TRY(const size_t count, fill(block));
  if (count == 0) return corrupt("the archive is cut off: it has no end");
  if (count < kTarBlock) return corrupt("the archive is cut off within a header");
  return {};
}

Result<Buffer> TarReader::read_body(const TarHeader& header) {
  if (header.size > options_.limits.header_bytes_max) {
    return fail(ErrorCode::kTooLarge, fmt::format("an extended header of {} bytes; at most {}",
                                                  header.size, options_.limits.header_bytes_max));
  }
  Buffer body(header.size);
  FR_TRY(const size_t count, fill(body));
  if (count < body.size()) return corrupt("the archive is cut off within an extended header");
  FR_CHECK(skip(round_up(header.size, kTarBlock) - header.size));
  return body;
}

// Returns whether the header was one that says something of the next entry.
Result<bool> TarReader::read_extension(const TarHeader& header, Extension& extension) {
  switch (header.type) {
    case 'x': {
      if (extension.pax) return corrupt("two PAX headers for one entry");
      FR_TRY(const Buffer body, read_body(header));
      FR_TRY(extension.pax, parse_pax(body));
      return true;
    }
    case 'g': {
      FR_TRY(const Buffer body, read_body(header));
      FR_TRY(const PaxRecords records, parse_pax(body));
      if (!is_harmless(records)) {
        return fail(ErrorCode::kUnsupported,
                    "a global PAX header that changes the entries after it is not supported");
      }
      return true;
    }
    case 'L':
    case 'K': {
      auto& text = header.type == 'L' ? extension.long_name : extension.long_link;
      if (text) return corrupt("two long names for one entry");
      FR_TRY(const Buffer body, read_body(header));
      FR_TRY(text, long_text(body));
      return true;
    }
    case 'V': {  // the archive's own name
      FR_TRY(const Buffer body, read_body(header));
      return true;
    }
    default:
      return false;
  }
}

// Archives are filled up with zeroes; whatever else follows would be an entry to other readers.
Status TarReader::check_end() {
  Buffer rest(64 * kKiB);
  for (;;) {
    FR_TRY(const size_t count, fill(rest));
    if (count == 0) return {};
    if (!all_zero(ByteView(rest).first(count)))
      return corrupt("something follows the archive's end");
  }
}

Result<std::optional<TarEntry>> TarReader::next() {
  if (is_done_) return std::nullopt;
  FR_CHECK(skip(stored_left_ + padding_));
  stored_left_ = padding_ = size_ = position_ = 0;
  Extension extension;
  bool is_extended = false;
  for (Buffer block;;) {
    FR_CHECK(read_block(block));
    if (all_zero(block)) {
      if (is_extended) return corrupt("the archive ends where an entry should follow");
      FR_CHECK(check_end());
      is_done_ = true;
      return std::nullopt;
    }
    if (++entries_ > options_.limits.entries_max) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("the archive has more than {} entries", options_.limits.entries_max));
    }
    auto header = parse_tar_header(block);
    if (!header) return std::unexpected(std::move(header.error()).within("tar entry"));
    auto is_more = read_extension(*header, extension);
    if (!is_more) {
      return std::unexpected(std::move(is_more.error())
                                 .within(fmt::format("tar entry '{}'", printable(header->name))));
    }
    if (!*is_more) return read_entry(block, std::move(*header), extension);
    is_extended |= header->type != 'g' && header->type != 'V';
  }
}

Result<std::optional<TarEntry>> TarReader::read_entry(ByteView block, TarHeader header,
                                                      Extension& extension) {
  TarEntry entry;
  auto read = [&]() -> Status {
    FR_CHECK(name_entry(header, extension, entry));
    FR_CHECK(fill_inode(header, extension, entry));
    FR_CHECK(open_content(block, header, extension, entry));
    return apply_whiteouts(entry);
  };
  if (Status status = read(); !status) {
    Error& error = status.error();
    const std::string what = error.message;
    error.message = fmt::format("tar entry '{}' {}", printable(header.name), what);
    return std::unexpected(std::move(error));
  }
  return entry;
}

// Says which name holds: the header's, GNU's or PAX's. Two that differ are two archives in one.
Status TarReader::name_entry(TarHeader& header, Extension& extension, TarEntry& entry) {
  const PaxRecords none;
  const PaxRecords& pax = extension.pax ? *extension.pax : none;
  if ((extension.long_name && (pax.path || pax.sparse_name)) || (extension.long_link && pax.link))
    return corrupt("has a long name of two kinds");
  if (pax.path) header.name = *pax.path;
  if (extension.long_name) header.name = *extension.long_name;
  if (pax.sparse_name) header.name = *pax.sparse_name;
  if (pax.link) header.link = *pax.link;
  if (extension.long_link) header.link = *extension.long_link;
  FR_TRY(entry.path, plain_path(header.name));
  if (header.name.ends_with('/')) {
    // Older than type 5.
    if (header.type == '0' && header.size == 0) header.type = '5';
    if (header.type != '5') return refuse("is no directory but ends with a slash");
  }
  if (entry.path.empty() && header.type != '5') return refuse("is the root but no directory");
  if (header.type != '1') return {};
  entry.kind = TarEntry::Kind::kHardLink;
  auto target = plain_path(header.link);
  if (!target || target->empty()) {
    return refuse(fmt::format("is a hard link to '{}', which {}", printable(header.link),
                              target ? "is the root" : target.error().message));
  }
  entry.link_target = std::move(*target);
  return {};
}

Status TarReader::fill_inode(const TarHeader& header, Extension& extension, TarEntry& entry) {
  if (entry.kind == TarEntry::Kind::kHardLink) return {};
  TreeInode& inode = entry.inode;
  FR_TRY(inode.kind, kind_of(header.type));
  inode.mode = static_cast<uint16_t>(header.mode);
  inode.uid = header.uid;
  inode.gid = header.gid;
  inode.mtime_s = header.mtime_s;
  inode.device_major = header.device_major;
  inode.device_minor = header.device_minor;
  if (extension.pax) {
    PaxRecords& pax = *extension.pax;
    inode.uid = pax.uid.value_or(inode.uid);
    inode.gid = pax.gid.value_or(inode.gid);
    if (pax.mtime) std::tie(inode.mtime_s, inode.mtime_ns) = *pax.mtime;
    inode.xattrs = std::move(pax.xattrs);
  }
  if (inode.kind == InodeKind::kSymlink) {
    inode.target = header.link;
    if (inode.target.empty() || inode.target.size() > kSymlinkBytesMax ||
        inode.target.find('\0') != std::string::npos)
      return refuse("is a symbolic link whose target is empty, too long or has a NUL in it");
  }
  const bool is_device =
      inode.kind == InodeKind::kBlockDevice || inode.kind == InodeKind::kCharDevice;
  const bool is_whiteout = options_.whiteouts == TarWhiteouts::kOverlay &&
                           inode.kind == InodeKind::kCharDevice && inode.device_major == 0 &&
                           inode.device_minor == 0;
  if (is_device && !options_.allow_devices && !is_whiteout)
    return refuse("is a device, which is not allowed here");
  return {};
}

// Finds out how much of the archive belongs to the entry, and where it stands in the file.
Status TarReader::open_content(ByteView block, const TarHeader& header, const Extension& extension,
                               TarEntry& entry) {
  const PaxRecords none;
  const PaxRecords& pax = extension.pax ? *extension.pax : none;
  uint64_t stored = header.size;
  if (pax.size) {
    // Readers that overlook one of two sizes see other entries than those that do not.
    if (header.size != *pax.size && (header.size != 0 || *pax.size <= kSizeInHeaderMax))
      return refuse(fmt::format("has two sizes, {} and {}", header.size, *pax.size));
    stored = *pax.size;
  }
  if (stored > kFileSizeMax) return refuse("is too large a file");
  if (!is_regular(header.type)) {
    if (stored != 0 || pax.is_sparse) return refuse("has content, but is no regular file");
    return {};
  }
  if (header.type == 'S' && pax.is_sparse) return refuse("is sparse in two ways");
  padding_ = round_up(stored, kTarBlock) - stored;
  runs_.clear();
  run_ = 0;
  size_ = stored;
  if (header.type == 'S') {
    FR_TRY(size_, gnu_real_size(block));
    FR_CHECK(read_gnu_runs(block));
  } else if (pax.is_sparse) {
    if (!pax.sparse_size) return corrupt("is a sparse file without a size");
    size_ = *pax.sparse_size;
    runs_ = pax.sparse_map;
    if (pax.sparse_major > 1 || pax.sparse_minor > (pax.sparse_major == 0 ? 1u : 0u))
      return fail(ErrorCode::kUnsupported, "is sparse in a way not known here");
    if (pax.sparse_major == 1) FR_CHECK(read_map(stored));
  } else if (stored > 0) {
    runs_.push_back({0, stored});
  }
  stored_left_ = stored;
  FR_CHECK(check_runs(stored, size_));
  entry.inode.size = size_;
  return count(size_, stored);
}

Status TarReader::read_gnu_runs(ByteView block) {
  FR_CHECK(append_gnu_runs(block, kGnuRunsAt, kGnuRuns, runs_));
  bool has_more = has_more_gnu_runs(block, kGnuMoreAt);
  for (Buffer more; has_more;) {
    if (runs_.size() > options_.limits.sparse_runs_max) return corrupt("has too long a sparse map");
    FR_CHECK(read_block(more));
    const size_t before = runs_.size();
    FR_CHECK(append_gnu_runs(more, 0, kGnuMoreRuns, runs_));
    has_more = has_more_gnu_runs(more, kGnuMoreStillAt);
    if (has_more && runs_.size() == before) return corrupt("has a sparse map that does not go on");
  }
  return {};
}

// Reads the map that stands in front of the data in version 1.0: how many runs, then offset and
// length of each, a decimal number to a line, filled up to a block. `stored` loses what it took.
Status TarReader::read_map(uint64_t& stored) {
  Buffer block;
  size_t at = kTarBlock;
  const auto number = [&]() -> Result<uint64_t> {
    std::string text;
    for (;;) {
      if (at == kTarBlock) {
        if (stored < kTarBlock) return corrupt("has a sparse map longer than its data");
        FR_CHECK(read_block(block));
        stored -= kTarBlock;
        at = 0;
      }
      const char c = static_cast<char>(block[at++]);
      if (c != '\n') text += c;
      const auto value = parse_decimal(text);
      if (!value) return corrupt("has a sparse map that is no numbers");
      if (c == '\n') return *value;
    }
  };
  FR_TRY(const uint64_t runs, number());
  if (runs > options_.limits.sparse_runs_max) return corrupt("has too long a sparse map");
  for (uint64_t i = 0; i < runs; ++i) {
    FR_TRY(const uint64_t offset, number());
    FR_TRY(const uint64_t length, number());
    runs_.push_back({offset, length});
  }
  return {};
}

Status TarReader::check_runs(uint64_t stored, uint64_t size) {
  if (size > kFileSizeMax) return refuse("is too large a file");
  if (runs_.size() > options_.limits.sparse_runs_max) return corrupt("has too long a sparse map");
  uint64_t end = 0, sum = 0;
  for (const TarRun& run : runs_) {
    if (run.offset < end || !fits({run.offset, run.length}, size))
      return corrupt("has a sparse map out of order or past the end of the file");
    end = run.offset + run.length;
    sum += run.length;
  }
  if (sum != stored) {
    return corrupt(fmt::format("has a sparse map of {} bytes, but {} in the archive", sum, stored));
  }
  return {};
}

Status TarReader::count(uint64_t size, uint64_t stored) {
  const TarLimits& limits = options_.limits;
  content_bytes_ += size;
  stored_bytes_ += stored;
  if (content_bytes_ > limits.content_bytes_max) {
    return fail(ErrorCode::kTooLarge, fmt::format("is too much: the archive's files have over {} "
                                                  "bytes",
                                                  limits.content_bytes_max));
  }
  const uint64_t holes = content_bytes_ - stored_bytes_;
  if (holes > limits.holes_bytes_free &&
      (holes - limits.holes_bytes_free) / limits.holes_ratio_max > stored_bytes_) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("is too much: {} bytes of the archive stand for {}", stored_bytes_,
                            content_bytes_));
  }
  return {};
}

Status TarReader::apply_whiteouts(TarEntry& entry) const {
  if (options_.whiteouts == TarWhiteouts::kOverlay) {
    const TreeInode& inode = entry.inode;
    if (entry.kind == TarEntry::Kind::kInode && inode.kind == InodeKind::kCharDevice &&
        inode.device_major == 0 && inode.device_minor == 0)
      entry.kind = TarEntry::Kind::kWhiteout;
    return {};
  }
  if (options_.whiteouts != TarWhiteouts::kOci) return {};
  const size_t slash = entry.path.rfind('/');
  const size_t start = slash == std::string::npos ? 0 : slash + 1;
  const std::string name = entry.path.substr(start);
  if (!name.starts_with(kWhiteoutPrefix)) return {};
  const bool is_empty_file = entry.kind == TarEntry::Kind::kInode &&
                             entry.inode.kind == InodeKind::kRegular && entry.inode.size == 0;
  if (name == kOpaqueName) {
    if (!is_empty_file) return refuse("is a whiteout, but no empty file");
    entry.kind = TarEntry::Kind::kOpaque;
    entry.path.resize(slash == std::string::npos ? 0 : slash);
    return {};
  }
  if (name.starts_with(kAufsPrefix)) return refuse("is a file of the layers' own keeping");
  // Layers made by AUFS have hard links as whiteouts.
  if (!is_empty_file && entry.kind != TarEntry::Kind::kHardLink)
    return refuse("is a whiteout, but no empty file");
  const std::string hidden = name.substr(kWhiteoutPrefix.size());
  if (hidden.empty() || hidden == "." || hidden == "..")
    return refuse("is a whiteout of what is no name");
  entry.kind = TarEntry::Kind::kWhiteout;
  entry.path.replace(start, std::string::npos, hidden);
  return {};
}

Result<size_t> TarReader::read(MutableByteView out) {
  while (run_ < runs_.size() && position_ == runs_[run_].offset + runs_[run_].length) ++run_;
  if (position_ == size_) return 0;
  const bool is_hole = run_ == runs_.size() || position_ < runs_[run_].offset;
  const uint64_t end = run_ == runs_.size() ? size_
                       : is_hole            ? runs_[run_].offset
                                            : runs_[run_].offset + runs_[run_].length;
  const size_t count = std::min<uint64_t>(out.size(), end - position_);
  if (is_hole) {
    std::fill_n(out.begin(), count, std::byte{0});
  } else {
    FR_TRY(const size_t got, fill(out.first(count)));
    if (got < count) return corrupt("the archive is cut off within an entry");
    stored_left_ -= count;
  }
  position_ += count;
  return count;
}

}  // namespace forerun::image
