// The loop at the scale of micro- and milliseconds: observed accesses go to each VM's arbiter, its
// proposals to the prefetcher, the prefetcher's commands to the fetch service, and outcomes back.
// One thread of its own; a guest's request never waits for it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/time.h"
#include "daemon/boot_end.h"
#include "daemon/fetch_service.h"
#include "daemon/session_models.h"
#include "predict/saved_models.h"
#include "prefetch/prefetcher.h"
#include "trace/access_ring.h"

namespace forerun::daemon {

// Thread-safe.
class Foresight {
 public:
  // Something was learned of a component by a VM of a tenant: its history may be saved. Called
  // without any lock held.
  using OnLearned = std::function<void(ComponentId component, const std::string& tenant)>;

  struct Options {
    prefetch::PrefetcherOptions prefetcher;
    predict::Arbiter::Options boot;  // of the arbiter while a guest boots …
    predict::Arbiter::Options work;  // … and once it is at work
    BootEnd::Options boot_end;
    size_t ring_accesses = 4096;
    // At most this many accesses are looked at per round of kRound; a storm of hits in memory is
    // sampled, not followed.
    size_t accesses_per_round_max = 128;
    Nanos learning_window = 120s;      // after power-on: what comes later is no part of a boot …
    Nanos learning_window_max = 600s;  // … unless what was foreseen of it is still read then
  };
  static constexpr Nanos kRound = 2ms;

  Foresight(Options options, const Clock& clock, prefetch::Prefetcher::Resolve resolve,
            prefetch::Prefetcher::IsHere is_here, SessionModels models, OnLearned on_learned);
  ~Foresight();
  // See Prefetcher::on_need. Called once, before start().
  void on_need(prefetch::Prefetcher::Need need) { prefetcher_.on_need(std::move(need)); }
  // Somebody else wants to know what is read, too: called by this object's thread without any lock
  // held, with what it had time to look at. REQUIRES: set before start().
  void also_tell(std::function<void(const trace::Access&)> on_access) {
    on_access_ = std::move(on_access);
  }
  // Begins to act. REQUIRES: called once; `fetches` outlives this object's thread (see stop()).
  void start(FetchService& fetches);
  void stop();

  enum class Mode : uint8_t { kOn, kObserve };
  // A VM begins: at power-on (`is_boot`), when the models may say what it will want, or found
  // running: then it is at work.
  void start_vm(VmId vm, std::vector<ComponentId> components, const predict::Priors& priors,
                Mode mode, bool is_boot, const std::string& tenant = {});
  // The same, at power-on, for one whose priors are still being made: what it reads is kept until
  // give_priors(), up to a bound, and then shown to the models.
  void start_vm_without_priors(VmId vm, std::vector<ComponentId> components, Mode mode,
                               const std::string& tenant = {});
  void give_priors(VmId vm, const predict::Priors& priors);
  // It ended: models learn from its session. Its figures stay readable.
  void end_vm(VmId vm);

  // The VM's guest behaves so, as predict::Model::on_behaviour has it: its own models hear of it,
  // and no other VM's. A VM without a session is passed over.
  void tell_behaviour(VmId vm, std::span<const float> inputs, size_t category);

  // Shows the models of a VM that is at work, if it is, to a function that must be quick: no
  // access is looked at meanwhile.
  void show_models(VmId vm, const std::function<void(predict::ModelSpan)>& look) const;

  // Never blocks: an access that finds the ring full is dropped and counted.
  void observe(const trace::Access& access) noexcept;
  // From the fetch service and the tier; cheap.
  void on_fetch_end(const prefetch::FetchEnd& end);
  void on_evicted_unused(const ChunkId& id);
  void set_link_rate(double rate_bytes_per_s);

  enum class Phase : uint8_t { kBoot, kWork };
  struct ModelReading {
    Phase phase = Phase::kBoot;  // that it is, or was, asked in
    predict::ModelReport report;
    std::optional<score::ModelTally> tally;  // none for a phase's sum, "proposed"
  };
  struct Reading {
    prefetch::PrefetchStats prefetch;
    Time at{};
    Phase phase = Phase::kBoot;
    Nanos in_phase{};
    std::vector<ModelReading> models;  // a phase's together, its sum last
  };
  Reading read(VmId vm) const;
  uint64_t observations_dropped() const { return ring_.dropped(); }

 private:
  // An arbiter, and where its models stand in the VM's ledger.
  struct Voice {
    std::unique_ptr<predict::Arbiter> arbiter;  // null: did not begin, or ended
    uint8_t first_model = 0;
    std::vector<predict::ModelReport> last_report;  // of one that ended
    std::vector<predict::ModelReport> report() const {
      return arbiter ? arbiter->report() : last_report;
    }
    std::unique_ptr<predict::Arbiter> end() {
      last_report = report();
      return std::move(arbiter);
    }
  };
  struct Session {
    Mode mode = Mode::kOn;
    std::vector<ComponentId> components;
    std::string tenant;  // empty: of its own
    Time started{};
    bool has_learned = false;
    bool has_ended = false;
    bool awaits_priors = false;
    std::vector<trace::Access> held;  // meanwhile
    Phase phase = Phase::kBoot;
    Time phase_began{};
    Voice boot;  // speaks while the guest boots, listens until the learning window closes
    Voice work;
    BootEnd boot_end;
  };
  struct Event {
    ChunkId chunk;
    enum class Kind : uint8_t { kArrived, kFailed, kEvicted } kind;
  };

  void run();
  // Returns how many accesses it looked at: the first ones of accesses_.
  size_t round(std::vector<prefetch::PrefetchCommand>& commands);
  void act(const std::vector<prefetch::PrefetchCommand>& commands);
  void close_learning_windows();
  bool is_booting(const Session& session, Time now) const;
  // Erases the sessions that ended long ago. REQUIRES: mutex_ is held.
  void forget_ended();
  // Gives a session its models. REQUIRES: mutex_ is held.
  void begin(VmId vm, Session& session, const predict::Priors& priors, bool is_boot);
  // Gives it those of a guest at work. Does nothing if there are none. REQUIRES: likewise.
  void begin_work(VmId vm, Session& session, Time now);
  void show(VmId vm, Session& session, const trace::Access& access, Time now);
  void offer(VmId vm, const Session& session, const Voice& voice);
  void give(VmId vm, Voice& voice, const predict::Arbiter::Options& options,
            SessionModels::Models models);
  void wake() noexcept;

  const Options options_;
  const Clock& clock_;
  const SessionModels models_;
  OnLearned on_learned_;
  std::function<void(const trace::Access&)> on_access_;
  FetchService* fetches_ = nullptr;
  trace::AccessRing ring_;

  mutable std::mutex mutex_;  // guards prefetcher_, sessions_ and the scratch vectors
  prefetch::Prefetcher prefetcher_;
  std::map<VmId, Session> sessions_;
  std::vector<predict::Proposal> proposals_;
  std::vector<trace::Access> accesses_;

  std::mutex inbox_mutex_;  // guards inbox_
  std::vector<Event> inbox_;

  std::mutex sleep_mutex_;  // guards is_stopping_
  std::condition_variable wake_up_;
  std::atomic<bool> is_wake_wanted_{false};
  bool is_stopping_ = false;
  std::jthread thread_;
};

}  // namespace forerun::daemon
