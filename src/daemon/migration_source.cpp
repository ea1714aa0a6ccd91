#include "daemon/migration_source.h"

#include "core/log.h"
#include "daemon/memory_dry_run.h"
#include "daemon/take_back.h"
#include "os/clock.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kLook = std::chrono::milliseconds(20);
constexpr Nanos kPrepareTimeout = std::chrono::minutes(3);  // images may have to be fetched
constexpr Nanos kProfilePatience = std::chrono::seconds(5);
constexpr Nanos kAbortTimeout = std::chrono::milliseconds(500);
constexpr Nanos kReadyTimeout = std::chrono::minutes(1);  // of what takes milliseconds

std::string mib(uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / kMiB);
}

}  // namespace

MigrationSource::~MigrationSource() { let_go(); }

std::string MigrationSource::socket_path() const {
  const std::string& qmp = leaving_.record.qemu.qmp_socket;
  return qmp.substr(0, qmp.rfind('/')) + "/migrate.sock";
}

PeerMessage MigrationSource::message(PeerMessageKind kind) const {
  PeerMessage made;
  made.kind = kind;
  made.id = id_;
  made.vm = vm_;
  made.ownership = leaving_.record.ownership + 1;
  made.is_postcopy = is_postcopy_;
  return made;
}

void MigrationSource::let_go() {
  if (connection_) earlier_bytes_ += connection_->sent_bytes();
  if (disk_server_) disk_bytes_ += disk_server_->sent_bytes();
  if (pipe_) memory_bytes_ += pipe_->peer_bytes();
  disk_server_.reset();
  pipe_.reset();
  sender_ = nullptr;
  filter_.reset();
  connection_.reset();
}

Result<std::string> MigrationSource::run() {
  began_ = parts_.clock.now();
  FR_TRY(leaving_, parts_.vms.begin_leaving(vm_, id_, request_.to));
  Status decided = to_decision();
  if (!decided) {
    if (const auto now = parts_.vms.migrating(vm_, id_); now && !now->is_alive)
      decided = fail(ErrorCode::kUnavailable,
                     fmt::format("QEMU ended here, and its guest with it; start it again: {}",
                                 vmm::last_words(now->log_path)));
    if (const std::string stands = roll_back(); !stands.empty())
      decided.error().message += "; " + stands;
    parts_.ledger.fail(id_, decided.error().message);
    return std::unexpected(std::move(decided.error()));
  }
  auto end = to_end();
  if (!end) parts_.ledger.fail(id_, end.error().message);
  return end;
}

Result<api::MigrationForecast> MigrationSource::forecast() {
  FR_TRY(leaving_, parts_.vms.begin_leaving(vm_, id_, request_.to));
  const auto look = [this]() -> Status {
    FR_TRY(qemu_, vmm::MigrationControl::connect(leaving_.record.qemu.qmp_socket));
    FR_CHECK(profile_memory());
    choose();
    if (choice_.forecast) return {};
    return fail(ErrorCode::kUnavailable,
                fmt::format("too little is known of VM {} or of the link to {}: the log says what",
                            vm_, request_.to));
  };
  Status looked = look();
  roll_back();
  FR_CHECK(std::move(looked));
  return *choice_.forecast;
}

void MigrationSource::choose() {
  choice_.mode = mode_asked(request_.mode);
  is_postcopy_ = choice_.mode != migrate::MigrationMode::kPrecopy;
  if (request_.is_stock) return;
  const auto measure = [this]() -> Result<LinkFigures> {
    FR_TRY(const Peers::Connection connection, parts_.peers.connect(request_.to));
    return measure_link(*connection, parts_.clock);
  };
  const auto link = measure();
  if (link && connection_) connection_->limit(net::PeerChannel::kForward, bytes_under_way(*link));
  choice_ = choose_mode(vm_, request_, profile_, dry_run_, link, parts_.ledger.scores());
  is_postcopy_ = choice_.mode != migrate::MigrationMode::kPrecopy;
}

