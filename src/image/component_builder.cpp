#include "image/component_builder.h"

#include <fmt/format.h>

#include "image/content_hasher.h"

namespace forerun::image {
namespace {

using repository::kChunkSize;

constexpr size_t kBlocksPerChunk = kChunkSize / kBlockSize;
constexpr uint64_t kPackBytesMin = kChunkSize / 2;
constexpr uint8_t kPackEndMask = 3;
constexpr uint64_t kNotPlaced = UINT64_MAX;

// Bit i: block i of `chunk` is not all zeroes. The last block may be short.
using BlockMask = uint16_t;
static_assert(kBlocksPerChunk == 16);

BlockMask used_blocks(ByteView chunk) {
  BlockMask mask = 0;
  for (size_t block = 0; block * kBlockSize < chunk.size(); ++block) {
    const size_t start = block * kBlockSize;
    const size_t size = std::min<size_t>(kBlockSize, chunk.size() - start);
    if (!all_zero(chunk.subspan(start, size))) mask |= static_cast<BlockMask>(1u << block);
  }
  return mask;
}

// Up to 64 KiB of a file, as much as is not zeroes.
struct Piece {
  uint32_t file_chunk = 0;  // how many times 64 KiB into the file
  BlockMask blocks = 0;
  uint64_t sink_number = 0;  // of a large file
};

struct Content {
  uint64_t size = 0;
  uint64_t scratch_offset = 0;      // of a small file
  std::vector<Piece> pieces;        // none: all zeroes
  uint64_t placed_at = kNotPlaced;  // where the first piece stands in the data
};

bool is_small(const Content& content) { return content.size < kChunkSize; }

// Appends an extent for each run of blocks that are used.
void append_extents(const Content& content, std::vector<FileExtent>& extents) {
  uint64_t data = content.placed_at;
  for (const Piece& piece : content.pieces) {
    const uint64_t file = static_cast<uint64_t>(piece.file_chunk) * kChunkSize;
    for (size_t block = 0; block < kBlocksPerChunk; ++block) {
      if ((piece.blocks & 1u << block) == 0) continue;
      const uint64_t at = file + block * kBlockSize;
      const uint64_t from = data + block * kBlockSize;
      const uint64_t length = std::min<uint64_t>(kBlockSize, content.size - at);
      if (!extents.empty() && extents.back().file_offset + extents.back().length == at &&
          extents.back().data_offset + extents.back().length == from) {
        extents.back().length += length;
      } else {
        extents.push_back({at, from, length});
      }
    }
    data += kChunkSize;
  }
}

}  // namespace

// Takes contents as they come, and places them at the end.
class ComponentBuilder::Layout {
 public:
  Layout(ChunkSink& sink, StorageFile& scratch) : sink_(sink), scratch_(scratch) {}

  // Reads `size` bytes and returns their digest.
  Result<Digest> take(uint64_t size, const ByteStream& stream) {
    Content content{.size = size};
    if (is_small(content)) return take_small(std::move(content), stream);
    for (uint64_t at = 0; at < size; at += kChunkSize) {
      Buffer chunk(kChunkSize);
      const MutableByteView part =
          MutableByteView(chunk).first(std::min<uint64_t>(kChunkSize, size - at));
      FR_CHECK(fill(part, stream));
      hasher_.add(part);
      const BlockMask blocks = used_blocks(part);
      if (blocks == 0) continue;
      FR_TRY(const size_t number, sink_.add(std::move(chunk)));
      content.pieces.push_back({static_cast<uint32_t>(at / kChunkSize), blocks, number});
    }
    const Digest digest = hasher_.finish();
    contents_.emplace(digest, std::move(content));
    return digest;
  }

  // Places what `tree`, which is canonical, still holds. Returns the chunks of the data, by their
  // numbers in the sink.
  Result<std::vector<size_t>> place(FileTree& tree) {
    for (const TreeInode& inode : tree.inodes) {
      if (inode.kind != InodeKind::kRegular || inode.size == 0) continue;
      Content& content = contents_.at(inode.content);
      if (content.placed_at != kNotPlaced || content.pieces.empty()) continue;
      if (is_small(content)) {
        FR_CHECK(pack(inode.content, content));
        continue;
      }
      content.placed_at = placed_.size() * kChunkSize;
      for (const Piece& piece : content.pieces) placed_.push_back(piece.sink_number);
    }
    FR_CHECK(end_pack());
    for (TreeInode& inode : tree.inodes) {
      if (inode.kind == InodeKind::kRegular && inode.size > 0)
        append_extents(contents_.at(inode.content), inode.extents);
    }
    return std::move(placed_);
  }

 private:
  static Status fill(MutableByteView out, const ByteStream& stream) {
    FR_TRY(const size_t count, read_full(stream, out));
    if (count < out.size()) return fail(ErrorCode::kInvalid, "the file is shorter than it says");
    return {};
  }

  Result<Digest> take_small(Content content, const ByteStream& stream) {
    Buffer bytes(content.size);
    FR_CHECK(fill(bytes, stream));
    const Digest digest = sha256(bytes);
    const BlockMask blocks = used_blocks(bytes);
    if (contents_.contains(digest)) return digest;
    if (blocks != 0) {
      content.pieces.push_back({0, blocks, 0});
      content.scratch_offset = scratch_end_;
      FR_CHECK(scratch_.write(scratch_end_, bytes));
      scratch_end_ += bytes.size();
    }
    contents_.emplace(digest, std::move(content));
    return digest;
  }

