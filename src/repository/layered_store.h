// A store in front of other sources: what is put goes into the store, what is asked for comes from
// the first that has it. For composing on a host whose components are in a far repository.
#pragma once

#include <string>
#include <vector>

#include "repository/source.h"

namespace forerun::repository {

// Thread-safe.
class LayeredStore final : public Store {
 public:
  // All outlive this object; `behind` may name `front` again. `keep`: where component indexes from
  // behind are kept, as they never change and are large; null: nowhere.
  LayeredStore(Store& front, std::vector<Source*> behind, Store* keep = nullptr);

  // ERRORS: kNotFound only if all said so; otherwise what the first that failed said.
  Result<Buffer> fetch(const std::string& path, size_t size_max) override;
  Result<std::vector<std::string>> list_images() override { return front_.list_images(); }
  std::string_view name() const override { return front_.name(); }
  // Whether the store itself has it, or it is kept.
  bool contains(const std::string& path) override;
  Status put(const std::string& path, ByteView data) override { return front_.put(path, data); }
  Status flush() override { return front_.flush(); }
  Result<StoreTime> now() override { return front_.now(); }
  Status list(const std::string& folder, const Visit& visit) override {
    return front_.list(folder, visit);
  }
  Status renew(const std::string& path) override { return front_.renew(path); }
  Result<bool> remove(const std::string& path, StoreTime newest) override {
    return front_.remove(path, newest);
  }

 private:
  bool is_kept(const std::string& path) const;

  Store& front_;
  const std::vector<Source*> behind_;
  Store* const keep_;
};

}  // namespace forerun::repository
