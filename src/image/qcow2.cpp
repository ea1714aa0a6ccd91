#include "image/qcow2.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

namespace forerun::image {
namespace {

constexpr uint32_t kMagic = 0x514649fb;  // "QFI\xfb"
constexpr size_t kHeadSize = 512;        // the smallest cluster: every header fits
constexpr uint64_t kSectorSize = 512;
constexpr uint64_t kOffsetMask = 0x00fffffffffffe00;  // bits 9-55 of table entries
constexpr uint64_t kCopiedFlag = uint64_t{1} << 63;
constexpr uint64_t kCompressedFlag = uint64_t{1} << 62;
constexpr uint64_t kZeroFlag = 1;

uint64_t load_be(const std::byte* at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value = value << 8 | std::to_integer<uint64_t>(at[i]);
  return value;
}
uint32_t be32(ByteView data, size_t offset) {
  return static_cast<uint32_t>(load_be(&data[offset], 4));
}
uint64_t be64(ByteView data, size_t offset) { return load_be(&data[offset], 8); }

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("the qcow2 file is malformed: {}", what));
}
std::unexpected<Error> unsupported(std::string_view what) {
  return fail(ErrorCode::kUnsupported, fmt::format("the qcow2 file {}", what));
}

// The incompatible features of version 3: a reader that does not know one must not read the file.
Status check_features(uint64_t features) {
  constexpr std::string_view kConvert = "; convert it with qemu-img convert first";
  if (features & 1) {
    return unsupported(
        "was not closed properly (dirty bit); run qemu-img check -r all on it first");
  }
  if (features & 2) return unsupported("is marked corrupt; run qemu-img check -r all on it first");
  if (features & 4) return unsupported(fmt::format("keeps its data in another file{}", kConvert));
  if (features & 16)
    return unsupported(fmt::format("has extended L2 entries (subclusters){}", kConvert));
  if (const uint64_t rest = features & ~uint64_t{8}; rest != 0) {
    return unsupported(fmt::format("needs an unknown feature (bit {})", std::countr_zero(rest)));
  }
  return {};
}

// What version 3 adds to the header.
Status parse_version_3(ByteView head, Qcow2Header& header) {
  const uint64_t features = be64(head, 72);
  FR_CHECK(check_features(features));
  if (be32(head, 96) > 6) return corrupt("its refcounts are wider than 64 bits");
  const uint32_t length = be32(head, 100);
  if (length < 104 || length % 8 != 0 || length > header.cluster_size()) {
    return corrupt(fmt::format("its header has {} bytes", length));
  }
  const uint64_t compression = length > 104 ? load_be(&head[104], 1) : 0;
  if (compression > 1)
    return unsupported(fmt::format("is compressed in an unknown way ({})", compression));
  if ((compression != 0) != ((features & 8) != 0)) {
    return corrupt("its header contradicts itself on how it is compressed");
  }
  header.is_zstd = compression == 1;
  return {};
}

Status inflate_cluster(ByteView packed, MutableByteView out) {
  z_stream stream{};
  if (inflateInit2(&stream, -12) != Z_OK) return fail(ErrorCode::kInternal, "cannot start zlib");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = inflate(&stream, Z_FINISH);
  const bool full = stream.avail_out == 0;
  inflateEnd(&stream);
  if (full && (result == Z_STREAM_END || result == Z_BUF_ERROR || result == Z_OK)) return {};
  return corrupt("a compressed cluster does not unpack to a whole one");
}

Status unzstd_cluster(ByteView packed, MutableByteView out) {
  // The data ends somewhere in its last sector: only the frame itself says where.
  const size_t frame = ZSTD_findFrameCompressedSize(packed.data(), packed.size());
  if (!ZSTD_isError(frame) &&
      ZSTD_decompress(out.data(), out.size(), packed.data(), frame) == out.size()) {
    return {};
  }
  return corrupt("a compressed cluster does not unpack to a whole one");
}

