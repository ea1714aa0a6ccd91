#include "daemon/histories.h"

#include <cmath>
#include <cstdio>

#include "core/log.h"
#include "os/file.h"

namespace forerun::daemon {

namespace {

constexpr size_t kFileBytesMax = 64 << 20;
constexpr std::string_view kSuccessorsSuffix = ".successors";

}  // namespace

std::string Histories::path(ComponentId component, std::string_view suffix) const {
  return fmt::format("{}/{}{}", folder_, catalog_.digest_of(component).hex(), suffix);
}

template <typename Statistics>
void Histories::load(ComponentId component, std::string_view suffix, Statistics& statistics) {
  const std::string file = path(component, suffix);
  if (!os::path_exists(file)) return;
  const auto saved = os::read_file(file, kFileBytesMax);
  const Status loaded =
      saved ? statistics.load(component, *saved) : Status(std::unexpected(saved.error()));
  if (loaded) return;
  log::warn("history {} is of no use and set aside; learning starts afresh: {}", file,
            loaded.error().message);
  std::rename(file.c_str(), (file + ".damaged").c_str());
}

void Histories::load(ComponentId component) {
  if (!replay_->knows(component)) load(component, {}, *replay_);
  if (!successors_->table(component)) load(component, kSuccessorsSuffix, *successors_);
}

void Histories::save(ComponentId component, std::string_view suffix, const Buffer& saved) {
  if (saved.empty()) return;
  Status status = os::make_folders(folder_);
  if (status) status = os::write_file_atomic(path(component, suffix), saved);
  if (!status) log::warn("the history of a component cannot be saved: {}", status.error().message);
}

void Histories::save(ComponentId component) {
  save(component, {}, replay_->save(component));
  save(component, kSuccessorsSuffix, successors_->save(component));
}

uint64_t Histories::boots(ComponentId component) const {
  return static_cast<uint64_t>(std::lround(replay_->boots(component)));
}

}  // namespace forerun::daemon
