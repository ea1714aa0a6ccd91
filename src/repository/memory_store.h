// A Store in memory, with faults on demand: for tests and simulations.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "repository/source.h"

namespace forerun::repository {

// Thread-safe. Remembers the order of puts and flushes, and what a crash would leave.
class MemoryStore final : public Store {
 public:
  Result<Buffer> fetch(const std::string& path, size_t size_max) override;
  Result<std::vector<std::string>> list_images() override;
  std::string_view name() const override { return "memory"; }
  bool contains(const std::string& path) override;
  Status put(const std::string& path, ByteView data) override;
  Status flush() override;
  Result<StoreTime> now() override;
  Status list(const std::string& folder, const Visit& visit) override;
  Status renew(const std::string& path) override;
  Result<bool> remove(const std::string& path, StoreTime newest) override;

  // Sets the store's clock forward.
  void advance(Nanos span);
  // Drops everything that was put since the last flush.
  void crash();
  // Every put fails from now on, after `count` more.
  void fail_puts_after(size_t count);
  // Replaces an object's bytes behind everyone's back.
  void spoil(const std::string& path, Buffer bytes);
  // Returns the paths put since the beginning, in order; "flush" stands for a flush.
  std::vector<std::string> history() const;
  std::map<std::string, Buffer> objects() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Buffer> objects_;  // guarded by mutex_, as all below
  std::map<std::string, Buffer> durable_;
  std::map<std::string, StoreTime> renewed_;
  StoreTime now_{};
  std::vector<std::string> history_;
  size_t puts_left_ = SIZE_MAX;
};

}  // namespace forerun::repository
