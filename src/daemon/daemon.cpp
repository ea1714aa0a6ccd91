// Over 500 lines: every part is built here, in the order in which they need each other.
#include "daemon/daemon.h"

#include <charconv>
#include <functional>

#include "api/router.h"
#include "core/log.h"
#include "daemon/cluster_service.h"
#include "daemon/disk_gate.h"
#include "daemon/exports.h"
#include "daemon/kernels.h"
#include "daemon/migrations.h"
#include "daemon/peers.h"
#include "daemon/plans.h"
#include "daemon/repositories.h"
#include "daemon/rnn_training.h"
#include "daemon/service.h"
#include "daemon/trust.h"
#include "net/directory_store.h"
#include "net/http_server.h"
#include "net/tls.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/walk.h"
#include "predict/at_work.h"
#include "predict/registry.h"
#include "predict/rnn_pretrain.h"
#include "repository/layered_store.h"

namespace forerun::daemon {

namespace {

// Counts the starts of the daemon on this state folder: the number fences overlays against an
// earlier daemon that still runs somewhere.
Result<uint64_t> next_epoch(const std::string& state_dir) {
  const std::string path = state_dir + "/epoch";
  uint64_t epoch = 0;
  if (os::path_exists(path)) {
    FR_TRY(const auto text, os::read_file(path, 64));
    const std::string_view digits = as_text(text);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), epoch);
    if (parsed.ec != std::errc())
      return fail(ErrorCode::kCorrupt, fmt::format("{} holds no number: '{}'", path, digits));
  }
  ++epoch;
  FR_CHECK(os::write_file_atomic(path, as_bytes(fmt::format("{}\n", epoch))));
  return epoch;
}

prefetch::FetchQueueOptions queue_options(const Config& config) {
  prefetch::FetchQueueOptions options;
  if (config.prefetch == PrefetchPolicy::kTraceReplayFifo)
    options.scheduler.discipline = iosched::Discipline::kFifo;
  return options;
}

Foresight::Options foresight_options(const Config& config) {
  Foresight::Options options;
  options.boot.probability_min = static_cast<float>(config.probability_min);
  options.work = predict::work_options();
  options.work.probability_min = static_cast<float>(config.probability_min_work);
  options.prefetcher.budget.initial_bytes = config.budget_bytes;
  options.prefetcher.budget.max_bytes =
      std::max(config.budget_bytes, options.prefetcher.budget.max_bytes);
  options.prefetcher.stagger.rate_bytes_per_s = config.rate_bytes_per_s_max;
  options.prefetcher.stagger.burst_bytes = 512.0 * 1024;
  if (config.prefetch == PrefetchPolicy::kTraceReplayFifo) {
    // The whole recorded trace, as fast as its depth allows, whatever it is worth.
    options.boot.probability_min = 0;
    options.prefetcher.budget.initial_bytes = options.prefetcher.budget.max_bytes = 1ull << 40;
    options.prefetcher.stagger_ratio = 0;
    options.prefetcher.handed_over_max = iosched::SchedulerOptions{}.fifo_depth;
  }
  return options;
}

MemoryKeeper::Options keeper_options(const Config& config) {
  MemoryKeeper::Options options;
  options.policy.bytes_min = config.tier_memory_bytes_min;
  options.policy.bytes_max = config.tier_memory_bytes;
  options.policy.low_ratio = config.tier_available_low_ratio;
  options.policy.high_ratio = config.tier_available_high_ratio;
  options.policy.stall_ratio = config.tier_stall_ratio;
  return options;
}

std::vector<std::string> boot_model_names(const Config& config) {
  if (config.prefetch == PrefetchPolicy::kTraceReplayFifo) return {"replay"};
  return config.models;
}

std::vector<std::string> work_model_names(const Config& config) {
  if (config.prefetch == PrefetchPolicy::kTraceReplayFifo) return {};
  return config.models_work;
}

// A misspelt model is the operator's to mend, at once.
Status check_models(const Config& config) {
  if (auto models = predict::make_models(boot_model_names(config), {}); !models)
    return std::unexpected(std::move(models.error()).within("prefetch.models"));
  if (auto models = predict::make_models(work_model_names(config), {}); !models)
    return std::unexpected(std::move(models.error()).within("prefetch.models_work"));
  return {};
}

// TLS as the NBD server takes it.
class NbdTls final : public nbd::TlsUpgrader {
 public:
  explicit NbdTls(std::unique_ptr<net::TlsServer> server) : server_(std::move(server)) {}
  Result<std::unique_ptr<os::ByteStream>> upgrade(os::ByteStream& plain, Nanos timeout) override {
    return server_->accept(plain, timeout);
  }
  bool required() const override { return true; }

