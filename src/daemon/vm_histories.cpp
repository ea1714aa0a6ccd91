#include "daemon/vm_histories.h"

#include <cstdio>

#include "core/log.h"
#include "os/file.h"

namespace forerun::daemon {

namespace {

// Sets aside what cannot be used.
void set_aside(const std::string& file, std::string_view why) {
  log::warn("history {} is of no use and set aside; learning starts afresh: {}", file, why);
  std::rename(file.c_str(), (file + ".damaged").c_str());
}

}  // namespace

std::vector<Digest> VmHistories::digests_of(const std::vector<ComponentId>& components) const {
  std::vector<Digest> digests;
  for (const ComponentId component : components) digests.push_back(catalog_.digest_of(component));
  return digests;
}

void VmHistories::open(VmId id, const std::string& name, std::vector<ComponentId> components) {
  Session session{name, std::move(components), {}, false, clock_.now()};
  session.digests = digests_of(session.components);
  const std::lock_guard lock(mutex_);
  sessions_[id] = std::move(session);
}

void VmHistories::close(VmId id) {
  const std::lock_guard lock(mutex_);
  sessions_.erase(id);
}

std::optional<predict::SavedModels> VmHistories::load(const std::string& name) {
  const std::string file = path(name);
  if (!os::path_exists(file)) return std::nullopt;
  const auto bytes = os::read_file(file, predict::SavedModels::kBytesMax);
  auto saved = bytes ? predict::parse_saved_models(*bytes)
                     : Result<predict::SavedModels>(std::unexpected(bytes.error()));
  if (saved) return std::move(*saved);
  set_aside(file, saved.error().message);
  return std::nullopt;
}

Status VmHistories::write(const std::string& name, const predict::SavedModels& saved) {
  FR_CHECK(os::make_folders(folder_ + "/vms"));
  return os::write_file_atomic(path(name), predict::serialize(saved));
}

void VmHistories::restore(VmId id, predict::ModelSpan models) {
  Session session;
  {
    const std::lock_guard lock(mutex_);
    const auto found = sessions_.find(id);
    if (found == sessions_.end()) return;
    found->second.is_at_work = true;
    found->second.saved_at = clock_.now();
    session = found->second;
  }
  const std::lock_guard files(files_mutex_);
  const auto saved = load(session.name);
  if (!saved) return;
  std::vector<ComponentId> components;
  for (const Digest& digest : saved->components) {
    const auto place = std::find(session.digests.begin(), session.digests.end(), digest);
    components.push_back(
        place == session.digests.end()
            ? predict::kNoComponent
            : session.components[static_cast<size_t>(place - session.digests.begin())]);
  }
  const auto complaints = predict::restore_models(*saved, components, models);
  if (!complaints.empty()) set_aside(path(session.name), fmt::format("{}", complaints.front()));
  log::info("VM {}: its models go on from what {} of them had learned", session.name,
            saved->models.size() - complaints.size());
}

std::optional<VmHistories::Session> VmHistories::session_of(VmId id) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return std::nullopt;
  found->second.saved_at = clock_.now();
  return found->second;
}

void VmHistories::save(VmId id, predict::ModelSpan models) {
  if (const auto session = session_of(id))
    keep(*session, predict::save_models(models, session->components, session->digests));
}

void VmHistories::save(VmId id) {
  const auto session = session_of(id);
  if (!session) return;
  predict::SavedModels saved;
  visit_(id, [&](predict::ModelSpan models) {
    saved = predict::save_models(models, session->components, session->digests);
  });
  keep(*session, std::move(saved));
}

void VmHistories::keep(const Session& session, predict::SavedModels saved) {
  if (saved.models.empty()) return;
  const std::lock_guard files(files_mutex_);
  // Of models that this session did not have, another configuration's, what was kept stays.
  if (auto earlier = load(session.name); earlier && earlier->components == saved.components) {
    for (auto& one : earlier->models)
      if (std::none_of(saved.models.begin(), saved.models.end(),
                       [&](const auto& known) { return known.name == one.name; }))
        saved.models.push_back(std::move(one));
  }
  if (const Status written = write(session.name, saved); !written)
    log::warn("what the models of VM {} learned cannot be saved: {}", session.name,
              written.error().message);
}

std::vector<VmId> VmHistories::at_work(bool all) {
  const Time now = clock_.now();
  std::vector<VmId> ids;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, session] : sessions_)
    if (session.is_at_work && (all || now - session.saved_at >= options_.save_every))
      ids.push_back(id);
  return ids;
}

void VmHistories::save_due() {
  for (const VmId id : at_work(false)) save(id);
}

void VmHistories::save_all() {
  for (const VmId id : at_work(true)) save(id);
}

void VmHistories::remove(const std::string& name) {
  const std::lock_guard files(files_mutex_);
  std::remove(path(name).c_str());
}

predict::VmHistory VmHistories::known(const std::string& name, const ImageCatalog::Layout& disk,
                                      const std::string& tenant) {
  predict::VmHistory history;
  history.vm = name;
  history.tenant = tenant;
  history.disk = disk.digest;
  const std::vector<ComponentId> components = disk.components();
  for (const ComponentId component : components) {
    auto saved = histories_.of_disk(component, components, tenant);
    if (!saved.replay.empty() || !saved.successors.empty())
      history.parts.push_back(
          {catalog_.digest_of(component), std::move(saved.replay), std::move(saved.successors)});
  }
  const std::lock_guard files(files_mutex_);
  if (auto models = load(name)) history.models = std::move(*models);
  return history;
}

Result<api::HistoryImportInfo> VmHistories::take_up(const std::string& name,
                                                    const predict::VmHistory& history,
                                                    const ImageCatalog::Layout* disk,
                                                    const std::string& tenant) {
  std::vector<Digest> here;
  if (disk != nullptr) here = digests_of(disk->components());
  const auto is_here = [&](const Digest& component) {
    return disk == nullptr || std::find(here.begin(), here.end(), component) != here.end();
  };
  const auto& of_models = history.models.components;
  const bool is_common = std::any_of(of_models.begin(), of_models.end(), is_here) ||
                         std::any_of(history.parts.begin(), history.parts.end(),
                                     [&](const auto& part) { return is_here(part.component); });
  if (!is_common)
    return fail(ErrorCode::kInvalid,
                fmt::format("this history is of VM {}'s disk, which has no component in common "
                            "with that of VM {}",
                            history.vm, name));
  api::HistoryImportInfo info;
  info.vm = name;
  for (const auto& part : history.parts) {
    if (!is_here(part.component)) {
      ++info.histories_ignored;
      continue;
    }
    FR_CHECK(histories_.merge(part.component, {part.replay, part.successors}, tenant));
    ++info.histories_merged;
  }
  const std::lock_guard files(files_mutex_);
  predict::SavedModels models = history.models;
  if (auto known = load(name)) {
    // Their states name components by place, so either all are of the same list or ours stay.
    const bool is_same = known->components == models.components;
    for (const auto& one : known->models) info.models_kept.push_back(one.name);
    for (const auto& one : is_same ? models.models : std::vector<predict::SavedModels::One>{}) {
      if (std::find(info.models_kept.begin(), info.models_kept.end(), one.name) !=
          info.models_kept.end())
        continue;
      info.models_taken.push_back(one.name);
      known->models.push_back(one);
    }
    models = std::move(*known);
  } else {
    for (const auto& one : models.models) info.models_taken.push_back(one.name);
  }
  if (!info.models_taken.empty()) FR_CHECK(write(name, models));
  return info;
}

}  // namespace forerun::daemon
