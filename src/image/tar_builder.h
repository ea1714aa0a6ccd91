// Writes tar archives, right ones and wrong ones: for tests and fuzzers.
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <string>
#include <string_view>

#include "core/bytes.h"

namespace forerun::image {

class TarBuilder {
 public:
  struct Entry {
    std::string name;
    char type = '0';
    std::string content;
    std::string link;
    uint64_t mode = 0644, uid = 0, gid = 0;
    uint64_t mtime = 1'700'000'000;
    uint64_t major = 0, minor = 0;
    bool is_gnu = false;
  };

  // Where fields stand in a header, for spoil().
  static constexpr size_t kMode = 100, kUid = 108, kSize = 124, kMtime = 136, kChecksum = 148,
                          kType = 156, kLink = 157, kMagic = 257, kMajor = 329, kPrefix = 345;

  TarBuilder& add(const Entry& entry) {
    header(entry, entry.content.size());
    return raw(entry.content).pad();
  }
  TarBuilder& file(std::string name, std::string content = "") {
    return add({.name = std::move(name), .content = std::move(content)});
  }
  TarBuilder& directory(std::string name) {
    return add({.name = std::move(name), .type = '5', .mode = 0755});
  }
  TarBuilder& symlink(std::string name, std::string target) {
    return add({.name = std::move(name), .type = '2', .link = std::move(target), .mode = 0777});
  }
  TarBuilder& hard_link(std::string name, std::string target) {
    return add({.name = std::move(name), .type = '1', .link = std::move(target)});
  }
  // A PAX header of these records, for the next entry (or all, of type 'g').
  TarBuilder& pax(const std::vector<std::pair<std::string, std::string>>& records,
                  char type = 'x') {
    std::string body;
    for (const auto& [key, value] : records) body += record(key, value);
    return add({.name = "PaxHeaders/x", .type = type, .content = body});
  }
  static std::string record(std::string_view key, std::string_view value) {
    const size_t rest = key.size() + value.size() + 3;
    size_t length = rest + 1;
    while (fmt::format("{}", length).size() + rest != length) ++length;
    return fmt::format("{} {}={}\n", length, key, value);
  }
  // A header that claims `size` bytes; what follows is the caller's.
  TarBuilder& header(const Entry& entry, uint64_t size) {
    last_ = bytes_.size();
    bytes_.resize(last_ + 512, '\0');
    put(0, entry.name.substr(0, 100));
    put(kMode, fmt::format("{:07o}", entry.mode));
    put(kUid, fmt::format("{:07o}", entry.uid));
    put(kUid + 8, fmt::format("{:07o}", entry.gid));
    put(kSize, fmt::format("{:011o}", size));
    put(kMtime, fmt::format("{:011o}", entry.mtime));
    bytes_[last_ + kType] = entry.type;
    put(kLink, entry.link.substr(0, 100));
    put(kMagic, entry.is_gnu ? std::string("ustar  \0", 8)
                             : std::string("ustar\0"
                                           "00",
                                           8));
    put(kMajor, fmt::format("{:07o}", entry.major));
    put(kMajor + 8, fmt::format("{:07o}", entry.minor));
    return sum();
  }
  TarBuilder& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  TarBuilder& pad() {
    bytes_.resize(round_up(bytes_.size(), 512), '\0');
    return *this;
  }
  TarBuilder& end() {
    bytes_.resize(bytes_.size() + 1024, '\0');
    return *this;
  }
  // Overwrites part of the last header; its checksum is right again.
  TarBuilder& spoil(size_t at, std::string_view bytes) {
    put(at, bytes);
    return sum();
  }
  TarBuilder& sum() {
    std::fill_n(bytes_.begin() + static_cast<ptrdiff_t>(last_ + kChecksum), 8, ' ');
    unsigned total = 0;
    for (size_t i = 0; i < 512; ++i) total += static_cast<unsigned char>(bytes_[last_ + i]);
    put(kChecksum, std::string_view(fmt::format("{:06o}", total) + std::string("\0 ", 2)));
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void put(size_t at, std::string_view field) { bytes_.replace(last_ + at, field.size(), field); }

  std::string bytes_;
  size_t last_ = 0;
};

}  // namespace forerun::image
