#include "image/hwdb.h"

#include <fnmatch.h>

#include <map>
#include <optional>
#include <set>
#include <string_view>

namespace forerun::image {
namespace {

constexpr uint64_t kPage = 4 * kKiB;
constexpr uint64_t kAroundPages = 32;  // read_ahead_kb is 128: half before a fault, half behind it
constexpr size_t kTextMax = 2048;      // of a prefix or a name
constexpr size_t kStepsMax = 200'000;  // nodes, children and texts looked at, all names together
constexpr int kDepthMax = 256;
constexpr uint64_t kReadBytes = 64 * kKiB;
constexpr std::string_view kSignature = "KSLPHHRH";

struct Node {
  uint64_t offset = 0;
  uint64_t prefix = 0;  // where its text stands; 0: none
  uint64_t children = 0, values = 0;
};

class Walk {
 public:
  explicit Walk(const ReadAt& read) : read_(read) {}

  Status open() {
    FR_TRY(const std::string signature, bytes(0, kSignature.size()));
    if (signature != kSignature)
      return fail(ErrorCode::kCorrupt, "this is no hardware database of udev");
    FR_TRY(node_size_, number(24 + 8));
    FR_TRY(child_size_, number(24 + 16));
    FR_TRY(value_size_, number(24 + 24));
    FR_TRY(root_, number(24 + 32));
    const auto is_sane = [](uint64_t size, uint64_t least) {
      return size >= least && size <= 4096;
    };
    if (!is_sane(node_size_, 24) || !is_sane(child_size_, 16) || !is_sane(value_size_, 16))
      return fail(ErrorCode::kCorrupt, "the hardware database's records have impossible sizes");
    return {};
  }

  // A text may go on in a node's prefix, in a child per character, or in patterns.
  Status look_up(std::string_view name) {
    FR_TRY(Node node, node_at(root_));
    for (int depth = 0; depth < kDepthMax; ++depth) {
      FR_TRY(const std::string prefix, text(node.prefix));
      for (size_t i = 0; i < prefix.size(); ++i) {
        if (is_pattern(prefix[i])) return match_below(node, i, "", name.substr(i), 0);
        if (i >= name.size() || name[i] != prefix[i]) return {};
      }
      name.remove_prefix(prefix.size());
      for (const char pattern : {'*', '?', '['}) {
        FR_TRY(const auto child, child_of(node, pattern));
        if (child) FR_CHECK(match_below(*child, 0, std::string(1, pattern), name, 0));
      }
      if (name.empty()) return touch_values(node);
      FR_TRY(const auto next, child_of(node, name[0]));
      if (!next) return {};
      name.remove_prefix(1);
      node = *next;
    }
    return {};
  }

  std::vector<ByteRange> ranges() const {
    std::vector<ByteRange> ranges;
    for (const uint64_t page : pages_) {
      if (!ranges.empty() && ranges.back().end() == page * kPage)
        ranges.back().length += kPage;
      else
        ranges.push_back({page * kPage, kPage});
    }
    return ranges;
  }

 private:
  static bool is_pattern(char c) { return c == '*' || c == '?' || c == '['; }

  // Returns what is known from `offset` on: at least a byte, at most to the end of a block.
  Result<std::string_view> from(uint64_t offset) {
    if (++steps_ > kStepsMax)
      return fail(ErrorCode::kTooLarge, "looking up names leads through too much of the database");
    const auto [known, is_new] = blocks_.try_emplace(offset / kReadBytes);
    if (is_new) {
      FR_TRY(known->second, read_(offset / kReadBytes * kReadBytes, kReadBytes));
    }
    const std::string_view block = as_text(known->second);
    if (offset % kReadBytes >= block.size())
      return fail(ErrorCode::kCorrupt, "the hardware database leads past its own end");
    return block.substr(offset % kReadBytes);
  }

  Result<std::string> bytes(uint64_t offset, size_t size) {
    touch(offset), touch(offset + size - 1);
    std::string out;
    while (out.size() < size) {
      FR_TRY(const std::string_view there, from(offset + out.size()));
      out += there.substr(0, size - out.size());
    }
    return out;
  }

  // What a fault on an absent page brings (mm/filemap.c, do_sync_mmap_readahead).
  void touch(uint64_t offset) {
    const uint64_t page = offset / kPage;
    if (pages_.contains(page)) return;
    const uint64_t first = page - std::min(page, kAroundPages / 2);
    for (uint64_t near = first; near < first + kAroundPages; ++near) pages_.insert(near);
  }

