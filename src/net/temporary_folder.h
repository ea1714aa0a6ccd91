// tmp/ of a repository: in it a folder for each process that writes, under a lock while it lives.
// Whoever can take the lock of another's folder knows that its owner is gone, puts back what its
// journals hold, and removes it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/result.h"
#include "net/journal_file.h"
#include "os/file.h"

namespace forerun::net {

// One thread at a time.
class TemporaryFolder {
 public:
  // `root`: the repository's folder, open for longer than this; `name`: its path, for errors.
  TemporaryFolder(int root, std::string name) : root_(root), name_(std::move(name)) {}
  // Removes our folder with the journals in it if they are no longer needed; otherwise it is left
  // to whoever opens the repository next.
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  // Calls `restore` for each entry in the journals of processes that are gone, oldest first, then
  // `sync_all`, then removes what they left. Waits for another process that is at it. ERRORS:
  // what those return; kCorrupt, kTooLarge: a journal that is none, said with its path and the
  // byte; nothing is removed then.
  using Restore = std::function<Status(const JournalEntry&)>;
  Status recover(const Restore& restore, const std::function<Status()>& sync_all);

  // Returns our own folder, made at the first call.
  Result<int> open();
  // Makes the names of our folder and of those above it durable.
  Status make_durable() const;
  const std::string& leaf() const { return leaf_; }
  // What it holds is to outlive us.
  void keep() { is_kept_ = true; }

 private:
  struct Stale {
    std::string leaf;
    os::Fd folder;  // under our lock
  };

  std::string full(std::string_view path) const;
  Result<std::vector<Stale>> lock_stale() const;
  // Reads the journals in the folder.
  Status read_journals(const Stale& stale, std::vector<Buffer>& files,
                       std::vector<ParsedJournal>& journals) const;
  Result<os::Fd> make();

  const int root_;
  const std::string name_;
  os::Fd parent_;  // tmp/
  os::Fd own_;     // tmp/<random>/, locked
  std::string leaf_;
  bool is_kept_ = false;
};

// Returns the names of the two journals a process has in its folder.
const std::string& journal_leaf(size_t number);

}  // namespace forerun::net
