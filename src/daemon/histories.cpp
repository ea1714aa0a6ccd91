#include "daemon/histories.h"

#include <cmath>
#include <cstdio>

#include "core/log.h"
#include "os/file.h"

namespace forerun::daemon {

namespace {
constexpr size_t kHistoryBytesMax = 64 << 20;
}

std::string Histories::path(ComponentId component) const {
  return fmt::format("{}/{}", folder_, catalog_.digest_of(component).hex());
}

void Histories::load(ComponentId component) {
  if (replay_->sequence(component)) return;
  const std::string file = path(component);
  if (!os::path_exists(file)) return;
  const auto saved = os::read_file(file, kHistoryBytesMax);
  const Status loaded =
      saved ? replay_->load(component, *saved) : Status(std::unexpected(saved.error()));
  if (loaded) return;
  log::warn("history {} is of no use and set aside; learning starts afresh: {}", file,
            loaded.error().message);
  std::rename(file.c_str(), (file + ".damaged").c_str());
}

void Histories::save(ComponentId component) {
  const Buffer saved = replay_->save(component);
  if (saved.empty()) return;
  Status status = os::make_folders(folder_);
  if (status) status = os::write_file_atomic(path(component), saved);
  if (!status) log::warn("the history of a component cannot be saved: {}", status.error().message);
}

uint64_t Histories::boots(ComponentId component) const {
  const auto sequence = replay_->sequence(component);
  return sequence ? static_cast<uint64_t>(std::lround(sequence->boots)) : 0;
}

}  // namespace forerun::daemon