void MigrationSource::score() {
  if (!choice_.forecast) return;
  api::MigrationFigures actual;
  // A pre-copy ends as the guest runs there.
  actual.total_s =
      to_seconds((is_postcopy_ ? std::max(memory_ended_, ran_) : ran_) - memory_began_);
  actual.downtime_s = to_seconds(ran_ - stopped_);
  actual.blocked_s = static_cast<double>(blocktime_ms_) / 1000;
  actual.bytes = static_cast<double>(memory_bytes_);
  parts_.ledger.end(id_, actual, !was_cut_ && !request_.is_stock, outcome());
}

Status MigrationSource::to_decision() {
  FR_TRY(connection_, parts_.peers.connect(request_.to));
  FR_TRY(qemu_, vmm::MigrationControl::connect(leaving_.record.qemu.qmp_socket));
  FR_CHECK(profile_memory());
  choose();
  if (choice_.forecast) {
    const bool is_asked = request_.mode != api::MigrateMode::kAuto;
    log::info("VM {}: goes to {} by {}: {}", vm_, request_.to, choice_.forecast->mode,
              choice_.forecast->reason);
    parts_.ledger.begin({id_, os::unix_seconds(), "running", "", is_asked, *choice_.forecast, {}});
  }
  FR_CHECK(prepare());
  FR_CHECK(start_memory());
  FR_CHECK(until_ready());
  FR_CHECK(go_over());
  return parts_.vms.give_away(vm_, id_, is_postcopy_ && !last_.is_over());
}

Status MigrationSource::prepare() {
  control_.report(0, 0, fmt::format("host {} prepares", request_.to));
  PeerMessage asked = message(PeerMessageKind::kPrepare);
  asked.record = vmm::encode_vm_record(leaving_.record);
  asked.without_forwards = request_.without_forwards;
  asked.is_plain = request_.is_stock;
  const vmm::QemuOptions& options = leaving_.record.qemu;
  FR_TRY(asked.kernel_digest, VmManager::boot_file_digest(options.kernel));
  FR_TRY(asked.initrd_digest, VmManager::boot_file_digest(options.initrd));
  FR_TRY(asked.qemu_version, qemu_->version());
  FR_TRY(asked.machine, qemu_->machine());
  asked.disk_bytes = leaving_.disk->overlay()->allocated_bytes();
  const Buffer history = history_to_send();
  asked.history_bytes = history.size();
  FR_CHECK(send(*connection_, asked));
  FR_CHECK(connection_->write(net::PeerChannel::kForward, history));
  const auto prepared = receive(*connection_, {PeerMessageKind::kPrepared}, kPrepareTimeout);
  if (!prepared)
    return std::unexpected(
        Error(prepared.error()).within(fmt::format("host {} cannot take VM {}", request_.to, vm_)));
  return {};
}

Buffer MigrationSource::history_to_send() {
  auto history = parts_.vms.history_of(vm_);
  if (history && history->size() <= kHistoryBytesMax) return std::move(*history);
  log::warn("VM {}: what was learned of it stays behind: {}", vm_,
            history ? fmt::format("it takes {}", mib(history->size())) : history.error().message);
  return {};
}

Status MigrationSource::profile_memory() {
  // Of QEMU's own streams, nothing would be foreseen.
  if (request_.is_stock) return {};
  control_.report(0, 0, "learns what the guest writes");
  const Time began = parts_.clock.now();
  auto profile = dry_run(*qemu_, socket_path(), kProfilePatience, parts_.clock);
  dry_run_ = parts_.clock.now() - began;
  if (profile) {
    profile_ = std::move(*profile);
    return {};
  }
  log::warn("VM {}: what it writes is not known: {}", vm_, profile.error().message);
  qemu_.reset();  // an answer of QEMU's may still be on its way
  FR_TRY(qemu_, vmm::MigrationControl::connect(leaving_.record.qemu.qmp_socket));
  FR_TRY(const std::string state, qemu_->run_state());
  return state == "running" ? Status() : qemu_->resume();
}