  Result<uint64_t> number(uint64_t offset) {
    FR_TRY(const std::string eight, bytes(offset, 8));
    uint64_t value = 0;
    for (size_t i = 8; i-- > 0;) value = value << 8 | static_cast<uint8_t>(eight[i]);
    return value;
  }

  Result<std::string> text(uint64_t offset) {
    std::string out;
    if (offset == 0) return out;
    while (out.size() < kTextMax) {
      FR_TRY(const std::string_view there, from(offset + out.size()));
      const size_t end = there.find('\0');
      out += there.substr(0, end);
      if (end == std::string_view::npos) continue;
      touch(offset), touch(offset + out.size());
      return out;
    }
    return fail(ErrorCode::kTooLarge, "a text of the hardware database is too long");
  }

  Result<Node> node_at(uint64_t offset) {
    if (offset > kOffsetMax)
      return fail(ErrorCode::kCorrupt, "the hardware database leads past its own end");
    Node node{.offset = offset};
    FR_TRY(node.prefix, number(offset));
    FR_TRY(const std::string count, bytes(offset + 8, 1));
    node.children = static_cast<uint8_t>(count[0]);
    FR_TRY(node.values, number(offset + 16));
    if (node.prefix > kOffsetMax || node.values > kStepsMax)
      return fail(ErrorCode::kCorrupt, "a node of the hardware database is damaged");
    return node;
  }

  struct Child {
    char character = 0;
    uint64_t node = 0;
  };
  Result<Child> child_at(const Node& node, uint64_t index) {
    const uint64_t offset = node.offset + node_size_ + index * child_size_;
    FR_TRY(const std::string character, bytes(offset, 1));
    FR_TRY(const uint64_t to, number(offset + 8));
    return Child{character[0], to};
  }

  // Children are sorted by character.
  Result<std::optional<Node>> child_of(const Node& node, char character) {
    uint64_t low = 0, high = node.children;
    while (low < high) {
      const uint64_t middle = (low + high) / 2;
      FR_TRY(const Child child, child_at(node, middle));
      const auto there = static_cast<uint8_t>(child.character);
      const auto wanted = static_cast<uint8_t>(character);
      if (there == wanted) {
        FR_TRY(const Node found, node_at(child.node));
        return std::optional(found);
      }
      if (there < wanted)
        low = middle + 1;
      else
        high = middle;
    }
    return std::optional<Node>();
  }

  // All patterns below a node are tried; `pattern` is what led here since the first of them.
  Status match_below(const Node& node, size_t skipped, std::string pattern, std::string_view name,
                     int depth) {
    if (depth > kDepthMax || pattern.size() > kTextMax)
      return fail(ErrorCode::kTooLarge, "the hardware database is too deep");
    FR_TRY(const std::string prefix, text(node.prefix));
    pattern += std::string_view(prefix).substr(std::min(skipped, prefix.size()));
    for (uint64_t i = 0; i < node.children; ++i) {
      FR_TRY(const Child child, child_at(node, i));
      FR_TRY(const Node below, node_at(child.node));
      FR_CHECK(match_below(below, 0, pattern + child.character, name, depth + 1));
    }
    if (node.values > 0 && ::fnmatch(pattern.c_str(), std::string(name).c_str(), 0) == 0)
      return touch_values(node);
    return {};
  }

  Status touch_values(const Node& node) {
    const uint64_t first = node.offset + node_size_ + node.children * child_size_;
    for (uint64_t i = 0; i < node.values; ++i) {
      FR_TRY(const uint64_t key, number(first + i * value_size_));
      FR_TRY(const uint64_t value, number(first + i * value_size_ + 8));
      for (const uint64_t offset : {key, value}) {
        if (offset > kOffsetMax) continue;
        FR_TRY([[maybe_unused]] const std::string unused, text(offset));
      }
    }
    return {};
  }

  static constexpr uint64_t kOffsetMax = uint64_t{1} << 32;
  const ReadAt& read_;
  uint64_t node_size_ = 0, child_size_ = 0, value_size_ = 0, root_ = 0;
  std::map<uint64_t, Buffer> blocks_;
  std::set<uint64_t> pages_;
  size_t steps_ = 0;
};

}  // namespace

Result<std::vector<ByteRange>> hwdb_reads(const ReadAt& read, std::span<const std::string> names) {
  Walk walk(read);
  FR_CHECK(walk.open());
  for (const std::string& name : names) FR_CHECK(walk.look_up(name));
  return walk.ranges();
}

}  // namespace forerun::image
