// Fuzzes the parser of component indexes: builds a right one, spoils fields of it before it is
// written down, and bytes after.
#include <fuzzer/FuzzedDataProvider.h>

#include "image/component_index.h"
#include "image/tree_builder.h"
#include "image/tree_limits.h"

using namespace forerun;
using namespace forerun::image;

namespace {

constexpr int kEntriesMax = 12;

void require(bool condition) {
  if (!condition) __builtin_trap();
}

Digest digest_of(uint64_t number) {
  return sha256({reinterpret_cast<const std::byte*>(&number), sizeof number});
}

TreeInode build_inode(FuzzedDataProvider& input, uint64_t& data_end, uint64_t number) {
  TreeInode inode;
  inode.kind = static_cast<InodeKind>(input.ConsumeIntegralInRange<int>(1, 6));
  inode.mode = input.ConsumeIntegralInRange<uint16_t>(0, kModeMax);
  inode.uid = input.ConsumeIntegral<uint32_t>();
  inode.mtime_s = input.ConsumeIntegral<int64_t>();
  inode.mtime_ns = input.ConsumeIntegralInRange<uint32_t>(0, kNanosecondsMax);
  if (input.ConsumeBool()) inode.xattrs = {{"user.a", Buffer(3)}, {"user.b", {}}};
  if (inode.kind == InodeKind::kSymlink) inode.target = "to/somewhere";
  if (inode.kind == InodeKind::kCharDevice) inode.device_minor = 3;
  if (inode.kind != InodeKind::kRegular) return inode;
  inode.size = input.ConsumeIntegralInRange<uint64_t>(0, 4 * kBlockSize);
  inode.content = inode.size == 0 ? sha256({}) : digest_of(number);
  const bool has_hole = input.ConsumeBool() && inode.size > kBlockSize;
  const uint64_t start = has_hole ? kBlockSize : 0;
  if (inode.size > start) {
    inode.extents = {{start, data_end, inode.size - start}};
    data_end += round_up(inode.size - start, kBlockSize);
  }
  return inode;
}

ComponentIndex build(FuzzedDataProvider& input) {
  constexpr std::string_view kPaths[] = {"a", "a/b", "a/b/c", "a-", "b", "b/c", "c", "c/a/b", "d"};
  ComponentIndex index;
  index.info.name = "part";
  if (input.ConsumeBool()) index.info.depends = {"base", "other"};
  TreeBuilder tree;
  uint64_t data_end = 0;
  for (int i = input.ConsumeIntegralInRange<int>(0, kEntriesMax); i > 0; --i) {
    const std::string_view path = input.PickValueInArray(kPaths);
    Status added;
    switch (input.ConsumeIntegralInRange<int>(0, 5)) {
      case 0:
        added = tree.add_whiteout(path);
        break;
      case 1:
        added = tree.add_link(path, input.PickValueInArray(kPaths));
        break;
      case 2:
        added = tree.set_opaque(path);
        break;
      default:
        added = tree.add(path, build_inode(input, data_end, static_cast<uint64_t>(i)));
    }
    require(added || !added.error().message.empty());
  }
  index.tree = tree.take();
  index.data.size_bytes = round_up(data_end, repository::kChunkSize);
  for (uint64_t i = 0; i < repository::chunk_count(index.data.size_bytes); ++i)
    index.data.chunks.push_back({digest_of(1000 + i), repository::kChunkSize, 77});
  if (!index.data.chunks.empty() && input.ConsumeBool()) {
    for (repository::ChunkRef& chunk : index.data.chunks) chunk.is_delta = input.ConsumeBool();
    if (std::ranges::any_of(index.data.chunks, &repository::ChunkRef::is_delta))
      index.data.bases = {{digest_of(7), repository::kChunkSize, 77}};
  }
  return index;
}

// Changes a field to what no parser should take. Returns whether it may have.
bool spoil(ComponentIndex& index, FuzzedDataProvider& input) {
  TreeInode& inode =
      index.tree.inodes[input.ConsumeIntegralInRange<size_t>(0, index.tree.inodes.size() - 1)];
  const auto value = input.ConsumeIntegral<uint64_t>();
  switch (input.ConsumeIntegralInRange<int>(0, 6)) {
    case 0:
      inode.size = value;
      return true;
    case 1:
      inode.mode = static_cast<uint16_t>(value);
      return true;
    case 2:
      for (FileExtent& extent : inode.extents) extent.data_offset = round_down(value, kBlockSize);
      return true;
    case 3:
      for (FileExtent& extent : inode.extents) extent.length = value;
      return true;
    case 4:
      inode.target.assign(value % 5000, 'x');
      return true;
    case 5:
      index.tree.names.back().name = input.ConsumeRandomLengthString(8);
      return true;
    default:
      return false;
  }
}

bool spoil(Buffer& data, FuzzedDataProvider& input) {
  const int count = input.ConsumeIntegralInRange<int>(0, 3);
  for (int i = 0; i < count && !data.empty(); ++i) {
    const size_t at = input.ConsumeIntegralInRange<size_t>(0, data.size() - 1);
    const auto byte = std::byte{input.ConsumeIntegral<uint8_t>()};
    switch (input.ConsumeIntegralInRange<int>(0, 2)) {
      case 0:
        data[at] = byte;
        break;
      case 1:
        data.insert(data.begin() + static_cast<ptrdiff_t>(at), byte);
        break;
      default:
        data.resize(at);
    }
  }
  return count > 0;
}

bool check(ByteView data) {
  const auto index = parse_component_index(data);
  if (!index) {
    require(!index.error().message.empty());
    return false;
  }
  require(std::ranges::equal(serialize(*index), data));  // one component, one name
  require(canonical(index->tree) == index->tree);
  for (uint32_t name = 0; name < index->tree.names.size(); ++name)
    require(index->tree.find(index->tree.path_of(name)) == name);
  for (const TreeInode& inode : index->tree.inodes) {
    uint64_t end = 0;
    for (const FileExtent& extent : inode.extents) {
      require(extent.file_offset >= end && extent.length > 0);
      require(fits({extent.file_offset, extent.length}, inode.size));
      require(fits({extent.data_offset, extent.length}, index->data.size_bytes));
      end = extent.file_offset + extent.length;
    }
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  if (input.ConsumeIntegralInRange<int>(0, 15) == 0) {
    check(input.ConsumeRemainingBytes<std::byte>());
    return 0;
  }
  ComponentIndex index = build(input);
  bool is_spoilt = input.ConsumeBool() && spoil(index, input);
  Buffer bytes = serialize(index);
  is_spoilt |= spoil(bytes, input);
  const bool accepted = check(bytes);
  require(accepted || is_spoilt);
  return 0;
}
