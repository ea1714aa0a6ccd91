// SOURCE: docs/format_component.md.
#include "image/component_index.h"

#include <fmt/format.h>

#include "core/codec.h"
#include "image/component_deltas.h"
#include "image/tree_limits.h"

namespace forerun::image {
namespace {

constexpr std::string_view kMagic = "FRCOMPT\n";
// A newer version only where it is needed: what has neither is the same in all of them.
constexpr uint16_t kVersion = 1, kVersionGivesWay = 2, kVersionDeltas = 3;
constexpr uint16_t kVersionMax = kVersionDeltas;
constexpr size_t kHeaderSize = 8 + 2 + 2 + 4 + 4 + 8;
// The least that a name and an inode take: what a count is held against before memory is reserved.
constexpr size_t kNameSizeMin = 4;   // depth, length, a byte, link
constexpr size_t kInodeSizeMin = 1;  // a whiteout
constexpr size_t kXattrSizeMin = 3;
constexpr size_t kExtentSizeMin = 3;
// The first byte of an inode.
constexpr uint8_t kKindMask = 7;
constexpr uint8_t kOpaque = 8;
constexpr uint8_t kHasXattrs = 16;
constexpr uint8_t kGivesWay = 32;

const Digest& digest_of_nothing() {
  static const Digest digest = sha256({});
  return digest;
}

uint64_t zigzag(uint64_t delta) { return delta << 1 ^ (delta >> 63 ? ~uint64_t{0} : 0); }
uint64_t unzigzag(uint64_t value) { return value >> 1 ^ (value & 1 ? ~uint64_t{0} : 0); }
uint64_t blocks_of(uint64_t bytes) { return bytes / kBlockSize + (bytes % kBlockSize != 0); }

bool is_text(std::string_view text, size_t size_max) {
  return text.size() <= size_max && std::all_of(text.begin(), text.end(), [](char c) {
           return c < 0 || (c >= 32 && c < 127);
         });
}
bool is_word(std::string_view text) { return text.empty() || is_valid_name(text); }

class Writer {
 public:
  void number(uint64_t value) {
    for (; value >= 128; value >>= 7) out_.u8(static_cast<uint8_t>(value | 128));
    out_.u8(static_cast<uint8_t>(value));
  }
  void text(std::string_view value) {
    number(value.size());
    out_.bytes(as_bytes(value));
  }
  void texts(const std::vector<std::string>& values) {
    number(values.size());
    for (const std::string& value : values) text(value);
  }

  void info(const ComponentInfo& info) {
    for (const std::string* field : {&info.name, &info.version, &info.function, &info.architecture,
                                     &info.origin, &info.licence}) {
      text(*field);
    }
    texts(info.depends);
    texts(info.provides);
  }

  void tree(const FileTree& tree) {
    std::vector<uint32_t> depth(tree.names.size());
    uint32_t written = 0;  // inodes
    for (size_t i = 0; i < tree.names.size(); ++i) {
      const TreeName& name = tree.names[i];
      FR_ASSERT(i == 0 || name.parent < i, "a canonical tree names parents first");
      FR_ASSERT(name.inode <= written, "a canonical tree numbers inodes by their first name");
      if (i > 0) {
        depth[i] = depth[name.parent] + 1;
        number(depth[i]);
        text(name.name);
        number(written - name.inode);
      }
      if (name.inode == written) inode(tree.inodes[written++]);
    }
    FR_ASSERT(written == tree.inodes.size(), "a canonical tree has a name for every inode");
  }

  ByteWriter& bytes() { return out_; }

 private:
  void inode(const TreeInode& inode) {
    auto head = static_cast<uint8_t>(inode.kind);
    if (inode.is_opaque) head |= kOpaque;
    if (inode.gives_way) head |= kGivesWay;
    if (!inode.xattrs.empty()) head |= kHasXattrs;
    out_.u8(head);
    if (inode.kind == InodeKind::kWhiteout) return;
    number(inode.mode);
    number(inode.uid);
    number(inode.gid);
    const auto mtime = static_cast<uint64_t>(inode.mtime_s);
    number(zigzag(mtime - mtime_));
    mtime_ = mtime;
    number(inode.mtime_ns);
    if (!inode.xattrs.empty()) xattrs(inode.xattrs);
    if (inode.kind == InodeKind::kRegular) regular(inode);
    if (inode.kind == InodeKind::kSymlink) text(inode.target);
    if (inode.kind == InodeKind::kBlockDevice || inode.kind == InodeKind::kCharDevice) {
      number(inode.device_major);
      number(inode.device_minor);
    }
  }

