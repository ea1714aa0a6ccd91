// What was put and is not durable yet, and how flush() makes it so: objects named by digests in one
// piece in a journal, while they reach the disk at leisure; a few others one by one; what is too
// much for either with everything that is unwritten in the file system.
#pragma once

#include <array>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "net/journal_file.h"

namespace forerun::net {

// Thread-safe.
class PutJournal {
 public:
  // What only the store can do, from any thread; it calls nothing of this object.
  struct Hooks {
    std::function<Result<JournalFile>(size_t number, uint64_t epoch)> make_file;
    // Makes durable all that is unwritten in the file system, whoever wrote it.
    std::function<Status()> sync_all;
    // The same of these objects, which may be gone again, and of the folders on their ways.
    std::function<Status(const std::set<std::string>&)> sync_each;
  };
  struct Options {
    uint64_t batch_bytes_max = 16 * kMiB;  // in memory, between two flushes
    size_t synced_each_max = 16;
    Nanos settle_after = 30s;  // by then the kernel has by itself written most of what there was
  };
  PutJournal(Hooks hooks, const Options& options) : hooks_(std::move(hooks)), options_(options) {}
  PutJournal(const PutJournal&) = delete;
  PutJournal& operator=(const PutJournal&) = delete;
  ~PutJournal() { stop(); }

  // Remembers an object that was put, `modified` by its file.
  void put(const std::string& path, Nanos modified, ByteView data);
  // Remembers a change that no journal can hold: a tag, a link, a tag's removal.
  void touch(const std::string& path);
  // Remembers an object that somebody else put, maybe, and that is relied upon from now on.
  void rely(const std::string& path);
  // Remembers that anything may be not durable, or that no journal may bring back what it holds.
  void touch_all();

  // Makes all that is remembered durable; so is then what another thread's flush was at.
  Status flush();
  // Makes durable what the journals hold, and empties them. A thread of this object does it by
  // itself: some time after a flush, or when one is half full.
  Status settle();
  // Ends the thread, and settles. Returns whether no journal is needed any more.
  bool stop();

 private:
  struct Work {
    std::vector<Buffer> entries;
    std::set<std::string> paths;  // of the entries
    std::set<std::string> touched;
    std::set<std::string> relied;
    bool is_all = false;
  };
  struct File {
    JournalFile file;
    std::set<std::string> paths;  // of what it holds
  };
  struct Held {  // by a file
    uint64_t epoch = 0;
    uint64_t bytes = 0;
    bool operator==(const Held&) const = default;
  };
  using Lock = std::unique_lock<std::mutex>;

  void count_each();
  void forget_each();
  void become_busy(Lock& lock);
  void become_idle(Lock& lock);
  Status make_durable(Work& work);
  bool append(const Work& work);
  std::array<Held, 2> held() const;
  Status clear_unchanged(const std::array<Held, 2>& since);
  void start_thread();
  void run();

  const Hooks hooks_;
  const Options options_;

  std::mutex mutex_;  // guards what follows up to thread_
  std::condition_variable changed_;
  Work unflushed_;
  uint64_t unflushed_bytes_ = 0;
  std::set<std::string> durable_;  // paths that were, up to a limit
  bool is_busy_ = false;           // somebody has the files
  bool is_stopping_ = false;
  uint64_t held_bytes_ = 0;  // by both files
  std::jthread thread_;

  // Of whoever is busy.
  std::array<std::optional<File>, 2> files_;
  size_t current_ = 0;
  uint64_t epoch_ = 0;
};

}  // namespace forerun::net
