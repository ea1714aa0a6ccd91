// Writes small qcow2 files, right or wrong on purpose: for tests and fuzzers of the reader.
#pragma once

#include <zlib.h>
#include <zstd.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "core/bytes.h"

namespace forerun::image {

class Qcow2Builder {
 public:
  enum class Kind { kUnallocated, kZero, kPlain, kCompressed };
  struct Options {
    uint32_t version = 3;
    uint32_t cluster_bits = 16;
    bool is_zstd = false;
  };
  struct Cluster {
    Kind kind = Kind::kUnallocated;
    Buffer content;  // a whole cluster, where the kind has any
  };

  explicit Qcow2Builder(Options options)
      : options_(options), cluster_size_(size_t{1} << options.cluster_bits) {}

  void add(Kind kind, Buffer content = {}) {
    content.resize(cluster_size_);
    clusters_.push_back({kind, std::move(content)});
  }
  size_t cluster_size() const { return cluster_size_; }
  const std::vector<Cluster>& clusters() const { return clusters_; }

  // What the disk holds.
  Buffer disk() const {
    Buffer out;
    for (const Cluster& cluster : clusters_) {
      const bool has_content = cluster.kind == Kind::kPlain || cluster.kind == Kind::kCompressed;
      const Buffer zeroes(has_content ? 0 : cluster_size_);
      const Buffer& content = has_content ? cluster.content : zeroes;
      out.insert(out.end(), content.begin(), content.end());
    }
    return out;
  }

  // The file: header, L1 table, L2 tables, data, each at a cluster's start; compressed data packed
  // at the end.
  Buffer file() {
    const size_t l2_entries = cluster_size_ / 8;
    const size_t tables = (clusters_.size() + l2_entries - 1) / l2_entries;
    l1_offset = cluster_size_;
    l2_offset = l1_offset + (tables * 8 + cluster_size_ - 1) / cluster_size_ * cluster_size_;
    out_.assign(l2_offset + tables * cluster_size_, std::byte{0});
    write_header(tables);
    for (size_t i = 0; i < tables; ++i)
      be64(l1_offset + i * 8, (l2_offset + i * cluster_size_) | uint64_t{1} << 63);
    for (size_t i = 0; i < clusters_.size(); ++i) {
      if (clusters_[i].kind == Kind::kPlain)
        be64(entry_offset(i), append(clusters_[i].content) | uint64_t{1} << 63);
      if (clusters_[i].kind == Kind::kZero) be64(entry_offset(i), 1);
    }
    for (size_t i = 0; i < clusters_.size(); ++i) {
      if (clusters_[i].kind == Kind::kCompressed) write_compressed(i);
    }
    return out_;
  }

  size_t entry_offset(size_t cluster) const { return l2_offset + cluster * 8; }
  // Overwrite a field of `file`.
  static void put_be32(Buffer& file, size_t at, uint32_t value) { put_be(file, at, value, 4); }
  static void put_be64(Buffer& file, size_t at, uint64_t value) { put_be(file, at, value, 8); }

  size_t l1_offset = 0;  // set by file()
  size_t l2_offset = 0;

 private:
  static void put_be(Buffer& file, size_t at, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i)
      file[at + i] = static_cast<std::byte>(value >> 8 * (size - 1 - i));
  }
  void be32(size_t at, uint32_t value) { put_be(out_, at, value, 4); }
  void be64(size_t at, uint64_t value) { put_be(out_, at, value, 8); }

  void write_header(size_t tables) {
    be32(0, 0x514649fb);
    be32(4, options_.version);
    be32(20, options_.cluster_bits);
    be64(24, clusters_.size() * cluster_size_);
    be32(36, static_cast<uint32_t>(tables));
    be64(40, l1_offset);
    if (options_.version < 3) return;
    be64(72, options_.is_zstd ? 8 : 0);
    be32(96, 4);
    be32(100, 112);
    out_[104] = std::byte{options_.is_zstd};
  }

  uint64_t append(const Buffer& content) {
    const uint64_t at = out_.size();
    out_.insert(out_.end(), content.begin(), content.end());
    return at;
  }

  void write_compressed(size_t i) {
    const Buffer packed =
        options_.is_zstd ? zstd(clusters_[i].content) : deflate(clusters_[i].content);
    const uint64_t at = append(packed);
    const uint64_t sectors = (at + packed.size() - 1) / 512 - at / 512;
    const uint32_t offset_bits = 62 - (options_.cluster_bits - 8);
    be64(entry_offset(i), uint64_t{1} << 62 | sectors << offset_bits | at);
  }

  static Buffer deflate(const Buffer& content) {
    Buffer packed(content.size() * 2 + 64);
    z_stream stream{};
    deflateInit2(&stream, 1, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(content.data()));
    stream.avail_in = static_cast<uInt>(content.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    ::deflate(&stream, Z_FINISH);
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    return packed;
  }

  static Buffer zstd(const Buffer& content) {
    Buffer packed(ZSTD_compressBound(content.size()));
    packed.resize(ZSTD_compress(packed.data(), packed.size(), content.data(), content.size(), 1));
    return packed;
  }

  const Options options_;
  const size_t cluster_size_;
  std::vector<Cluster> clusters_;
  Buffer out_;
};

}  // namespace forerun::image