 private:
  const std::unique_ptr<net::TlsServer> server_;
};

}  // namespace

// Destroyed in reverse of this order.
struct Daemon::Parts {
  explicit Parts(Config with) : config(std::move(with)) {}

  const Config config;
  os::SystemClock clock;
  DiskGate gate{{}, clock};
  os::Fd lock;
  Repositories repositories;
  std::unique_ptr<net::DirectoryStore> index_cache;
  std::unique_ptr<ImageCatalog> catalog;
  std::unique_ptr<Marks> marks;
  std::unique_ptr<Histories> histories;
  std::unique_ptr<RnnTraining> rnn;
  std::unique_ptr<VmHistories> vm_histories;
  std::unique_ptr<Foresight> foresight;
  std::unique_ptr<Launches> launches;
  std::unique_ptr<TierStore> tier;  // tells foresight of evictions to its own end
  std::unique_ptr<FetchService> fetches;
  std::unique_ptr<MemoryKeeper> memory;
  std::unique_ptr<Exports> exports;
  std::unique_ptr<NbdTls> tls;
  std::unique_ptr<nbd::NbdServer> nbd;
  std::unique_ptr<repository::LayeredStore> all_repositories;
  std::unique_ptr<repository::LayeredStore> plain_repositories;  // before plain_store
  std::unique_ptr<FirstBoots> first_boots;
  std::unique_ptr<Kernels> kernels;
  std::unique_ptr<VmComposer> composer;
  std::unique_ptr<PmemStore> pmem;
  std::unique_ptr<AgentPorts> agents;
  std::unique_ptr<Recorder> recorder;
  std::unique_ptr<VmManager> vms;
  std::unique_ptr<store::HistoryStore> history;
  std::unique_ptr<UsageWatch> usage;
  std::unique_ptr<UsageImporter> usage_import;
  std::unique_ptr<Peers> peers;
  std::unique_ptr<MigrationLedger> migration_ledger;
  std::unique_ptr<Migrations> migrations;
  std::unique_ptr<ClusterService> cluster;
  std::unique_ptr<PlanCluster> plan_cluster;
  std::unique_ptr<MoveCosts> move_costs;
  std::unique_ptr<Plans> plans;
  std::unique_ptr<DaemonService> service;
  std::unique_ptr<api::Router> router;
  std::unique_ptr<net::HttpServer> http;

  ~Parts();
  Status open_state();
  SessionModels session_models();
  Status build_data_plane();
  Status listen_nbd();
  void join_cluster();
  Status open_history();
  Status build_plans();
  Status build_control_plane(uint64_t epoch);
};

Daemon::Parts::~Parts() {
  if (usage_import) usage_import->ask_to_stop();  // a question may take a while to end
  if (http) http->stop();
  if (cluster) cluster->stop();  // another may lead at once
  if (plans) plans->ask_to_stop();
  if (migrations) migrations->stop();
  if (plans) plans->stop();
  // Connections are cut before waiting reads are ended: a guest whose connection broke sends its
  // requests again after the restart, one that was answered with an error would see it.
  if (nbd) nbd->shut_down_connections();
  if (fetches) fetches->stop();
  if (nbd) nbd->stop();
  if (first_boots) first_boots->stop();
  if (foresight) foresight->stop();
  if (vms) vm_histories->save_all();
  if (launches) launches->stop();
}

Status Daemon::Parts::open_state() {
  FR_CHECK(os::make_folders(config.state_dir));
  FR_CHECK(os::make_folders(config.run_dir, 0755));
  auto locked = os::lock_file(config.state_dir + "/lock");
  if (!locked)
    return std::unexpected(
        std::move(locked.error()).within("another forerund runs on this state folder"));
  lock = std::move(*locked);
  // Left by imports that a crash ended.
  if (const Status removed = os::remove_tree(config.state_dir + "/scratch"); !removed)
    log::warn("{}", removed.error().message);
  FR_TRY(const Trust trust, load_trust(config));
  FR_TRY(repositories, open_repositories(config, trust));
  FR_TRY(index_cache, net::DirectoryStore::open(config.state_dir + "/indexes",
                                                net::DirectoryStore::Mode::kReadWrite));
  tier::TierOptions options;
  options.memory_bytes_max = config.tier_memory_bytes;
  options.file_bytes_max = config.tier_file_bytes;
  FR_TRY(tier, TierStore::open(options, config.state_dir + "/tier", gate));
  return {};
}

