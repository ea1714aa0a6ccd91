#include "daemon/migrations.h"

#include <algorithm>

#include "core/log.h"
#include "daemon/migration_forecast.h"
#include "daemon/migration_source.h"
#include "daemon/migration_target.h"
#include "os/clock.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kFirstMessageTimeout = std::chrono::seconds(30);
constexpr Nanos kAskAgainMin = std::chrono::milliseconds(200);
constexpr Nanos kAskAgainMax = std::chrono::seconds(5);

using Role = vmm::MigrationRecord::Role;

// Differs from those of all other migrations of this host's VMs.
std::string new_id(const std::string& vm, const Clock& clock) {
  const std::string text =
      fmt::format("{} {} {}", vm, os::unix_seconds(), clock.now().time_since_epoch().count());
  return "m-" + sha256(as_bytes(text)).short_hex();
}

}  // namespace

Status Migrations::start() {
  for (const vmm::VmRecord& record : parts_.vms.all_migrating())
    takers_.emplace_back([this, record] { take_up(record); });
  for (const vmm::VmRecord& record : parts_.vms.all_moved())
    if (record.migration.role == Role::kNone) relay_ports(record.name);
  const auto copy = [this](const std::string& vm, uint64_t number,
                           const std::string& to) -> Status {
    const auto should_stop = [this] { return is_stopping_.load(); };
    FR_CHECK(send_copy(vm, number, {to, 0}, should_stop, [](uint64_t, uint64_t) {}));
    return {};
  };
  parts_.vms.copy_checkpoints_by(copy, [this](const std::string& host) {
    const auto hosts = parts_.peers.hosts();
    return std::ranges::find(hosts, host, &HostConfig::name) != hosts.end();
  });
  return parts_.peers.listen([this](const std::string& host, const Peers::Connection& connection) {
    serve(host, connection);
  });
}

void Migrations::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  stopping_.notify_all();
  parts_.vms.copy_checkpoints_by({}, {});  // waits for one that is under way
  relays_.stop();
  parts_.peers.stop();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return moving_.empty(); });
  const auto ending = std::exchange(takers_, {});
  lock.unlock();
}

bool Migrations::wait(Nanos time) {
  std::unique_lock lock(mutex_);
  if (time > Nanos::zero()) stopping_.wait_for(lock, time, [this] { return is_stopping_.load(); });
  return !is_stopping_;
}

Result<Migrations::Moving*> Migrations::begin(const std::string& vm) {
  const std::lock_guard lock(mutex_);
  if (is_stopping_) return fail(ErrorCode::kUnavailable, "the daemon is stopping");
  const auto [added, is_new] = moving_.try_emplace(vm);
  if (!is_new) return fail(ErrorCode::kExists, fmt::format("VM {} is being migrated", vm));
  return &added->second;
}

Result<api::MigrationForecast> Migrations::forecast(const std::string& vm,
                                                    const api::MigrateRequest& request) {
  FR_TRY(Moving* const own, begin(vm));
  MigrationSource::Control control;
  control.should_cancel = [&] { return own->is_cancelled || is_stopping_; };
  control.may_go_over = [] { return false; };
  control.wait = [&](Nanos time) { return wait(time); };
  control.report = [](uint64_t, uint64_t, const std::string&) {};
  parts_.vms.foresee_move(vm, request.to);  // who asks what it takes is likely to have it done
  auto told =
      MigrationSource(parts_, vm, new_id(vm, parts_.clock), request, std::move(control)).forecast();
  {
    const std::lock_guard lock(mutex_);
    moving_.erase(vm);
  }
  changed_.notify_all();
  return told;
}

Result<std::string> Migrations::move(const std::string& vm, const api::MigrateRequest& request,
                                     Operations::Progress& progress) {
  FR_TRY(Moving* const own, begin(vm));
  MigrationSource::Control control;
  control.should_cancel = [&] {
    return own->is_cancelled || is_stopping_ || progress.should_stop();
  };
  control.may_go_over = [&] {
    const std::lock_guard lock(mutex_);
    own->is_decided = !own->is_cancelled;
    return own->is_decided;
  };
  control.on_running = [&] { relay_ports(vm); };
  control.wait = [&](Nanos time) { return wait(time); };
  control.report = [&](uint64_t done, uint64_t total, std::string text) {
    progress.update(done, total, std::move(text));
  };
  const std::string id = new_id(vm, parts_.clock);
  auto moved = MigrationSource(parts_, vm, id, request, std::move(control)).run();
  {
    const std::lock_guard lock(mutex_);
    moving_.erase(vm);
    // A guest that is lost leaves a disk, which goes on.
    const auto left = parts_.vms.migrating(vm, id);
    if (!moved && left && !is_stopping_)
      takers_.emplace_back([this, record = left->record] { take_up(record); });
  }
  changed_.notify_all();
  return moved;
}

