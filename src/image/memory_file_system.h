// A FileSystem in memory: for tests. Every file has a record of 256 bytes and its content at an own
// place of a disk that is not there.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>

#include "image/file_system.h"

namespace forerun::image {

class MemoryFileSystem final : public FileSystem {
 public:
  MemoryFileSystem() { nodes_.push_back({.info = {FileKind::kDirectory, 4096}}); }

  void add_file(std::string_view path, std::string content) {
    Node& node = make(path);
    node.info = {FileKind::kRegular, content.size()};
    node.content = std::move(content);
  }
  void add_link(std::string_view path, std::string target) {
    Node& node = make(path);
    node.info = {FileKind::kSymlink, target.size()};
    node.content = std::move(target);
  }
  void add_folder(std::string_view path) { make(path).info = {FileKind::kDirectory, 4096}; }

  FileId root() const override { return 0; }
  Result<FileInfo> info(FileId file) override { return nodes_.at(file).info; }
  Result<std::vector<DirectoryEntry>> list(FileId directory) override {
    std::vector<DirectoryEntry> entries;
    for (const auto& [name, file] : nodes_.at(directory).entries) entries.push_back({name, file});
    return entries;
  }
  Result<std::string> link_target(FileId link) override { return nodes_.at(link).content; }
  Result<Buffer> read(FileId file, uint64_t offset, size_t size) override {
    const std::string& content = nodes_.at(file).content;
    const auto part = as_bytes(content).subspan(std::min<uint64_t>(offset, content.size()));
    const auto taken = part.first(std::min(size, part.size()));
    return Buffer(taken.begin(), taken.end());
  }
  Result<std::vector<ByteRange>> content_ranges(FileId file) override {
    const FileInfo& info = nodes_.at(file).info;
    if (info.size_bytes == 0 || info.kind == FileKind::kSymlink) return std::vector<ByteRange>{};
    return std::vector<ByteRange>{{content_offset(file), info.size_bytes}};
  }
  Result<ByteRange> record_range(FileId file) override { return ByteRange{4096 + file * 256, 256}; }
  std::vector<ByteRange> mount_ranges() override { return {{1024, 1024}}; }

  // Where a file's content stands: 16 MiB apart.
  static uint64_t content_offset(FileId file) { return (file + 1) * 16 * kMiB; }
  // Returns the file at a path without links. REQUIRES: it is there.
  FileId id_of(std::string_view path) {
    FileId at = 0;
    for (const std::string& name : names_of(path)) at = nodes_.at(at).entries.at(name);
    return at;
  }

 private:
  struct Node {
    FileInfo info;
    std::string content;
    std::map<std::string, FileId> entries;
  };
  static std::vector<std::string> names_of(std::string_view path) {
    std::vector<std::string> names;
    while (!path.empty()) {
      path.remove_prefix(1);
      const size_t end = std::min(path.find('/'), path.size());
      names.emplace_back(path.substr(0, end));
      path.remove_prefix(end);
    }
    return names;
  }
  Node& make(std::string_view path) {
    FileId at = 0;
    for (const std::string& name : names_of(path)) {
      const auto [entry, is_new] = nodes_[at].entries.try_emplace(name, nodes_.size());
      at = entry->second;
      if (is_new) nodes_.push_back({.info = {FileKind::kDirectory, 4096}});
    }
    return nodes_[at];
  }
  std::vector<Node> nodes_;
};

}  // namespace forerun::image