Status MigrationSource::start_memory() {
  if (request_.is_stock) {
    filter_ = std::make_unique<PlainFilter>();
  } else {
    migrate::MemorySender::Options options;
    options.switches = choice_.mode == migrate::MigrationMode::kHybrid;
    options.hot = choice_.hot;
    // Told from how fast it is taken, a link would seem as slow as a busy host packs.
    options.link_bytes_per_s = choice_.forecast
                                   ? choice_.forecast->link_bytes_per_s
                                   : static_cast<double>(request_.rate_bytes_per_s_max);
    auto sender = std::make_unique<SenderFilter>(options, std::move(profile_), parts_.clock);
    sender_ = sender.get();
    filter_ = std::move(sender);
  }
  pipe_ = std::make_unique<MigrationPipe>(MigrationPipe::Side::kSource, *connection_, *filter_);
  FR_CHECK(pipe_->open(socket_path()));
  // Cancelled before the switch, QEMU keeps the disks; amid it, 7.2 may let the guest run on
  // without them, and ends by an assertion at its next write.
  std::vector<std::string> capabilities{"events", "return-path", "pause-before-switchover"};
  if (is_postcopy_) capabilities.emplace_back("postcopy-ram");
  FR_CHECK(qemu_->set_capabilities(capabilities));
  FR_CHECK(qemu_->set_parameters({request_.rate_bytes_per_s_max, request_.downtime_ms_max}));
  memory_began_ = parts_.clock.now();
  return qemu_->start(socket_path());
}

Status MigrationSource::switch_if_due(const vmm::MigrationStatus& status) {
  if (!is_postcopy_ || status.state != "active") return {};
  const bool is_at_once = choice_.mode == migrate::MigrationMode::kPostcopy;
  // The first pass over the memory ends when its changes are looked for the second time.
  if (!is_at_once && !(sender_ ? sender_->first_pass_is_done() : status.rounds >= 2)) return {};
  if (is_at_once && status.transferred_bytes == 0) return {};
  return qemu_->start_postcopy();  // again and again does no harm
}

Status MigrationSource::serve_disk() {
  if (!frozen_) {
    // Named by the migration: the same for a daemon that is started again amid it.
    FR_TRY(frozen_, leaving_.disk->freeze(sha256(as_bytes(id_)).prefix() | 1));
  }
  disk_server_ = std::make_unique<PeerOverlayServer>(*connection_, frozen_);
  return {};
}

// QEMU has stopped the guest and flushed its disk, and waits for a word.
Status MigrationSource::note_switch() {
  if (has_switched_ || last_.state != "pre-switchover") return {};
  has_switched_ = true;
  stopped_ = parts_.clock.now();
  FR_CHECK(serve_disk());
  FR_CHECK(send(*connection_, message(PeerMessageKind::kFrozen)));
  // QEMU 7.2 cancelled in post-copy shuts its socket before it notes that it is cancelled: a thread
  // of its that sees the one and not the other pauses for good.
  if (is_postcopy_) FR_CHECK(go_over());
  return qemu_->leave_pre_switchover();
}

Status MigrationSource::go_over() {
  if (!goes_over_ && !control_.may_go_over())
    return fail(ErrorCode::kUnavailable, "it was cancelled");
  goes_over_ = true;
  return {};
}