// One bit per cluster of the file: claimed by a table or a mapping.
class ClaimedClusters {
 public:
  ClaimedClusters(uint64_t file_size, uint32_t cluster_bits)
      : cluster_bits_(cluster_bits), bits_((file_size >> cluster_bits) + 1) {}

  // Returns false if a part of `range` was claimed before.
  bool claim(ByteRange range) {
    for (uint64_t i = range.offset >> cluster_bits_; i <= (range.end() - 1) >> cluster_bits_; ++i) {
      if (bits_[i]) return false;
      bits_[i] = true;
    }
    return true;
  }

 private:
  const uint32_t cluster_bits_;
  std::vector<bool> bits_;
};

}  // namespace

bool is_qcow2_magic(ByteView head) { return head.size() >= 4 && be32(head, 0) == kMagic; }

Result<Qcow2Header> parse_qcow2_header(ByteView head, uint64_t file_size,
                                       const Qcow2Limits& limits) {
  if (file_size < 72 || head.size() < kHeadSize || !is_qcow2_magic(head)) {
    return fail(ErrorCode::kInvalid, "the file is not qcow2");
  }
  Qcow2Header header;
  header.version = be32(head, 4);
  if (header.version != 2 && header.version != 3)
    return unsupported(fmt::format("has version {}", header.version));
  if (be64(head, 8) != 0)
    return unsupported("has a backing file; flatten it with qemu-img convert first");
  header.cluster_bits = be32(head, 20);
  if (header.cluster_bits < 9 || header.cluster_bits > 21) {
    return corrupt(fmt::format("it has clusters of 2^{} bytes", header.cluster_bits));
  }
  if (be32(head, 32) != 0) return unsupported("is encrypted");
  if (header.version == 3) FR_CHECK(parse_version_3(head, header));

  const uint64_t size = be64(head, 24);
  if (size == 0) return corrupt("its disk is empty");
  if (size > limits.disk_size_max) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("the disk has {} bytes; the limit is {}", size, limits.disk_size_max));
  }
  header.size_bytes = round_up(size, kSectorSize);
  header.l1_entries = be32(head, 36);
  header.l1_offset = be64(head, 40);
#ifndef FORERUN_PLANT_BUG_QCOW2  // set by fuzz/index/prove.sh only
  if (header.l1_entries < header.l1_entries_needed())
    return corrupt("its L1 table is too short for its disk");
#endif
  if (header.l1_entries * uint64_t{8} > limits.l1_bytes_max) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("the qcow2 file has {} L1 entries, over the limit", header.l1_entries));
  }
  if (header.l1_offset == 0 || header.l1_offset % header.cluster_size() != 0 ||
      !fits({header.l1_offset, header.l1_entries * uint64_t{8}}, file_size)) {
    return corrupt("its L1 table is not in the file");
  }
  return header;
}

template <typename Value>
Value Qcow2Reader::SmallCache<Value>::find(uint64_t key) {
  const std::lock_guard lock(mutex_);
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : found->second;
}

template <typename Value>
void Qcow2Reader::SmallCache<Value>::insert(uint64_t key, Value value) {
  const std::lock_guard lock(mutex_);
  if (!values_.emplace(key, std::move(value)).second) return;
  order_.push_back(key);
  if (order_.size() <= capacity_) return;
  values_.erase(order_.front());
  order_.pop_front();
}

Qcow2Reader::Qcow2Reader(StorageFile& file, uint64_t file_size, Qcow2Header header,
                         const Qcow2Limits& limits)
    : file_(file),
      file_size_(file_size),
      header_(header),
      tables_(std::max<uint64_t>(2, limits.cache_bytes_max >> header.cluster_bits)),
      clusters_(std::max<uint64_t>(2, limits.cache_bytes_max >> header.cluster_bits)) {}

