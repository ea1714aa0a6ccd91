#include "vmm/migration_control.h"

#include <boost/json.hpp>
#include <charconv>
#include <sstream>

namespace forerun::vmm {
namespace {

namespace json = boost::json;

constexpr Nanos kQmpTimeout = std::chrono::minutes(2);  // the big lock may be held for long
// Those that are told of; what else QEMU has stays off, as it is at its start.
constexpr std::string_view kCapabilities[] = {
    "events",       "pause-before-switchover", "return-path",
    "postcopy-ram", "postcopy-blocktime",      "postcopy-preempt",
    "auto-converge"};

template <typename T>
T number_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (!value) return T{};
  json::error_code error;
  const T number = value->to_number<T>(error);
  return error ? T{} : number;
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value && value->is_string() ? std::string(value->as_string()) : std::string();
}

Result<json::object> parse_answer(std::string_view text, std::string_view command) {
  json::error_code error;
  json::value value = json::parse(text, error);
  if (error || !value.is_object())
    return fail(ErrorCode::kCorrupt, fmt::format("QEMU's {} is no object", command));
  return std::move(value.as_object());
}

std::string uri_of(const std::string& socket_path) {
  return json::serialize(json::value{{"uri", "unix:" + socket_path}});
}

}  // namespace

Result<MigrationStatus> parse_migration_status(std::string_view answer) {
  FR_TRY(const json::object object, parse_answer(answer, "query-migrate"));
  MigrationStatus status;
  if (std::string state = text_of(object, "status"); !state.empty())
    status.state = std::move(state);
  status.error = text_of(object, "error-desc");
  status.downtime_ms =
      number_of<uint64_t>(object, object.contains("downtime") ? "downtime" : "expected-downtime");
  status.blocktime_ms = number_of<uint64_t>(object, "postcopy-blocktime");
  const json::value* ram = object.if_contains("ram");
  if (!ram || !ram->is_object()) return status;
  const json::object& memory = ram->as_object();
  status.total_bytes = number_of<uint64_t>(memory, "total");
  status.remaining_bytes = number_of<uint64_t>(memory, "remaining");
  status.transferred_bytes = number_of<uint64_t>(memory, "transferred");
  status.rounds = number_of<uint64_t>(memory, "dirty-sync-count");
  status.page_requests = number_of<uint64_t>(memory, "postcopy-requests");
  status.dirty_bytes_per_s =
      number_of<double>(memory, "dirty-pages-rate") * number_of<double>(memory, "page-size");
  status.rate_bytes_per_s = number_of<double>(memory, "mbps") * 1e6 / 8;
  return status;
}

// A head, then a line each: name, page size and its unit, offset, used, most.
Result<std::vector<MemoryBlock>> parse_memory_blocks(std::string_view text) {
  std::vector<MemoryBlock> blocks;
  std::istringstream lines{std::string(text)};
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    if (line.find_first_not_of(" \r") == std::string::npos) continue;
    std::istringstream fields(line);
    MemoryBlock block;
    std::string page, unit, offset, used;
    fields >> block.name >> page >> unit >> offset >> used;
    const auto digits = std::string_view(used).substr(std::min<size_t>(used.size(), 2));
    const auto read =
        std::from_chars(digits.data(), digits.data() + digits.size(), block.used_bytes, 16);
    if (!fields || !used.starts_with("0x") || read.ec != std::errc{} ||
        read.ptr != digits.data() + digits.size())
      return fail(ErrorCode::kCorrupt, fmt::format("QEMU says of its memory: {}", line));
    blocks.push_back(std::move(block));
  }
  if (blocks.empty()) return fail(ErrorCode::kCorrupt, "QEMU names no memory");
  return blocks;
}

Result<std::unique_ptr<MigrationControl>> MigrationControl::connect(const std::string& qmp_socket,
                                                                    QmpClient::MayWait may_wait) {
  FR_TRY(auto qmp, QmpClient::connect(qmp_socket, kQmpTimeout, std::move(may_wait)));
  return std::unique_ptr<MigrationControl>(new MigrationControl(std::move(qmp)));
}

Result<std::string> MigrationControl::version() {
  FR_TRY(const std::string answer, qmp_->execute("query-version"));
  FR_TRY(const json::object object, parse_answer(answer, "query-version"));
  const json::value* qemu = object.if_contains("qemu");
  if (!qemu || !qemu->is_object())
    return fail(ErrorCode::kCorrupt, "QEMU's query-version names no version");
  const json::object& parts = qemu->as_object();
  return fmt::format("{}.{}.{}", number_of<int>(parts, "major"), number_of<int>(parts, "minor"),
                     number_of<int>(parts, "micro"));
}

