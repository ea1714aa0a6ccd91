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
  if (sender_) sent_ = sender_->stats();
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
  FR_CHECK(parts_.vms.give_away(vm_, id_, is_postcopy_ && !last_.is_over()));
  downtime_.end_step("decide", parts_.clock.now());
  return {};
}

Status MigrationSource::prepare() {
  control_.report(0, 0, fmt::format("host {} prepares", request_.to));
  PeerMessage asked = message(PeerMessageKind::kPrepare);
  asked.record = vmm::encode_vm_record(leaving_.record);
  asked.without_forwards = request_.without_forwards;
  asked.is_plain = request_.is_stock;
  asked.takes_known = is_postcopy_ ? choice_.mode == migrate::MigrationMode::kHybrid : true;
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
  return take_known(*prepared);
}

Buffer MigrationSource::history_to_send() {
  auto history = parts_.vms.history_of(vm_);
  if (history && history->size() <= kHistoryBytesMax) return std::move(*history);
  log::warn("VM {}: what was learned of it stays behind: {}", vm_,
            history ? fmt::format("it takes {} bytes", history->size()) : history.error().message);
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
    options.known = std::move(known_);
    auto sender =
        std::make_unique<SenderFilter>(std::move(options), std::move(profile_), parts_.clock);
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
  // One that switches is not to end in pre-copy, while much of what was written is held back.
  const uint64_t downtime_ms = is_postcopy_ ? 1 : request_.downtime_ms_max;
  FR_CHECK(qemu_->set_parameters({request_.rate_bytes_per_s_max, downtime_ms}));
  FR_CHECK(parts_.vms.prepare_to_give(vm_, id_, is_postcopy_));
  FR_CHECK(qemu_->take_events());  // those of the dry run
  memory_began_ = parts_.clock.now();
  return qemu_->start(socket_path());
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

}  // namespace forerun::daemon