  void xattrs(const std::vector<Xattr>& xattrs) {
    number(xattrs.size());
    for (const Xattr& xattr : xattrs) {
      text(xattr.name);
      text(as_text(xattr.value));
    }
  }

  void regular(const TreeInode& inode) {
    number(inode.size);
    if (inode.size == 0) return;
    out_.bytes(std::as_bytes(std::span(inode.content.bytes)));
    number(inode.extents.size());
    uint64_t file_block = 0;
    for (const FileExtent& extent : inode.extents) {
      const uint64_t first = extent.file_offset / kBlockSize;
      const uint64_t data = extent.data_offset / kBlockSize;
      const uint64_t length = blocks_of(extent.length);
      number(first - file_block);
      number(zigzag(data - data_block_));
      number(length);
      file_block = first + length;
      data_block_ = data + length;
    }
  }

  ByteWriter out_;
  uint64_t mtime_ = 0;       // of the inode before
  uint64_t data_block_ = 0;  // after the extent before, of whatever file
};

// Where an extent's data stands, to find those that overlap.
struct DataRun {
  uint64_t first;  // blocks
  uint64_t length;
  uint32_t inode;
};

class Parser {
 public:
  explicit Parser(ByteView data) : data_(data) {}

  Result<ComponentIndex> parse() {
    FR_CHECK(parse_header());
    FR_CHECK(parse_data());
    if (version_ == kVersionDeltas) {
      FR_TRY(const size_t size, read_deltas(data_.subspan(at_), index_.data));
      at_ += size;
    }
    FR_CHECK(parse_info());
    FR_CHECK(parse_tree());
    if (!good_ || left() != 0) return corrupt("bytes follow the last name");
    if (version_ == kVersionGivesWay && !any_gives_way_) return corrupt("version 2 without need");
    FR_CHECK(check_data_runs());
    return std::move(index_);
  }

 private:
  // A directory that later names may still belong to.
  struct OpenDirectory {
    uint32_t name;
    uint32_t last_child;  // 0: none yet
    size_t path_bytes;
  };

  std::unexpected<Error> corrupt(std::string_view what) const {
    return fail(ErrorCode::kCorrupt,
                fmt::format("the component index is malformed at byte {}: {}", at_, what));
  }
  size_t left() const { return data_.size() - at_; }

  ByteView bytes(size_t length) {
    if (length > left()) {
      good_ = false;
      at_ = data_.size();
      return {};
    }
    at_ += length;
    return data_.subspan(at_ - length, length);
  }
  uint8_t byte() {
    if (at_ == data_.size()) {
      good_ = false;
      return 0;
    }
    return std::to_integer<uint8_t>(data_[at_++]);
  }
  // Seven bits a byte, the lowest first. A number has one form: its last byte is not zero.
  uint64_t number() {
    const uint8_t first = byte();
    if (first < 128) return first;
    uint64_t value = first & 127;
    for (int shift = 7; shift < 64; shift += 7) {
      const uint8_t next = byte();
      if (next == 0 || (shift == 63 && next > 1)) break;
      value |= static_cast<uint64_t>(next & 127) << shift;
      if (next < 128) return value;
    }
    good_ = false;
    return 0;
  }
  // Returns a number, or turns bad if it is above `max`.
  uint64_t number_up_to(uint64_t max) {
    const uint64_t value = number();
    if (value <= max) return value;
    good_ = false;
    return 0;
  }
  std::string_view text(size_t size_max) { return as_text(bytes(number_up_to(size_max))); }