Result<std::string> MigrationControl::machine() {
  FR_TRY(const std::string answer,
         qmp_->execute("qom-get", R"({"path":"/machine","property":"type"})"));
  json::error_code error;
  const json::value value = json::parse(answer, error);
  if (error || !value.is_string())
    return fail(ErrorCode::kCorrupt, "QEMU does not name its machine");
  return std::string(value.as_string());
}

Status MigrationControl::set_capabilities(const std::vector<std::string>& on) {
  json::array list;
  for (const std::string_view name : kCapabilities)
    list.push_back(json::object{{"capability", name},
                                {"state", std::find(on.begin(), on.end(), name) != on.end()}});
  FR_CHECK(qmp_->execute("migrate-set-capabilities",
                         json::serialize(json::value{{"capabilities", std::move(list)}})));
  return {};
}

Status MigrationControl::set_parameters(const MigrationParameters& parameters) {
  // 0 would mean "none" for the rate as well; QEMU's own default is 128 MiB/s.
  FR_CHECK(
      qmp_->execute("migrate-set-parameters",
                    json::serialize(json::value{{"max-bandwidth", parameters.rate_bytes_per_s_max},
                                                {"max-postcopy-bandwidth", 0},
                                                {"downtime-limit", parameters.downtime_ms_max}})));
  return {};
}

Status MigrationControl::listen(const std::string& socket_path) {
  FR_CHECK(qmp_->execute("migrate-incoming", uri_of(socket_path)));
  return {};
}

Status MigrationControl::start(const std::string& socket_path, bool resumes) {
  FR_CHECK(qmp_->execute("migrate", json::serialize(json::value{{"uri", "unix:" + socket_path},
                                                                {"resume", resumes}})));
  return {};
}

Status MigrationControl::start_postcopy() {
  FR_CHECK(qmp_->execute("migrate-start-postcopy"));
  return {};
}

Status MigrationControl::leave_pre_switchover() {
  FR_CHECK(qmp_->execute("migrate-continue", R"({"state":"pre-switchover"})"));
  return {};
}

Status MigrationControl::wait(Nanos timeout) {
  FR_CHECK(qmp_->wait_for_event(timeout));
  return {};
}

Result<MigrationStatus> MigrationControl::status_of_cancelled() {
  FR_TRY(auto now, status());
  if (now.state != "cancelling") return now;
  const auto told = qmp_->execute("migrate-continue", R"({"state":"cancelling"})");
  // Refused: it is over meanwhile.
  if (!told && told.error().code != ErrorCode::kInvalid) return std::unexpected(told.error());
  return now;
}

Status MigrationControl::cancel() {
  FR_CHECK(qmp_->execute("migrate_cancel"));
  return {};
}

Status MigrationControl::remove_forwards(const std::vector<Forward>& forwards) {
  // QMP has no command for it.
  for (const Forward& forward : forwards)
    FR_CHECK(qmp_->execute(
        "human-monitor-command",
        json::serialize(
            json::value{{"command-line", fmt::format("hostfwd_remove net0 tcp:{}:{}",
                                                     forward.host_address, forward.host_port)}})));
  return {};
}

Result<std::vector<MemoryBlock>> MigrationControl::memory_blocks() {
  FR_TRY(const std::string answer,
         qmp_->execute("human-monitor-command", R"({"command-line":"info ramblock"})"));
  json::error_code error;
  const json::value value = json::parse(answer, error);
  if (error || !value.is_string())
    return fail(ErrorCode::kCorrupt, "QEMU does not name its memory");
  return parse_memory_blocks(value.as_string());
}

Status MigrationControl::run_on(const std::function<bool()>& may_wait) {
  for (;;) {
    FR_TRY(const std::string state, run_state());
    if (state == "running") return {};
    Status resumed = resume();
    if (resumed || resumed.error().code != ErrorCode::kInvalid || !may_wait()) return resumed;
  }
}

Result<MigrationStatus> MigrationControl::status() {
  FR_TRY(const std::string answer, qmp_->execute("query-migrate"));
  return parse_migration_status(answer);
}

}  // namespace forerun::vmm
