// History from another keeper into ours: what a Prometheus knows of this host and its VMs.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/config.h"
#include "net/prometheus.h"
#include "store/history_store.h"
#include "telemetry/metric_query.h"

namespace forerun::daemon {

struct UsageImportJob {
  std::vector<telemetry::MetricQuery> queries;
  std::string instance;             // this host, as labels "instance" name it; empty: all series
  int64_t from_s = 0, until_s = 0;  // unix time
  // Asks for one query's series.
  std::function<Result<std::vector<telemetry::RemoteSeries>>(const telemetry::RemoteQuery&)> read;
  // Told after each window of time, how much is done of all; false: no more is wanted.
  std::function<bool(uint64_t done_s, uint64_t total_s)> go_on;
};
struct UsageImported {
  uint64_t points = 0;  // added, of all resolutions
  size_t series = 0;    // that had any
  size_t refused = 0;   // VMs whose label is no name of ours
  int64_t until_s = 0;  // what came before is here
};

// Reads window after window, and fills with it what the history has not itself, at 1 min, 5 min and
// 1 h as far back as those are kept. ERRORS: those of `read` and of the history; what was read
// before stays.
Result<UsageImported> import_usage(const UsageImportJob& job, store::HistoryStore& history);

// What was imported, in a sentence.
std::string words_of(const UsageImported& imported);

// Keeps the history filled from a Prometheus: from `past_s` ago at first, later from where it was.
// Thread-safe.
class UsageImporter {
 public:
  struct Options {
    net::PrometheusOptions source;  // without an URL nothing is read unasked
    std::string instance;
    std::vector<telemetry::MetricQuery> queries;  // empty: the usual ones
    std::string state_file;                       // remembers how far it came
    int64_t past_s = 35 * 86400;
  };
  static constexpr Nanos kRound = std::chrono::minutes(5);
  // `history` outlives this object. ERRORS: as net::Prometheus::create; kInvalid, kNotFound, kIo:
  // the file of the queries.
  static Result<std::unique_ptr<UsageImporter>> create(const Config& config,
                                                       store::HistoryStore& history,
                                                       std::function<int64_t()> unix_seconds);
  static Result<std::unique_ptr<UsageImporter>> create(Options options,
                                                       store::HistoryStore& history,
                                                       std::function<int64_t()> unix_seconds);
  ~UsageImporter();
  // Begins to do rounds on a thread of its own, if there is a source.
  void start();
  void ask_to_stop();

  // What people ask for: what is empty is as in the options. Returns the work. ERRORS: kInvalid:
  // there is no source, or its URL is none.
  struct Asked {
    std::string url, instance;
    std::vector<telemetry::MetricQuery> queries;
    int64_t past_s = 0;
  };
  using GoOn = std::function<bool(uint64_t done_s, uint64_t total_s)>;
  using Work = std::function<Result<UsageImported>(const GoOn&)>;  // errors: as import_usage
  Result<Work> prepare(const Asked& asked);

 private:
  UsageImporter(Options options, store::HistoryStore& history,
                std::function<int64_t()> unix_seconds, std::shared_ptr<net::Prometheus> source);
  void run();
  void round();
  bool is_stopping();

  const Options options_;
  store::HistoryStore& history_;
  const std::function<int64_t()> unix_seconds_;
  const std::shared_ptr<net::Prometheus> source_;  // none: there is no URL

  bool is_failing_ = false;  // the thread's own
  std::mutex mutex_;         // guards the below
  bool is_stopping_ = false;
  std::condition_variable stop_changed_;
  std::jthread thread_;
};

}  // namespace forerun::daemon
