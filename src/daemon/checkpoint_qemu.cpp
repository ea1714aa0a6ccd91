#include "daemon/checkpoint_qemu.h"

#include <boost/json.hpp>

#include "core/log.h"
#include "os/clock.h"
#include "os/socket.h"

namespace forerun::daemon {
namespace {

namespace json = boost::json;

constexpr Nanos kQmpTimeout = 30s;
constexpr Nanos kAcceptTimeout = 10s;
constexpr auto kPoll = 5ms;
// A guest that writes faster than QEMU reads is stopped after so much.
constexpr uint64_t kRoundsMax = 4;
constexpr Nanos kLiveMax = 10s;
constexpr size_t kReadBytes = 1 << 20;

struct Progress {
  std::string state, error;
  uint64_t rounds = 0, downtime_ms = 0;
};

Result<Progress> ask(vmm::QmpClient& qmp) {
  FR_TRY(const std::string answer, qmp.execute("query-migrate"));
  boost::system::error_code error;
  const json::value value = json::parse(answer, error);
  Progress progress;
  if (error || !value.is_object())
    return fail(ErrorCode::kCorrupt, "QEMU does not say how its migration gets on");
  const json::object& object = value.as_object();
  const auto number = [](const json::object& from, std::string_view key) -> uint64_t {
    const json::value* const found = from.if_contains(key);
    boost::system::error_code wrong;
    const auto told = found ? found->to_number<uint64_t>(wrong) : 0;
    return wrong ? 0 : told;
  };
  if (const auto* state = object.if_contains("status"); state && state->is_string())
    progress.state = state->as_string();
  if (const auto* words = object.if_contains("error-desc"); words && words->is_string())
    progress.error = words->as_string();
  if (const auto* ram = object.if_contains("ram"); ram && ram->is_object())
    progress.rounds = number(ram->as_object(), "dirty-sync-count");
  progress.downtime_ms = number(object, "downtime");
  return progress;
}

std::string uri_of(const std::string& socket_path) {
  return json::serialize(json::value{{"uri", "unix:" + socket_path}});
}

bool has_failed(const Progress& progress) {
  return progress.state == "failed" || progress.state == "cancelled" || progress.state == "none";
}

}  // namespace

Result<std::unique_ptr<QemuSave>> QemuSave::begin(const std::string& qmp_socket,
                                                  const std::string& socket_path,
                                                  MemorySpool& spool) {
  FR_TRY(auto qmp, vmm::QmpClient::connect(qmp_socket, kQmpTimeout));
  std::unique_ptr<QemuSave> save(new QemuSave(std::move(qmp), spool));
  FR_TRY(const std::string state, save->qmp_->run_state());
  if (state != "running")
    return fail(ErrorCode::kUnavailable, fmt::format("the guest is {}, not running", state));
  FR_CHECK(save->qmp_->execute("migrate-set-capabilities",
                               R"({"capabilities":[{"capability":"postcopy-ram","state":false},)"
                               R"({"capability":"return-path","state":false},)"
                               R"({"capability":"multifd","state":false},)"
                               R"({"capability":"xbzrle","state":false}]})"));
  FR_CHECK(save->qmp_->execute("migrate-set-parameters",
                               R"({"max-bandwidth":10000000000,"downtime-limit":100})"));
  FR_TRY(save->listener_, os::listen_unix(socket_path));
  save->reader_ = std::jthread([raw = save.get()] { raw->read(raw->listener_.get()); });
  // Not before: what QEMU refuses may be because of a migration that is not ours to cancel.
  FR_CHECK(save->qmp_->execute("migrate", uri_of(socket_path)));
  save->has_begun_ = true;
  return save;
}

QemuSave::~QemuSave() {
  if (!has_begun_ || was_resumed_) return;
  // Ended before its time: QEMU gives the migration up, and the guest runs on.
  if (const auto cancelled = qmp_->execute("migrate_cancel"); !cancelled)
    log::warn("a checkpoint cannot be cancelled: {}", cancelled.error().message);
  if (reader_.joinable()) reader_.join();
  if (const auto resumed = resume(); !resumed)
    log::error("a guest stands still after a checkpoint: {}", resumed.error().message);
}

void QemuSave::read(int listener) {
  read_ = [&]() -> Status {
    FR_TRY(os::Fd socket, os::accept_connection(listener, kAcceptTimeout));
    os::SocketStream stream(std::move(socket));
    migrate::StreamReader reader({}, spool_);
    Buffer buffer(kReadBytes);
    while (true) {
      FR_TRY(const size_t count, stream.read_some(buffer));
      if (count == 0) break;
      FR_CHECK(reader.feed(ByteView(buffer).first(count)));
      section_ = reader.section();
    }
    return reader.finish();
  }();
}

Status QemuSave::wait_until_stopped() {
  const os::SystemClock clock;
  const Time begin = clock.now();
  bool is_stopped = false;
  while (true) {
    FR_TRY(const Progress progress, ask(*qmp_));
    if (progress.state == "completed") {
      if (!is_stopped) {
        stopped_at_ = clock.now();
        qemu_downtime_us_ = progress.downtime_ms * 1000;
      }
      return {};
    }
    if (has_failed(progress))
      return fail(ErrorCode::kUnavailable,
                  fmt::format("QEMU gave the checkpoint up: {}",
                              progress.error.empty() ? progress.state : progress.error));
    if (!is_stopped && (progress.rounds >= kRoundsMax || clock.now() - begin > kLiveMax)) {
      stopped_at_ = clock.now();
      is_stopped = true;
      FR_CHECK(qmp_->execute("stop"));
    }
    std::this_thread::sleep_for(kPoll);
  }
}

Status QemuSave::finish() {
  const Status stopped = wait_until_stopped();
  if (reader_.joinable() && stopped) reader_.join();
  if (!stopped) return stopped;
  return read_;
}

Status QemuSave::resume() {
  FR_TRY(const std::string state, qmp_->run_state());
  if (state != "running") FR_CHECK(qmp_->resume());
  was_resumed_ = true;
  if (stopped_at_ != Time{}) {
    const Nanos ours = os::SystemClock().now() - stopped_at_;
    pause_us_ =
        qemu_downtime_us_ +
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(ours).count());
  }
  return {};
}

Status restore_qemu(const std::string& qmp_socket, const std::string& socket_path,
                    const std::function<Status(const std::function<Status(ByteView)>&)>& write_to) {
  FR_TRY(const auto qmp, vmm::QmpClient::connect(qmp_socket, kQmpTimeout));
  FR_CHECK(qmp->execute("migrate-incoming", uri_of(socket_path)));
  FR_TRY(os::Fd socket, os::connect_unix(socket_path));
  {
    os::SocketStream stream(std::move(socket));
    FR_CHECK(stream.set_timeout(kQmpTimeout));
    FR_CHECK(write_to([&](ByteView bytes) { return stream.write_bytes(bytes); }));
  }
  while (true) {
    FR_TRY(const Progress progress, ask(*qmp));
    if (progress.state == "completed") return qmp->resume();
    if (progress.state == "failed")
      return fail(ErrorCode::kCorrupt,
                  fmt::format("QEMU does not take the checkpoint: {}", progress.error));
    std::this_thread::sleep_for(kPoll);
  }
}

}  // namespace forerun::daemon
