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

void Histories::load_file(const std::string& file, const std::function<Status(ByteView)>& accept) {
  if (!os::path_exists(file)) return;
  const auto saved = os::read_file(file, kFileBytesMax);
  const Status loaded = saved ? accept(*saved) : Status(std::unexpected(saved.error()));
  if (loaded) return;
  log::warn("history {} is of no use and set aside; learning starts afresh: {}", file,
            loaded.error().message);
  std::rename(file.c_str(), (file + ".damaged").c_str());
}

void Histories::load(ComponentId component) {
  if (!replay_->knows(component))
    load_file(path(component, {}), [&](ByteView saved) { return replay_->load(component, saved); });
  if (!successors_->table(component))
    load_file(path(component, kSuccessorsSuffix),
              [&](ByteView saved) { return successors_->load(component, saved); });
  if (!replay_->knows_meanings())
    load_file(names_path(), [&](ByteView saved) { return replay_->load_meanings(saved); });
}

void Histories::save_file(const std::string& file, const Buffer& saved) {
  if (saved.empty()) return;
  Status status = os::make_folders(folder_);
  if (status) status = os::write_file_atomic(file, saved);
  if (!status) log::warn("the history of a component cannot be saved: {}", status.error().message);
}

void Histories::save(ComponentId component) {
  const std::lock_guard lock(saving_);
  save_file(path(component, {}), replay_->save(component));
  save_file(path(component, kSuccessorsSuffix), successors_->save(component));
  // Only metadata teaches by name.
  if (catalog_.name_of(component) == 0) save_file(names_path(), replay_->save_meanings());
}

uint64_t Histories::boots(ComponentId component) const {
  return static_cast<uint64_t>(std::lround(replay_->boots(component)));
}

}  // namespace forerun::daemon
