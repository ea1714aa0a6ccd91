// What QEMU is told of a migration, and what it says of it. SOURCE: QEMU 7.2, qapi/migration.json.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "vmm/qemu_command.h"
#include "vmm/qmp.h"

namespace forerun::vmm {

struct MigrationStatus {
  // "none", "setup", "active", "pre-switchover", "device", "postcopy-active", "postcopy-paused",
  // "postcopy-recover", "completed", "failed", "cancelling", "cancelled".
  std::string state = "none";
  std::string error;  // QEMU's words, if it failed
  // The rest is of memory, and known to the source alone but for the last.
  uint64_t total_bytes = 0, remaining_bytes = 0, transferred_bytes = 0;
  uint64_t rounds = 0;  // of pre-copy, begun
  double dirty_bytes_per_s = 0;
  double rate_bytes_per_s = 0;
  uint64_t page_requests = 0;  // in post-copy
  uint64_t downtime_ms = 0;    // once it is over; before: as QEMU expects it
  uint64_t blocktime_ms = 0;   // of the target: vCPUs waited so long for pages; once it is over

  bool is_over() const { return state == "completed" || has_failed(); }
  bool has_failed() const { return state == "failed" || state == "cancelled"; }
};
// ERRORS: kCorrupt: not what query-migrate answers.
Result<MigrationStatus> parse_migration_status(std::string_view answer);

// Of the guest's memory, as a migration names it.
struct MemoryBlock {
  std::string name;
  uint64_t used_bytes = 0;
  bool operator==(const MemoryBlock&) const = default;
};
// Reads what QEMU's monitor says of them ("info ramblock"). ERRORS: kCorrupt: it is something else.
Result<std::vector<MemoryBlock>> parse_memory_blocks(std::string_view text);

struct MigrationParameters {
  uint64_t rate_bytes_per_s_max = 0;  // 0: none
  uint64_t downtime_ms_max = 300;     // REQUIRES: at least 1; QEMU ends at once with 0
};

// One thread. Holds QEMU's control socket, which serves one at a time.
class MigrationControl {
 public:
  explicit MigrationControl(std::unique_ptr<QmpClient> qmp) : qmp_(std::move(qmp)) {}
  // `may_wait`: a QEMU that waits for memory from elsewhere answers when that has come, or never.
  static Result<std::unique_ptr<MigrationControl>> connect(const std::string& qmp_socket,
                                                           QmpClient::MayWait may_wait = {});

  Result<std::string> version();  // "7.2.22"
  Result<std::string> machine();  // "pc-i440fx-7.2-machine"
  // Turns these on and the others that it knows of off. ERRORS: kInvalid: QEMU refuses.
  Status set_capabilities(const std::vector<std::string>& on);
  Status set_parameters(const MigrationParameters& parameters);
  Status listen(const std::string& socket_path);  // of an incoming one
  // Returns at once. `resumes`: one that is "postcopy-paused".
  Status start(const std::string& socket_path, bool resumes = false);
  Status start_postcopy();
  Status leave_pre_switchover();
  Status cancel();
  // After cancel(), again and again: as status(). QEMU (7.2, qmp_migrate_continue,
  // migration_maybe_pause) that is cancelled in the moment in which it would pause before the
  // switch notes the one, waits for the word to go on of the other, and its guest stands still:
  // it is given that word.
  Result<MigrationStatus> status_of_cancelled();
  // QEMU listens on the forwarded ports no more. ERRORS: QMP's; a port that it did not listen on is
  // none.
  Status remove_forwards(const std::vector<Forward>& forwards);
  Result<MigrationStatus> status();

  // Waits until QEMU has told an event that was not taken, or so long.
  Status wait(Nanos timeout);
  // Returns what it told since, in order; waits for nothing. With the capability "events" on, a
  // "MIGRATION" tells each state the moment it begins.
  Result<std::vector<QmpEvent>> take_events() { return qmp_->take_events(); }

  Result<std::string> run_state() { return qmp_->run_state(); }
  Status resume() { return qmp_->resume(); }
  // Lets the guest go on, if it stands still, after a migration that left it here. For a moment
  // QEMU refuses ("Migration is not finalized yet"): it is asked again while `may_wait` says so.
  Status run_on(const std::function<bool()>& may_wait);
  Result<std::vector<MemoryBlock>> memory_blocks();
  Status quit() { return qmp_->quit(); }

 private:
  std::unique_ptr<QmpClient> qmp_;
};

}  // namespace forerun::vmm
