#include "daemon/marks.h"

#include "core/bytes.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

constexpr size_t kFileBytesMax = 64 << 20;

std::string text_of(const std::map<Digest, std::string>& shareable) {
  std::string text;
  for (const auto& [digest, name] : shareable) text += fmt::format("{} {}\n", digest.hex(), name);
  return text;
}

}  // namespace

Result<std::unique_ptr<Marks>> Marks::open(std::string path) {
  auto marks = std::unique_ptr<Marks>(new Marks(std::move(path)));
  if (!os::path_exists(marks->path_)) return marks;
  FR_TRY(const auto bytes, os::read_file(marks->path_, kFileBytesMax));
  std::string_view text = as_text(bytes);
  for (size_t line = 1; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    const std::string_view words = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const size_t blank = words.find(' ');
    const auto digest = parse_digest(words.substr(0, blank));
    if (!digest || blank == std::string_view::npos)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{}, line {}: not a digest and a name", marks->path_, line));
    marks->shareable_[*digest] = words.substr(blank + 1);
  }
  return marks;
}

bool Marks::is_shareable(const Digest& component) const {
  const std::lock_guard lock(mutex_);
  return shareable_.contains(component);
}

Status Marks::mark(const Digest& component, const std::string& name, bool is_shareable) {
  const std::lock_guard lock(mutex_);
  auto changed = shareable_;
  if (is_shareable)
    changed[component] = name;
  else
    changed.erase(component);
  if (changed == shareable_) return {};
  FR_CHECK(os::write_file_atomic(path_, as_bytes(text_of(changed))));
  shareable_ = std::move(changed);
  return {};
}

}  // namespace forerun::daemon
