#include "cluster/fence.h"

#include <charconv>

#include "core/bytes.h"
#include "os/file.h"

namespace forerun::cluster {

Result<std::unique_ptr<Fence>> Fence::open(const std::string& path, const std::string& scope) {
  std::unique_ptr<Fence> fence(new Fence(path, scope));
  if (!os::path_exists(path)) return fence;
  FR_TRY(const auto content, os::read_file(path, 4096));
  const std::string_view text = as_text(content);
  const size_t space = text.rfind(' ');
  uint64_t highest = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = space == std::string_view::npos
                          ? std::from_chars_result{end, std::errc::invalid_argument}
                          : std::from_chars(text.data() + space + 1, end, highest);
  if (parsed.ec != std::errc() || std::string_view(parsed.ptr, end) != "\n")
    return fail(ErrorCode::kCorrupt, fmt::format("{} holds no token of a leader", path));
  if (text.substr(0, space) == scope) fence->highest_ = highest;
  return fence;
}

Status Fence::admit(uint64_t token, std::string_view act) {
  const std::lock_guard lock(mutex_);
  if (token == 0) return fail(ErrorCode::kDenied, fmt::format("{} comes of no leader", act));
  if (token < highest_)
    return fail(ErrorCode::kDenied,
                fmt::format("{} comes of a leader that is none any more: token {}, the last is {}",
                            act, token, highest_));
  if (token == highest_) return {};
  FR_CHECK(os::write_file_atomic(path_, as_bytes(fmt::format("{} {}\n", scope_, token))));
  highest_ = token;
  return {};
}

uint64_t Fence::highest() const {
  const std::lock_guard lock(mutex_);
  return highest_;
}

}  // namespace forerun::cluster