Result<std::unique_ptr<DiskReader>> Qcow2Reader::open(StorageFile& file,
                                                      const Qcow2Limits& limits) {
  FR_TRY(const uint64_t file_size, file.size());
  Buffer head(kHeadSize);
  FR_CHECK(file.read(0, head));
  FR_TRY(const Qcow2Header header, parse_qcow2_header(head, file_size, limits));
  if ((file_size >> header.cluster_bits) / 8 > limits.check_bytes_max) {
    return fail(ErrorCode::kTooLarge,
                "the qcow2 file has too many clusters for a check of them all");
  }
  std::unique_ptr<Qcow2Reader> reader(new Qcow2Reader(file, file_size, header, limits));
  FR_CHECK(reader->load_l1());
  FR_CHECK(reader->check_tables());
  return reader;
}

Result<std::vector<uint64_t>> Qcow2Reader::read_table(uint64_t offset, uint64_t entries) {
  Buffer bytes(entries * 8);
  FR_CHECK(file_.read(offset, bytes));
  std::vector<uint64_t> table(entries);
  for (uint64_t i = 0; i < entries; ++i) table[i] = load_be(&bytes[i * 8], 8);
  return table;
}

Status Qcow2Reader::load_l1() {
  const uint64_t entries = std::min<uint64_t>(header_.l1_entries, header_.l1_entries_needed());
  FR_TRY(l1_, read_table(header_.l1_offset, entries));
  for (uint64_t& entry : l1_) {
    const uint64_t offset = entry & kOffsetMask;
    if ((entry & ~(kOffsetMask | kCopiedFlag)) != 0)
      return corrupt("an L1 entry has reserved bits set");
    if (offset % header_.cluster_size() != 0)
      return corrupt("an L2 table does not begin at a cluster");
    if (offset != 0 && !fits({offset, header_.cluster_size()}, file_size_)) {
      return corrupt("an L2 table is not in the file");
    }
    entry = offset;
  }
  return {};
}

// Looks at every mapping once, before anything is imported: a broken file is refused whole.
// Compressed clusters share host clusters by design, so only plain ones are held to one claim each.
Status Qcow2Reader::check_tables() {
  ClaimedClusters claimed(file_size_, header_.cluster_bits);
  claimed.claim({0, header_.cluster_size()});
  if (!claimed.claim({header_.l1_offset, header_.l1_entries * uint64_t{8}})) {
    return corrupt("its L1 table lies over its header");
  }
  for (const uint64_t offset : l1_) {
    if (offset != 0 && !claimed.claim({offset, header_.cluster_size()})) {
      return corrupt("an L2 table lies over another table");
    }
  }
  for (uint64_t i = 0; i < l1_.size(); ++i) {
    if (l1_[i] == 0) continue;
    const uint64_t first = i * header_.l2_entries();
    const uint64_t entries = std::min(header_.l2_entries(), header_.cluster_count() - first);
    FR_TRY(const std::vector<uint64_t> table, read_table(l1_[i], entries));
    for (uint64_t k = 0; k < entries; ++k) {
      FR_TRY(const Mapping mapping, parse_entry(table[k], first + k));
      if (mapping.kind == Mapping::Kind::kPlain &&
          !claimed.claim({mapping.offset, header_.cluster_size()})) {
        return corrupt(fmt::format("cluster {} lies over a table or another cluster", first + k));
      }
    }
  }
  return {};
}

Result<Qcow2Reader::Mapping> Qcow2Reader::parse_entry(uint64_t entry, uint64_t cluster) const {
  using Kind = Mapping::Kind;
  if (entry & kCompressedFlag) {
    const uint32_t offset_bits = 62 - (header_.cluster_bits - 8);
    const uint64_t offset = entry & ((uint64_t{1} << offset_bits) - 1);
    const uint64_t more_sectors = (entry & (kCompressedFlag - 1)) >> offset_bits;
    if (offset < header_.cluster_size() || offset >= file_size_) {
      return corrupt(fmt::format("compressed cluster {} is not in the file", cluster));
    }
    const uint64_t length = (more_sectors + 1) * kSectorSize - offset % kSectorSize;
    // The last sector may lie beyond the end: the file ends where the data does.
    return Mapping{Kind::kCompressed, offset, std::min(length, file_size_ - offset)};
  }
  const uint64_t offset = entry & kOffsetMask;
  const uint64_t zero_flag = header_.version >= 3 ? kZeroFlag : 0;
  if ((entry & ~(kOffsetMask | kCopiedFlag | zero_flag)) != 0) {
    return corrupt(fmt::format("the entry of cluster {} has reserved bits set", cluster));
  }
  if (offset % header_.cluster_size() != 0)
    return corrupt(fmt::format("cluster {} is not aligned", cluster));
  if (offset == 0 || (entry & zero_flag) != 0) return Mapping{};
  // The last cluster may be cut off by the end of the file; the rest of it is zeroes.
  if (offset >= file_size_) return corrupt(fmt::format("cluster {} is not in the file", cluster));
  return Mapping{Kind::kPlain, offset, 0};
}