Status MigrationSource::look(bool& is_ready) {
  if (!goes_over_ && control_.should_cancel())
    return fail(ErrorCode::kUnavailable, "it was cancelled");
  if (goes_over_ && parts_.clock.now() > stopped_ + kReadyTimeout)
    return fail(ErrorCode::kTimedOut, fmt::format("host {} does not get ready", request_.to));
  if (!has_switched_) FR_CHECK(qemu_->wait(kLook));
  const auto ready = receive(*connection_, {PeerMessageKind::kReady}, has_switched_ ? 2ms : 0ms);
  is_ready = ready.has_value();
  if (!ready && ready.error().code != ErrorCode::kTimedOut)
    return std::unexpected(Error(ready.error()).within("host " + request_.to));
  FR_TRY(last_, qemu_->status());
  if (last_.has_failed())
    return fail(ErrorCode::kIo,
                fmt::format("QEMU's migration {}: {}", last_.state,
                            last_.error.empty() ? "it does not say why" : last_.error));
  if (const auto failure = pipe_->failure()) return std::unexpected(*failure);
  FR_CHECK(switch_if_due(last_));
  FR_CHECK(note_switch());
  report(last_);
  return {};
}

Status MigrationSource::until_ready() {
  for (bool is_ready = false; !is_ready;) FR_CHECK(look(is_ready));
  return {};
}

void MigrationSource::report(const vmm::MigrationStatus& status) {
  const uint64_t done = pipe_ ? pipe_->qemu_bytes() : 0;
  std::string text;
  if (runs_there_)
    text = fmt::format("runs on {}, the rest of its memory and disk follows, {} and {} left",
                       request_.to, mib(status.remaining_bytes), mib(disk_left_bytes_));
  else if (has_switched_)
    text = "the guest goes over";
  else
    text = fmt::format("round {}, {}/s, {} left, {}/s written", status.rounds,
                       mib(static_cast<uint64_t>(status.rate_bytes_per_s)),
                       mib(status.remaining_bytes),
                       mib(static_cast<uint64_t>(status.dirty_bytes_per_s)));
  control_.report(done, done + status.remaining_bytes, std::move(text));
}

// The guest may have been stopped by then, and the target may have all of it; it does not run it
// without this host's word.
std::string MigrationSource::roll_back() {
  // First of all: QEMU may let the guest run on by itself. Nobody else has run it.
  if (frozen_) leaving_.disk->thaw();
  if (connection_) {
    if (!send(*connection_, message(PeerMessageKind::kAbort)))
      log::info("VM {}: host {} is not told that the VM stays", vm_, request_.to);
  }
  // It hears that before the connection is cut, and ends its side of it then.
  if (goes_over_ && is_postcopy_ && connection_) [[maybe_unused]]
    const auto ended = connection_->receive_message(kAbortTimeout);
  Status runs;
  if (qemu_)
    runs = take_back({.qemu = *qemu_,
                      .pipe = pipe_.get(),
                      .socket_path = socket_path(),
                      .may_cancel = !goes_over_ || !is_postcopy_,
                      .clock = parts_.clock,
                      .wait = [this] { control_.wait(kLook); }});
  qemu_.reset();
  let_go();
  frozen_.reset();
  std::string stands;
  const auto now = parts_.vms.migrating(vm_, id_);
  if (!runs && now && now->is_alive) {
    stands = fmt::format("its guest stands still, and has to be stopped and started again: {}",
                         runs.error().message);
    log::error("VM {}: {}", vm_, stands);
  }
  if (const Status stays = parts_.vms.stay(vm_, id_, stands); !stays)
    log::error("VM {}: {}", vm_, stays.error().message);
  return stands;
}

std::string MigrationSource::outcome() const {
  const double total = to_seconds(parts_.clock.now() - began_);
  std::string text = fmt::format(
      "runs on {} since {:.0f} ms after it stopped here; {:.1f} s in "
      "all, {} of memory in {} rounds, {} of disk, {} on the wire",
      request_.to, to_seconds(ran_ - stopped_) * 1000, total, mib(last_.transferred_bytes),
      last_.rounds, mib(disk_bytes_), mib(earlier_bytes_));
  if (is_postcopy_)
    text +=
        fmt::format(", {} page requests, vCPUs waited {} ms", last_.page_requests, blocktime_ms_);
  return text;
}

}  // namespace forerun::daemon