// A name that is wrong was refused by check_models().
SessionModels Daemon::Parts::session_models() {
  SessionModels models;
  models.for_boot = [this, names = boot_model_names(config)](
                        const std::vector<ComponentId>& components, const predict::Priors& priors,
                        bool is_boot, const std::string& tenant) {
    predict::ModelNeeds needs;
    needs.components = components;
    if (is_boot) needs.history = histories->replay(tenant);
    needs.successors = histories->successors(tenant);
    if (is_boot) needs.priors = priors;
    for (const ComponentId component : components) histories->load(component, tenant);
    return std::move(*predict::make_models(names, needs));
  };
  const std::vector<std::string> at_work = work_model_names(config);
  if (at_work.empty()) return models;
  models.for_work = [this, names = at_work](VmId vm, const std::vector<ComponentId>& components,
                                            const std::string& tenant) {
    predict::ModelNeeds needs;
    needs.components = components;
    needs.successors = histories->successors(tenant);
    needs.rnn = rnn->make_trainer();
    for (const ComponentId component : components) histories->load(component, tenant);
    auto work = std::move(*predict::make_models(names, needs));
    vm_histories->restore(vm, work);
    return work;
  };
  models.on_work_end = [this](VmId vm, std::unique_ptr<predict::Arbiter> at_work_until_now) {
    vm_histories->save(vm, at_work_until_now->models());
  };
  return models;
}

Status Daemon::Parts::build_data_plane() {
  catalog = std::make_unique<ImageCatalog>(repositories.sources, *index_cache);
  FR_TRY(marks, Marks::open(config.state_dir + "/shareable"));
  histories = std::make_unique<Histories>(config.state_dir + "/history", *catalog, marks.get());
  FR_CHECK(check_models(config));
  vm_histories = std::make_unique<VmHistories>(
      VmHistories::Options{}, config.state_dir + "/history", clock, *catalog, *histories);
  vm_histories->visit_by(
      [this](VmId vm, const VmHistories::Look& look) { foresight->show_models(vm, look); });
  rnn = std::make_unique<RnnTraining>(RnnTraining::Options{}, clock, predict::pretrained_rnn());
  tier::Tier& cache = tier->tier();
  Foresight::Options foreseeing = foresight_options(config);
  foreseeing.boot.bytes_of =
      foreseeing.work.bytes_of = [this](ComponentId component, uint64_t block) {
        return catalog->resolve(component, block).stored_size;
      };
  foreseeing.work.is_here = [this, &cache](ComponentId component, uint64_t block) {
    const repository::ChunkRef chunk = catalog->resolve(component, block);
    return chunk.is_zero() || cache.where(chunk.id) != tier::Level::kNone;
  };
  foresight = std::make_unique<Foresight>(
      foreseeing, clock,
      [this](ComponentId component, uint64_t block) { return catalog->resolve(component, block); },
      [&cache](const ChunkId& id) { return cache.where(id) != tier::Level::kNone; },
      session_models(),
      [this](ComponentId component, const std::string& tenant) {
        histories->save(component, tenant);
      });
  launches = std::make_unique<Launches>(
      Launches::Parts{config, clock, *catalog, *histories, cache, os::unix_seconds});
  FetchService::Options options;
  options.threads_per_source = config.fetch_threads;
  options.queue = queue_options(config);
  options.local = repositories.local;
  fetches = std::make_unique<FetchService>(options, clock, cache, repositories.sources,
                                           [this](const prefetch::FetchEnd& end) {
                                             foresight->on_fetch_end(end);
                                             launches->on_fetch_end(end);
                                           });
  foresight->on_need([&cache](const ChunkId& id, float probability, Time until) {
    return cache.need(id, probability, until);
  });
  memory = std::make_unique<MemoryKeeper>(keeper_options(config), clock, cache,
                                          [this] { return fetches->read_link().link; });
  cache.on_evicted_unused([this](const ChunkId& id) {
    foresight->on_evicted_unused(id);
    launches->on_evicted_unused(id);
  });
  foresight->also_tell([this](const trace::Access& access) { launches->on_access(access); });
  memory->start();
  foresight->start(*fetches);
  launches->start(*fetches);
  exports = std::make_unique<Exports>(*catalog, clock, cache, *fetches, *foresight);
  nbd = std::make_unique<nbd::NbdServer>(nbd::NbdServerOptions{}, clock);
  return {};
}