Status Migrations::cancel(const std::string& vm) {
  const std::lock_guard lock(mutex_);
  const auto found = moving_.find(vm);
  if (found == moving_.end())
    return fail(ErrorCode::kNotFound, fmt::format("VM {} is not being migrated from here", vm));
  if (found->second.is_decided)
    return fail(ErrorCode::kExists, fmt::format("VM {} goes over to the other host already", vm));
  found->second.is_cancelled = true;
  return {};
}

std::vector<api::PeerInfo> Migrations::list_peers() {
  const auto ping = [this](const std::string& host) -> Status {
    FR_TRY(const auto connection, parts_.peers.connect(host));
    FR_CHECK(send(*connection, {}));
    FR_CHECK(receive(*connection, {PeerMessageKind::kPong}, kFirstMessageTimeout));
    return {};
  };
  std::vector<api::PeerInfo> infos;
  for (const HostConfig& host : parts_.peers.hosts()) infos.push_back({host.name, host.address});
  {
    std::vector<std::jthread> asking;
    for (api::PeerInfo& info : infos)
      asking.emplace_back([&info, &ping] {
        const Status answered = ping(info.name);
        info.is_reachable = answered.has_value();
        if (!answered) info.detail = answered.error().message;
      });
  }
  return infos;
}

void Migrations::serve(const std::string& host, const Peers::Connection& connection) {
  const auto first =
      receive(*connection,
              {PeerMessageKind::kPing, PeerMessageKind::kPrepare, PeerMessageKind::kResume,
               PeerMessageKind::kAsk, PeerMessageKind::kRelay, PeerMessageKind::kFleet,
               PeerMessageKind::kOrder, PeerMessageKind::kMeasure, PeerMessageKind::kKeep,
               PeerMessageKind::kDrop, PeerMessageKind::kForesee},
              kFirstMessageTimeout);
  if (!first) {
    log::warn("host {}: {}", host, first.error().message);
    [[maybe_unused]] const Status told = send(*connection, failure_message(first.error()));
    // It is still on its way; the other host ends the connection once it has read it.
    [[maybe_unused]] const auto closed = connection->receive_message(1s);
    return;
  }
  if (first->kind == PeerMessageKind::kRelay) return serve_relay(*first, connection);
  if (first->kind == PeerMessageKind::kKeep || first->kind == PeerMessageKind::kDrop)
    return serve_copies(host, *first, *connection);
  if (first->kind == PeerMessageKind::kFleet || first->kind == PeerMessageKind::kOrder ||
      first->kind == PeerMessageKind::kForesee) {
    [[maybe_unused]] const Status told =
        send(*connection, answer_ ? answer_(host, *first)
                                  : failure_message({ErrorCode::kUnsupported, "nobody plans"}));
    [[maybe_unused]] const auto closed = connection->receive_message(kFirstMessageTimeout);
    return;
  }
  if (first->kind == PeerMessageKind::kPing || first->kind == PeerMessageKind::kAsk) {
    PeerMessage answer;
    answer.kind = PeerMessageKind::kPong;
    if (first->kind == PeerMessageKind::kAsk) {
      const auto given = parts_.vms.was_given_away(first->vm, first->id, host);
      answer.kind = PeerMessageKind::kOutcome;
      answer.is_decided = given.value_or(false);
      answer.is_complete = given.has_value();
    }
    [[maybe_unused]] const Status told = send(*connection, answer);
    [[maybe_unused]] const auto closed = connection->receive_message(kFirstMessageTimeout);
    return;
  }
  if (first->kind == PeerMessageKind::kMeasure) {
    if (const Status answered = answer_measure(*connection, parts_.clock); !answered)
      log::info("host {}: the link was not measured: {}", host, answered.error().message);
    [[maybe_unused]] const auto closed = connection->receive_message(kFirstMessageTimeout);
    return;
  }
  {
    // The source has made a new connection because it found the old one cut: here it may not be
    // known yet.
    std::unique_lock lock(mutex_);
    if (const auto old = coming_.find(first->id); old != coming_.end())
      old->second->cut({ErrorCode::kUnavailable, "the source has connected again"});
    changed_.wait(lock, [&] { return !coming_.contains(first->id); });
    coming_[first->id] = connection;
  }
  if (first->kind == PeerMessageKind::kPrepare) relays_.close(first->vm);  // it may come back
  MigrationTarget target(parts_, host, connection, [this] { return is_stopping_.load(); });
  const auto end =
      first->kind == PeerMessageKind::kPrepare ? target.prepare(*first) : target.resume(*first);
  {
    const std::lock_guard lock(mutex_);
    coming_.erase(first->id);
  }
  changed_.notify_all();
  if (end == MigrationTarget::End::kGone) relay_ports(first->vm);  // it may be elsewhere still
  if (end != MigrationTarget::End::kInDoubt) return;
  const auto doubtful = parts_.vms.migrating(first->vm, first->id);
  if (doubtful) take_up(doubtful->record);
}