  Status parse_header() {
    if (data_.size() > kComponentIndexBytesMax) {
      return fail(ErrorCode::kTooLarge, fmt::format("the component index has {} bytes; at most {}",
                                                    data_.size(), kComponentIndexBytesMax));
    }
    if (data_.size() < kHeaderSize) return corrupt("it ends within the header");
    ByteReader header(bytes(kHeaderSize));
    if (as_text(header.bytes(kMagic.size())) != kMagic)
      return corrupt("it does not start as a component index does");
    version_ = header.u16();
    if (version_ < kVersion || version_ > kVersionMax) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("the component index has version {}; this program reads up to {}",
                              version_, kVersionMax));
    }
    if (header.u16() != 0) return corrupt("reserved bits are set");
    name_count_ = header.u32();
    inode_count_ = header.u32();
    data_index_bytes_ = header.u64();
    if (name_count_ > kTreeNamesMax) {
      return fail(ErrorCode::kTooLarge, fmt::format("the component has {} names; at most {}",
                                                    name_count_, kTreeNamesMax));
    }
    if (data_index_bytes_ > left()) return corrupt("its chunk list is cut off");
    const size_t rest = left() - data_index_bytes_;
    if (name_count_ == 0 || name_count_ > rest / kNameSizeMin || inode_count_ > name_count_ ||
        inode_count_ > rest / kInodeSizeMin)
      return corrupt("it claims names or inodes that do not follow");
    return {};
  }

  Status parse_data() {
    if (data_index_bytes_ == 0) return {};
    const ByteView section = bytes(data_index_bytes_);
    // No chunk of a component is zeroes, so each takes 36 bytes: a larger claim is a lie.
    const uint64_t chunks_max = section.size() / 36;
    auto data = repository::parse_index(
        section, std::min(kComponentDataBytesMax, chunks_max * repository::kChunkSize));
    if (!data) return std::unexpected(std::move(data.error()).within("the component's data"));
    index_.data = std::move(*data);
    if (index_.data.size_bytes % kBlockSize != 0) return corrupt("its data is no whole blocks");
    for (const auto& chunk : index_.data.chunks) {
      if (chunk.is_zero()) return corrupt("a chunk of zeroes should be a hole");
    }
    return {};
  }

  Status parse_info() {
    ComponentInfo& info = index_.info;
    info.name = text(kNameBytesMax);
    info.version = text(kVersionBytesMax);
    info.function = text(kNameBytesMax);
    info.architecture = text(kNameBytesMax);
    info.origin = text(kInfoTextBytesMax);
    info.licence = text(kInfoTextBytesMax);
    if (!good_ || !is_valid_name(info.name) || !is_text(info.version, kVersionBytesMax) ||
        !is_word(info.function) || !is_word(info.architecture) ||
        !is_text(info.origin, kInfoTextBytesMax) || !is_text(info.licence, kInfoTextBytesMax))
      return corrupt("what it says of the component is not readable");
    FR_CHECK(parse_names_of_others(info.depends));
    return parse_names_of_others(info.provides);
  }

  Status parse_names_of_others(std::vector<std::string>& names) {
    const uint64_t count = number_up_to(kInfoListMax);
    for (uint64_t i = 0; i < count && good_; ++i) {
      const std::string_view name = text(kNameBytesMax);
      if (!is_valid_name(name)) return corrupt("it names no component it could depend on");
      if (i > 0 && name <= names.back()) return corrupt("names of components are not in order");
      names.emplace_back(name);
    }
    if (!good_) return corrupt("its dependencies are cut off, or too many");
    return {};
  }

  Status parse_tree() {
    FileTree& tree = index_.tree;
    tree.names.reserve(name_count_);
    tree.inodes.reserve(inode_count_);
    tree.names.emplace_back();
    FR_CHECK(parse_inode());
    if (tree.inodes[0].kind != InodeKind::kDirectory) return corrupt("its root is no directory");
    open_.push_back({0, 0, 0});
    while (tree.names.size() < name_count_) FR_CHECK(parse_name());
    if (tree.inodes.size() != inode_count_) return corrupt("it has fewer inodes than it claims");
    return {};
  }