Status Daemon::Parts::listen_nbd() {
  FR_CHECK(nbd->listen_unix(config.nbd_socket(), 0660, {exports.get(), nullptr}));
  if (config.nbd_listen.empty()) return {};
  if (!config.tls_dir.empty()) {
    net::TlsServerOptions options;
    options.folder = config.tls_dir;
    options.allowed_names = config.tls_allowed_names;
    FR_TRY(auto server, net::TlsServer::load(options));
    tls = std::make_unique<NbdTls>(std::move(server));
  }
  const size_t colon = config.nbd_listen.rfind(':');
  std::string address = config.nbd_listen.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']'))
    address = address.substr(1, address.size() - 2);
  uint16_t port = 0;
  const std::string digits = config.nbd_listen.substr(colon + 1);
  if (std::from_chars(digits.data(), digits.data() + digits.size(), port).ec != std::errc())
    return fail(ErrorCode::kInvalid, fmt::format("nbd.listen: '{}' is no port", digits));
  FR_TRY(const uint16_t listening, nbd->listen_tcp(address, port, {exports.get(), tls.get()}));
  log::info("NBD on {}:{}{}", address, listening, tls ? ", TLS required" : "");
  return {};
}

// A store of this host alone says nothing of other hosts, nor of who plans for them.
void Daemon::Parts::join_cluster() {
  if (config.cluster_store != "etcd") return;
  plan_cluster = std::make_unique<PlanCluster>(
      PlanCluster::Parts{.state = cluster->state(),
                         .lead =
                             [this] {
                               const cluster::Leadership led = cluster->leadership();
                               return PlanLead{led.is_leader, led.token, cluster->info().leader};
                             },
                         .admit =
                             [this](const std::string& host, uint64_t token, std::string_view act) {
                               return host.empty() ? cluster->admit(token, act)
                                                   : cluster->admit_from(host, token, act);
                             },
                         .answers = [this] { return cluster->answers(); }});
  cluster->tell({.on_hosts =
                     [this](const std::vector<cluster::HostEntry>& hosts) {
                       std::vector<HostConfig> others;
                       for (const cluster::HostEntry& entry : hosts)
                         if (entry.host.name != cluster->self() && !entry.host.address.empty())
                           others.push_back({entry.host.name, entry.host.address});
                       peers->learn(others);
                     },
                 .on_lead = [this] { plans->look(); },
                 .on_policy = [this] { plans->look(); }});
}

Status Daemon::Parts::build_plans() {
  const auto list_peers = [this] {
    std::vector<std::string> names;
    for (const HostConfig& host : peers->hosts()) names.push_back(host.name);
    return names;
  };
  join_cluster();
  move_costs = std::make_unique<MoveCosts>(*migration_ledger);
  Plans::Parts parts{.state_dir = config.state_dir,
                     .unix_seconds = os::unix_seconds,
                     .history = *history,
                     .list_vms = [this] { return vms->list(); },
                     .peers = list_peers,
                     .costs = *move_costs,
                     .cluster = plan_cluster.get()};
  parts.host = config.cluster_store == "etcd" ? cluster->self() : config.cluster_host;
  parts.zone = config.cluster_zone;
  for (const std::string& label : config.cluster_labels)
    parts.labels[label.substr(0, label.find('='))] = label.substr(label.find('=') + 1);
  parts.ask = [this](const std::string& host, const PeerMessage& question, PeerMessageKind answer,
                     Nanos timeout) -> Result<PeerMessage> {
    FR_TRY(const auto connection, peers->connect(host));
    FR_CHECK(send(*connection, question));
    // An order may take hours, the end of the daemon may not.
    const Time until = clock.now() + timeout;
    for (;;) {
      const auto text = connection->receive_message(std::chrono::seconds(1));
      if (text) return expect(*text, {answer});
      if (text.error().code != ErrorCode::kTimedOut || clock.now() >= until || plans->is_stopping())
        return std::unexpected(text.error());
    }
  };
  parts.migrate = [this](const std::string& vm, const api::MigrateRequest& request,
                         Operations::Progress& progress) {
    return migrations->move(vm, request, progress);
  };
  parts.measure = [this](const std::string& host) -> Result<LinkFigures> {
    FR_TRY(const auto connection, peers->connect(host));
    return measure_link(*connection, clock);
  };
  parts.foresee = std::bind_front(&VmManager::foresee_move, vms.get());
  parts.start = [this](Operations::Work work) {
    return service->operations().start("plan_apply", "plan", std::move(work));
  };
  FR_TRY(plans, Plans::open(std::move(parts)));
  migrations->answer_by([this](const std::string& host, const PeerMessage& question) {
    return plans->answer(host, question);
  });
  return {};
}