void Migrations::relay_ports(const std::string& vm) {
  for (const vmm::VmRecord& record : parts_.vms.all_moved())
    if (record.name == vm) relays_.open(vm, record.moved_to, record.qemu.forwards);
}

void Migrations::serve_relay(const PeerMessage& asked, const Peers::Connection& connection) {
  const auto forward = parts_.vms.forward_of(asked.vm, asked.port);
  Status relayed =
      forward ? relay_here(*connection, *forward) : Status(std::unexpected(Error(forward.error())));
  if (relayed) return;
  [[maybe_unused]] const Status told = send(*connection, failure_message(relayed.error()));
  [[maybe_unused]] const auto closed = connection->receive_message(1s);
}

std::optional<bool> Migrations::ask_outcome(const vmm::VmRecord& record) {
  Nanos pause = kAskAgainMin;
  do {
    // The source may have come back meanwhile.
    const auto now = parts_.vms.migrating(record.name, record.migration.id);
    if (!now || now->record.migration.is_decided) return std::nullopt;
    const auto asked = [&]() -> Result<PeerMessage> {
      FR_TRY(const auto connection, parts_.peers.connect(record.migration.peer));
      PeerMessage question;
      question.kind = PeerMessageKind::kAsk;
      question.id = record.migration.id;
      question.vm = record.name;
      FR_CHECK(send(*connection, question));
      return receive(*connection, {PeerMessageKind::kOutcome}, kFirstMessageTimeout);
    }();
    if (asked && asked->is_complete) return asked->is_decided;
    if (!asked)
      log::warn("VM {} may be host {}'s or ours: {}", record.name, record.migration.peer,
                asked.error().message);
    pause = std::min(pause * 2, kAskAgainMax);
  } while (wait(pause));
  return std::nullopt;
}

void Migrations::take_up(const vmm::VmRecord& record) {
  const vmm::MigrationRecord& migration = record.migration;
  if (migration.role == Role::kSource) {
    MigrationSource::Control control;
    control.should_cancel = [this] { return is_stopping_.load(); };
    control.may_go_over = [] { return false; };
    control.on_running = [&] { relay_ports(record.name); };
    control.wait = [this](Nanos time) { return wait(time); };
    control.report = [](uint64_t, uint64_t, const std::string&) {};
    api::MigrateRequest request;
    request.to = migration.peer;
    const auto end = MigrationSource(parts_, record.name, migration.id, request, std::move(control))
                         .take_up(record);
    if (end)
      log::info("{}", *end);
    else
      log::error("{}", end.error().message);
    return;
  }
  if (!migration.is_decided) {
    // Ours or not, the source tells; if it is ours, it connects and hands it over.
    const auto is_ours = ask_outcome(record);
    if (!is_ours || *is_ours) return;
    if (const Status dropped = parts_.vms.drop_coming(record.name, migration.id); !dropped)
      log::error("VM {}, which does not come: {}", record.name, dropped.error().message);
    return;
  }
  // QEMU that lacks memory may answer nothing: the source connects again, and sees it run.
  if (migration.is_postcopy)
    return parts_.vms.set_migration_detail(
        record.name, migration.id,
        fmt::format("what it lacks comes once host {} has connected again", migration.peer));
  const auto run = [&]() -> Status {
    FR_TRY(const auto qemu, vmm::MigrationControl::connect(record.qemu.qmp_socket,
                                                           [this] { return !is_stopping_; }));
    FR_TRY(const std::string state, qemu->run_state());
    if (state != "running") FR_CHECK(qemu->resume());
    // What is still missing of its memory or disk comes once the source has connected again.
    FR_TRY(const auto vm, parts_.vms.migrating(record.name, migration.id));
    if (!vm.disk || vm.disk->pull_id() != 0) return {};
    return parts_.vms.end_coming(record.name, migration.id);
  };
  if (const Status runs = run(); !runs)
    log::error("VM {} is ours, and does not run: {}", record.name, runs.error().message);
}

}  // namespace forerun::daemon