  Status parse_name() {
    FileTree& tree = index_.tree;
    const uint64_t depth = number();
    if (depth == 0 || depth > open_.size()) return corrupt("a name is in no directory");
    open_.resize(depth);
    OpenDirectory& parent = open_.back();
    const std::string_view name = text(kNameBytesMax);
    const size_t path_bytes = parent.path_bytes + 1 + name.size();
    if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos ||
        name.find('\0') != name.npos)
      return corrupt("it holds what cannot be a name");
    if (path_bytes > kPathBytesMax || depth > kTreeDepthMax) return corrupt("a path is too long");
    if (parent.last_child != 0 && name <= tree.names[parent.last_child].name)
      return corrupt("the names of a directory are not in order, or one is there twice");
    const auto number_of_name = static_cast<uint32_t>(tree.names.size());
    parent.last_child = number_of_name;
    const uint64_t back = number();
#ifndef FORERUN_PLANT_BUG_COMPONENT  // set by fuzz/component/prove.sh only
    if (back > tree.inodes.size()) return corrupt("a name has no inode");
#endif
    const auto inode = static_cast<uint32_t>(tree.inodes.size() - back);
    tree.names.push_back({parent.name, inode, std::string(name)});
    if (back == 0) {
      FR_CHECK(parse_inode());
      if (tree.inodes[inode].kind == InodeKind::kDirectory)
        open_.push_back({number_of_name, 0, path_bytes});
      return {};
    }
    const InodeKind kind = tree.inodes[inode].kind;
    if (kind == InodeKind::kDirectory || kind == InodeKind::kWhiteout)
      return corrupt("a directory or a whiteout has two names");
    return {};
  }

  Status parse_inode() {
    if (index_.tree.inodes.size() == inode_count_) return corrupt("more inodes than it claims");
    TreeInode& inode = index_.tree.inodes.emplace_back();
    const uint8_t head = byte();
    const int known = kKindMask | kOpaque | kHasXattrs | (version_ == kVersion ? 0 : kGivesWay);
    if (!good_ || (head & kKindMask) == 0 || (head & ~known) != 0)
      return corrupt("an inode of an unknown kind");
    inode.kind = static_cast<InodeKind>(head & kKindMask);
    inode.is_opaque = (head & kOpaque) != 0;
    inode.gives_way = (head & kGivesWay) != 0;
    if ((inode.is_opaque || inode.gives_way) && inode.kind != InodeKind::kDirectory)
      return corrupt("what is no directory is opaque or gives way");
    any_gives_way_ |= inode.gives_way;
    if (inode.kind == InodeKind::kWhiteout) {
      if ((head & kHasXattrs) != 0) return corrupt("a whiteout has attributes");
      return {};
    }
    inode.mode = static_cast<uint16_t>(number_up_to(kModeMax));
    inode.uid = static_cast<uint32_t>(number_up_to(UINT32_MAX));
    inode.gid = static_cast<uint32_t>(number_up_to(UINT32_MAX));
    mtime_ += unzigzag(number());
    inode.mtime_s = static_cast<int64_t>(mtime_);
    inode.mtime_ns = static_cast<uint32_t>(number_up_to(kNanosecondsMax));
    if (!good_) return corrupt("an inode's attributes are out of range");
    if ((head & kHasXattrs) != 0) FR_CHECK(parse_xattrs(inode));
    if (inode.kind == InodeKind::kRegular) return parse_regular(inode);
    if (inode.kind == InodeKind::kSymlink) return parse_symlink(inode);
    if (inode.kind == InodeKind::kBlockDevice || inode.kind == InodeKind::kCharDevice) {
      inode.device_major = static_cast<uint32_t>(number_up_to(kDeviceMajorMax));
      inode.device_minor = static_cast<uint32_t>(number_up_to(kDeviceMinorMax));
      if (!good_) return corrupt("a device's number is out of range");
    }
    return {};
  }

  Status parse_xattrs(TreeInode& inode) {
    const uint64_t count = number_up_to(std::min<uint64_t>(kXattrsMax, left() / kXattrSizeMin));
    if (count == 0) return corrupt("no extended attributes, or too many");
    inode.xattrs.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      const std::string_view name = text(kXattrNameBytesMax);
      const ByteView value = bytes(number_up_to(kXattrValueBytesMax));
      if (!good_ || name.empty() || name.find('\0') != name.npos)
        return corrupt("an extended attribute is cut off, too long or without a name");
      if (i > 0 && name <= inode.xattrs.back().name)
        return corrupt("extended attributes are not in order");
      inode.xattrs.push_back({std::string(name), Buffer(value.begin(), value.end())});
    }
    return {};
  }

  Status parse_symlink(TreeInode& inode) {
    inode.target = text(kSymlinkBytesMax);
    if (!good_ || inode.target.empty() || inode.target.find('\0') != std::string::npos)
      return corrupt("a symbolic link leads nowhere");
    return {};
  }

  Status parse_regular(TreeInode& inode) {
    inode.size = number_up_to(kFileSizeMax);
    if (!good_) return corrupt("a file's size is out of range");
    if (inode.size == 0) {
      inode.content = digest_of_nothing();
      return {};
    }
    const ByteView digest = bytes(inode.content.bytes.size());
    if (!good_) return corrupt("a file's digest is cut off");
    std::memcpy(inode.content.bytes.data(), digest.data(), digest.size());
    const uint64_t count = number();
    if (!good_ || count > left() / kExtentSizeMin)
      return corrupt("a file claims extents that do not follow");
    inode.extents.reserve(count);
    const uint64_t file_blocks = blocks_of(inode.size);
    const uint64_t data_blocks = index_.data.size_bytes / kBlockSize;
    uint64_t file_block = 0;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t gap = number_up_to(file_blocks - file_block);
      const uint64_t delta = unzigzag(number());
      const uint64_t length = number_up_to(file_blocks - file_block - gap);
      const uint64_t data_block = data_block_ + delta;
      if (!good_ || length == 0) return corrupt("an extent passes the end of its file");
      if (data_block > data_blocks || length > data_blocks - data_block)
        return corrupt("an extent passes the end of the data");
      if (i > 0 && gap == 0 && delta == 0) return corrupt("two extents that should be one");
      const uint64_t offset = (file_block + gap) * kBlockSize;
      inode.extents.push_back(
          {offset, data_block * kBlockSize, std::min(length * kBlockSize, inode.size - offset)});
      runs_.push_back({data_block, length, static_cast<uint32_t>(index_.tree.inodes.size() - 1)});
      file_block += gap + length;
      data_block_ = data_block + length;
    }
    return {};
  }

  // Files of one content share their data, all of it; nothing else is shared.
  Status check_data_runs() {
    const auto before = [](const DataRun& a, const DataRun& b) { return a.first < b.first; };
    if (!std::is_sorted(runs_.begin(), runs_.end(), before))
      std::sort(runs_.begin(), runs_.end(), before);
    const std::vector<TreeInode>& inodes = index_.tree.inodes;
    for (size_t i = 1; i < runs_.size(); ++i) {
      const DataRun& a = runs_[i - 1];
      const DataRun& b = runs_[i];
      if (b.first >= a.first + a.length) continue;
      const bool is_shared = a.first == b.first && a.length == b.length && a.inode != b.inode &&
                             inodes[a.inode].content == inodes[b.inode].content &&
                             inodes[a.inode].size == inodes[b.inode].size;
      if (!is_shared) return corrupt("two files that differ have data in common");
    }
    return {};
  }

  const ByteView data_;
  size_t at_ = 0;
  bool good_ = true;
  uint16_t version_ = 0;
  bool any_gives_way_ = false;
  uint32_t name_count_ = 0;
  uint32_t inode_count_ = 0;
  uint64_t data_index_bytes_ = 0;
  uint64_t mtime_ = 0;
  uint64_t data_block_ = 0;
  std::vector<OpenDirectory> open_;
  std::vector<DataRun> runs_;
  ComponentIndex index_;
};

}  // namespace

Buffer serialize(const ComponentIndex& index) {
  const Buffer data = index.data.size_bytes == 0 ? Buffer() : repository::serialize(index.data);
  Writer out;
  out.bytes().bytes(as_bytes(kMagic));
  const bool any_gives_way = std::ranges::any_of(
      index.tree.inodes, [](const TreeInode& inode) { return inode.gives_way; });
  const bool any_delta = std::ranges::any_of(index.data.chunks, &repository::ChunkRef::is_delta);
  out.bytes().u16(any_delta ? kVersionDeltas : any_gives_way ? kVersionGivesWay : kVersion);
  out.bytes().u16(0);
  out.bytes().u32(static_cast<uint32_t>(index.tree.names.size()));
  out.bytes().u32(static_cast<uint32_t>(index.tree.inodes.size()));
  out.bytes().u64(data.size());
  out.bytes().bytes(data);
  if (any_delta) write_deltas(index.data, out.bytes());
  out.info(index.info);
  out.tree(index.tree);
  return out.bytes().take();
}

Result<ComponentIndex> parse_component_index(ByteView data) { return Parser(data).parse(); }

}  // namespace forerun::image