Result<Qcow2Reader::L2Table> Qcow2Reader::l2_table(uint64_t l1_index) {
  if (L2Table cached = tables_.find(l1_index)) return cached;
  FR_TRY(std::vector<uint64_t> entries, read_table(l1_[l1_index], header_.l2_entries()));
  auto table = std::make_shared<const std::vector<uint64_t>>(std::move(entries));
  tables_.insert(l1_index, table);
  return table;
}

Result<Qcow2Reader::Mapping> Qcow2Reader::mapping_of(uint64_t cluster) {
  const uint64_t l1_index = cluster / header_.l2_entries();
  if (l1_[l1_index] == 0) return Mapping{};
  FR_TRY(const L2Table table, l2_table(l1_index));
  return parse_entry((*table)[cluster % header_.l2_entries()], cluster);
}

Status Qcow2Reader::read(uint64_t offset, MutableByteView out) {
  FR_ASSERT(fits({offset, out.size()}, header_.size_bytes));
  while (!out.empty()) {
    const uint64_t in_cluster = offset % header_.cluster_size();
    const uint64_t length = std::min<uint64_t>(out.size(), header_.cluster_size() - in_cluster);
    FR_CHECK(read_in_cluster(offset >> header_.cluster_bits, in_cluster, out.first(length)));
    offset += length;
    out = out.subspan(length);
  }
  return {};
}

Status Qcow2Reader::read_in_cluster(uint64_t cluster, uint64_t offset, MutableByteView out) {
  FR_TRY(const Mapping mapping, mapping_of(cluster));
  switch (mapping.kind) {
    case Mapping::Kind::kZero:
      std::ranges::fill(out, std::byte{0});
      return {};
    case Mapping::Kind::kPlain:
      return file_.read(mapping.offset + offset, out);
    case Mapping::Kind::kCompressed:
      break;
  }
  if (out.size() == header_.cluster_size()) return unpack(mapping, cluster, out);
  // A part of a large cluster: its other parts are about to be asked for.
  ClusterContent content = clusters_.find(cluster);
  if (!content) {
    auto unpacked = std::make_shared<Buffer>(header_.cluster_size());
    FR_CHECK(unpack(mapping, cluster, *unpacked));
    content = std::move(unpacked);
    clusters_.insert(cluster, content);
  }
  std::copy_n(content->begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
  return {};
}

Status Qcow2Reader::unpack(const Mapping& mapping, uint64_t cluster, MutableByteView out) {
  Buffer packed(mapping.length);  // at most 2^13 sectors of 512 bytes, by the width of the field
  FR_CHECK(file_.read(mapping.offset, packed));
  Status status = header_.is_zstd ? unzstd_cluster(packed, out) : inflate_cluster(packed, out);
  if (!status)
    return std::unexpected(status.error().within(fmt::format("cannot read cluster {}", cluster)));
  return {};
}

bool Qcow2Reader::known_zero(ByteRange range) {
  if (range.empty()) return true;
  for (uint64_t cluster = range.offset >> header_.cluster_bits;
       cluster <= (range.end() - 1) >> header_.cluster_bits; ++cluster) {
    const auto mapping = mapping_of(cluster);
    if (!mapping || mapping->kind != Mapping::Kind::kZero) return false;
  }
  return true;
}

}  // namespace forerun::image
