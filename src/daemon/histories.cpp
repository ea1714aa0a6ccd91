#include "daemon/histories.h"

#include <cmath>
#include <cstdio>
#include <tuple>

#include "core/log.h"
#include "os/file.h"

namespace forerun::daemon {

namespace {

constexpr size_t kFileBytesMax = 64 << 20;
constexpr std::string_view kSuccessorsSuffix = ".successors";

}  // namespace

Histories::Histories(std::string folder, const ImageCatalog& catalog, const Marks* marks)
    : folder_(std::move(folder)), catalog_(catalog), marks_(marks) {
  common_.folder = folder_;
  common_.replay = std::make_shared<predict::ReplayHistory>(
      predict::ReplayHistory::Options{},
      [&catalog](ComponentId component) { return catalog.name_of(component); });
  common_.successors = std::make_shared<predict::SuccessorStatistics>();
}

bool Histories::is_shareable(ComponentId component) const {
  return marks_ == nullptr || marks_->is_shareable(catalog_.digest_of(component));
}

bool Histories::serves_all(const std::vector<ComponentId>& components,
                           const std::string& tenant) const {
  return tenant.empty() || std::ranges::all_of(components, [this](ComponentId component) {
           return is_shareable(component);
         });
}

Histories::Known Histories::known(const std::string& tenant) {
  if (tenant.empty()) return common_;
  const std::lock_guard lock(tenants_mutex_);
  Known& known = tenants_[tenant];
  known.used_at = ++uses_;
  if (!known.replay) {
    const auto is_shared = [this](ComponentId component) { return is_shareable(component); };
    known.folder = fmt::format("{}/tenants/{}", folder_, tenant);
    known.replay = std::make_shared<predict::ReplayHistory>(
        predict::ReplayHistory::Options{},
        [this](ComponentId component) { return catalog_.name_of(component); }, common_.replay,
        is_shared);
    known.successors = std::make_shared<predict::SuccessorStatistics>(
        predict::SuccessorStatistics::Options{}, common_.successors, is_shared);
  }
  Known found = known;
  forget_old_tenants();
  return found;
}

// What a VM's models still hold is not forgotten: it would be written over what they teach.
void Histories::forget_old_tenants() {
  while (tenants_.size() > kTenantsMax) {
    auto oldest = tenants_.end();
    for (auto each = tenants_.begin(); each != tenants_.end(); ++each) {
      const Known& known = each->second;
      if (known.replay.use_count() > 1 || known.successors.use_count() > 1) continue;
      if (oldest == tenants_.end() || known.used_at < oldest->second.used_at) oldest = each;
    }
    if (oldest == tenants_.end()) return;
    tenants_.erase(oldest);
  }
}

Histories::Known Histories::home(ComponentId component, const std::string& tenant) {
  return tenant.empty() || is_shareable(component) ? common_ : known(tenant);
}

std::shared_ptr<predict::ReplayHistory> Histories::replay(const std::string& tenant) {
  return known(tenant).replay;
}

std::shared_ptr<predict::SuccessorStatistics> Histories::successors(const std::string& tenant) {
  return known(tenant).successors;
}

std::string Histories::path(const Known& known, ComponentId component,
                            std::string_view suffix) const {
  return fmt::format("{}/{}{}", known.folder, catalog_.digest_of(component).hex(), suffix);
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

void Histories::load(ComponentId component, const std::string& tenant) {
  load(component, home(component, tenant));
  if (tenant.empty()) return;
  const Known own = known(tenant);
  if (!own.replay->knows_meanings())
    load_file(names_path(own), [&](ByteView saved) { return own.replay->load_meanings(saved); });
}

void Histories::load(ComponentId component, const Known& from) {
  if (!from.replay->knows(component))
    load_file(path(from, component, {}),
              [&](ByteView saved) { return from.replay->load(component, saved); });
  if (!from.successors->table(component))
    load_file(path(from, component, kSuccessorsSuffix),
              [&](ByteView saved) { return from.successors->load(component, saved); });
  if (!from.replay->knows_meanings())
    load_file(names_path(from), [&](ByteView saved) { return from.replay->load_meanings(saved); });
}

Status Histories::write_file(const std::string& folder, const std::string& file,
                             const Buffer& saved) {
  if (saved.empty()) return {};
  FR_CHECK(os::make_folders(folder));
  return os::write_file_atomic(file, saved);
}

void Histories::save_file(const std::string& folder, const std::string& file, const Buffer& saved) {
  if (const Status status = write_file(folder, file, saved); !status)
    log::warn("the history of a component cannot be saved: {}", status.error().message);
}

Histories::Saved Histories::of_disk(ComponentId component, const std::vector<ComponentId>& disk,
                                    const std::string& tenant) {
  load(component, tenant);
  const Known from = home(component, tenant);
  return {from.replay->save_of_disk(component, disk), from.successors->save(component)};
}

Status Histories::merge(const Digest& digest, const Saved& saved, const std::string& tenant) {
  if (const auto component = catalog_.find(digest)) {
    load(*component, tenant);
    const Known to = home(*component, tenant);
    if (!saved.replay.empty()) FR_CHECK(to.replay->merge_saved(*component, saved.replay));
    if (!saved.successors.empty())
      FR_CHECK(to.successors->merge_saved(*component, saved.successors));
    save(*component, tenant);
    return {};
  }
  // Nobody has opened it yet: as if somebody did, for this alone.
  constexpr ComponentId kOnly{0};
  predict::ReplayHistory replay;
  predict::SuccessorStatistics successors;
  const bool is_common = tenant.empty() || marks_ == nullptr || marks_->is_shareable(digest);
  const std::string folder = is_common ? folder_ : known(tenant).folder;
  const std::string file = fmt::format("{}/{}", folder, digest.hex());
  const std::lock_guard lock(saving_);
  load_file(file, [&](ByteView bytes) { return replay.load(kOnly, bytes); });
  load_file(file + std::string(kSuccessorsSuffix),
            [&](ByteView bytes) { return successors.load(kOnly, bytes); });
  if (!saved.replay.empty()) FR_CHECK(replay.merge_saved(kOnly, saved.replay));
  if (!saved.successors.empty()) FR_CHECK(successors.merge_saved(kOnly, saved.successors));
  FR_CHECK(write_file(folder, file, replay.save(kOnly)));
  return write_file(folder, file + std::string(kSuccessorsSuffix), successors.save(kOnly));
}

void Histories::save(ComponentId component, const std::string& tenant) {
  const std::lock_guard lock(saving_);
  const Known to = home(component, tenant);
  save_file(to.folder, path(to, component, {}), to.replay->save(component));
  save_file(to.folder, path(to, component, kSuccessorsSuffix), to.successors->save(component));
  // Only metadata teaches by name.
  if (catalog_.name_of(component) == 0)
    save_file(to.folder, names_path(to), to.replay->save_meanings());
}

uint64_t Histories::boots(ComponentId component) const {
  return static_cast<uint64_t>(std::lround(common_.replay->boots(component)));
}

void Histories::share(const Digest& digest) {
  const std::lock_guard lock(saving_);
  constexpr ComponentId kIt{0};  // here, nobody else is
  std::vector<std::string> folders{folder_};
  if (const auto tenants = os::list_folder(folder_ + "/tenants"))
    for (const std::string& tenant : *tenants) folders.push_back(folder_ + "/tenants/" + tenant);
  Buffer most;
  float boots = 0;
  predict::SuccessorStatistics counted;
  for (const std::string& folder : folders) {
    predict::ReplayHistory boot;
    predict::SuccessorStatistics jumps;
    const std::string file = fmt::format("{}/{}", folder, digest.hex());
    load_file(file, [&](ByteView saved) { return boot.load(kIt, saved); });
    load_file(file + std::string(kSuccessorsSuffix),
              [&](ByteView saved) { return jumps.load(kIt, saved); });
    if (boot.boots(kIt) > boots) most = boot.save(kIt);
    boots = std::max(boots, boot.boots(kIt));
    if (const auto table = jumps.table(kIt)) counted.learn(kIt, *table);
    // So that they are not counted again if the mark comes and goes.
    if (folder != folder_) std::remove((file + std::string(kSuccessorsSuffix)).c_str());
  }
  const std::string file = fmt::format("{}/{}", folder_, digest.hex());
  save_file(folder_, file, most);
  save_file(folder_, file + std::string(kSuccessorsSuffix), counted.save(kIt));
  const auto component = catalog_.find(digest);
  if (!component) return;
  if (!most.empty()) std::ignore = common_.replay->load(*component, most);
  if (const auto table = counted.table(kIt))
    std::ignore = common_.successors->load(*component, counted.save(kIt));
}

}  // namespace forerun::daemon