Status Daemon::Parts::open_history() {
  FR_TRY(history, store::HistoryStore::open({.path = config.state_dir + "/history.db",
                                             .bytes_max = config.history_bytes}));
  usage = std::make_unique<UsageWatch>("", clock, os::unix_seconds, *history,
                                       [this] { return vms->watched(); });
  usage->start();
  FR_TRY(usage_import, UsageImporter::create(config, *history, os::unix_seconds));
  usage_import->start();
  return {};
}

Status Daemon::Parts::build_control_plane(uint64_t epoch) {
  all_repositories = std::make_unique<repository::LayeredStore>(
      *repositories.store, repositories.sources, index_cache.get());
  plain_repositories = std::make_unique<repository::LayeredStore>(
      *repositories.plain_store, repositories.sources, index_cache.get());
  kernels = std::make_unique<Kernels>(config.state_dir + "/kernels", *all_repositories);
  first_boots = std::make_unique<FirstBoots>(*all_repositories, *catalog);
  composer = std::make_unique<VmComposer>(*all_repositories, *first_boots);
  pmem = std::make_unique<PmemStore>(config.state_dir + "/pmem", *catalog, *all_repositories);
  agents = std::make_unique<AgentPorts>(
      clock, [this](VmId vm, const telemetry::BehaviourVector& settled) {
        const auto category = static_cast<size_t>(telemetry::category_of(settled));
        foresight->tell_behaviour(vm, telemetry::model_inputs(settled), category);
      });
  recorder = std::make_unique<Recorder>(Recorder::Options{}, clock);
  vms = std::make_unique<VmManager>(VmManager::Parts{
      config, clock, *catalog, tier->tier(), *fetches, *foresight, *exports, *nbd, *kernels, *pmem,
      *launches, *first_boots, *agents, *recorder, *vm_histories, gate, epoch});
  // VMs are exported before anyone can connect, so that a QEMU that comes back finds its disk.
  FR_CHECK(vms->recover());
  FR_CHECK(listen_nbd());
  FR_CHECK(open_history());
  FR_TRY(peers, Peers::open(config));
  migration_ledger = MigrationLedger::open(config.state_dir + "/migrations.json");
  migrations =
      std::make_unique<Migrations>(MigrationParts{config, clock, *vms, *peers, *migration_ledger});
  FR_TRY(cluster, ClusterService::open(config, clock));
  FR_CHECK(build_plans());
  service = std::make_unique<DaemonService>(DaemonService::Parts{config,
                                                                 clock,
                                                                 repositories.sources,
                                                                 repositories.store,
                                                                 repositories.plain_store,
                                                                 *plain_repositories,
                                                                 repositories.store_trust,
                                                                 *catalog,
                                                                 *histories,
                                                                 *marks,
                                                                 tier->tier(),
                                                                 *fetches,
                                                                 *vms,
                                                                 *composer,
                                                                 *memory,
                                                                 *launches,
                                                                 *agents,
                                                                 *recorder,
                                                                 *vm_histories,
                                                                 *history,
                                                                 *usage,
                                                                 *usage_import,
                                                                 *migrations,
                                                                 *cluster});
  router = std::make_unique<api::Router>(*service, os::unix_seconds, plans.get());
  net::HttpServerOptions options;
  options.unix_path = config.api_socket();
  FR_CHECK(migrations->start());
  cluster->start();
  plans->start();
  FR_TRY(http, net::HttpServer::start(options, [this](const net::HttpRequest& request) {
           return router->handle(request);
         }));
  return {};
}

Result<std::unique_ptr<Daemon>> Daemon::start(Config config) {
  auto parts = std::make_unique<Parts>(std::move(config));
  FR_CHECK(parts->open_state());
  FR_TRY(const uint64_t epoch, next_epoch(parts->config.state_dir));
  FR_CHECK(parts->build_data_plane());
  FR_CHECK(parts->build_control_plane(epoch));
  log::info("serving: API {}, NBD {}, state {}", parts->config.api_socket(),
            parts->config.nbd_socket(), parts->config.state_dir);
  return std::unique_ptr<Daemon>(new Daemon(std::move(parts)));
}

Daemon::Daemon(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Daemon::~Daemon() = default;

}  // namespace forerun::daemon