  Status pack(const Digest& digest, Content& content) {
    if (pack_used_ + content.size > kChunkSize) FR_CHECK(end_pack());
    pack_.resize(kChunkSize);
    FR_CHECK(scratch_.read(content.scratch_offset,
                           MutableByteView(pack_).subspan(pack_used_, content.size)));
    packed_.push_back(&content);
    content.placed_at = pack_used_;  // in the pack, until it has a place itself
    pack_used_ = round_up(pack_used_ + content.size, kBlockSize);
    const bool is_end = pack_used_ >= kPackBytesMin && (digest.bytes.back() & kPackEndMask) == 0;
    return is_end ? end_pack() : Status();
  }

  Status end_pack() {
    if (pack_used_ == 0) return {};
    for (Content* content : packed_) content->placed_at += placed_.size() * kChunkSize;
    FR_TRY(const size_t number, sink_.add(std::move(pack_)));
    placed_.push_back(number);
    pack_.clear();
    packed_.clear();
    pack_used_ = 0;
    return {};
  }

  ChunkSink& sink_;
  StorageFile& scratch_;
  ContentHasher hasher_;
  std::unordered_map<Digest, Content> contents_;
  uint64_t scratch_end_ = 0;
  std::vector<size_t> placed_;
  Buffer pack_;
  uint64_t pack_used_ = 0;
  std::vector<Content*> packed_;
};

ComponentBuilder::ComponentBuilder(repository::Store& store, StorageFile& scratch,
                                   BuildOptions options)
    : store_(store),
      options_(std::move(options)),
      sink_(store, options_.chunks),
      layout_(std::make_unique<Layout>(sink_, scratch)) {}

ComponentBuilder::~ComponentBuilder() = default;

Result<std::unique_ptr<ComponentBuilder>> ComponentBuilder::create(repository::Store& store,
                                                                   StorageFile& scratch,
                                                                   BuildOptions options) {
  if (options.tag.empty()) options.tag = options.info.name;
  for (auto* names : {&options.info.depends, &options.info.provides}) {
    std::sort(names->begin(), names->end());
    names->erase(std::unique(names->begin(), names->end()), names->end());
  }
  if (options.chunks.batch_chunks == 0)
    return fail(ErrorCode::kInvalid, "a build works on at least one chunk at a time");
  // What could not be read back is refused before the work, not after.
  const ComponentIndex sample{options.info, TreeBuilder().take(), {}};
  if (auto read = parse_component_index(serialize(sample)); !read)
    return fail(ErrorCode::kInvalid, read.error().message);
  const ComponentTag tag{.name = options.tag, .created = options.created};
  if (auto read = parse_component_tag(serialize(tag)); !read)
    return fail(ErrorCode::kInvalid, read.error().message);
  return std::unique_ptr<ComponentBuilder>(
      new ComponentBuilder(store, scratch, std::move(options)));
}

Status ComponentBuilder::report() {
  progress_.names = tree_.name_count();
  progress_.chunks = sink_.totals();
  return options_.on_progress ? options_.on_progress(progress_) : Status();
}

Status ComponentBuilder::add(std::string_view path, TreeInode inode, const ByteStream& content) {
  if (inode.kind == InodeKind::kRegular) {
    inode.extents.clear();
    if (inode.size > std::min(kFileSizeMax, options_.content_bytes_max - progress_.content_bytes)) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("'{}' has {} bytes: the component would have over {}", path,
                              inode.size, options_.content_bytes_max));
    }
    auto digest = layout_->take(inode.size, content);
    if (!digest)
      return std::unexpected(std::move(digest.error()).within(fmt::format("'{}'", path)));
    inode.content = *digest;
    progress_.content_bytes += inode.size;
  }
  FR_CHECK(tree_.add(path, std::move(inode)));
  return report();
}

Status ComponentBuilder::add_link(std::string_view path, std::string_view target) {
  return tree_.add_link(path, target);
}
Status ComponentBuilder::add_whiteout(std::string_view path) { return tree_.add_whiteout(path); }
Status ComponentBuilder::set_opaque(std::string_view path) { return tree_.set_opaque(path); }

Result<BuiltComponent> ComponentBuilder::publish() {
  ComponentIndex index{options_.info, tree_.take(), {}};
  progress_.names = index.tree.names.size();
  FR_TRY(const std::vector<size_t> numbers, layout_->place(index.tree));
  FR_CHECK(sink_.finish());
  index.data.size_bytes = numbers.size() * kChunkSize;
  index.data.chunks.reserve(numbers.size());
  for (const size_t number : numbers) index.data.chunks.push_back(sink_.ref(number));
  index.data.bases = sink_.bases_of(index.data.chunks);
  return publish(std::move(index));
}

Result<BuiltComponent> ComponentBuilder::publish(ComponentIndex index) {
  const Buffer data = serialize(index);
  // Nothing is published that could not be read.
  auto read = parse_component_index(data);
  if (!read) return std::unexpected(std::move(read.error()).within("the component just built"));
  FR_ASSERT(*read == index);
  progress_.chunks = sink_.totals();
  ComponentTag tag{.name = options_.tag,
                   .index = sha256(data),
                   .component_version = options_.info.version,
                   .function = options_.info.function,
                   .names = index.tree.names.size(),
                   .data_bytes = index.data.size_bytes,
                   .stored_bytes = index.data.stored_bytes(),
                   .created = options_.created};
  FR_CHECK(store_.flush());
  FR_CHECK(store_.put(component_path(tag.index), data));
  FR_CHECK(store_.flush());
  FR_CHECK(store_.put(component_tag_path(tag.name), as_bytes(serialize(tag))));
  FR_CHECK(store_.flush());
  return BuiltComponent{std::move(tag), std::move(index), data.size(), progress_};
}

}  // namespace forerun::image
