// A folder whose files lose what was not flushed when its power is cut: volatile_fs, mounted.
#pragma once

#include <sys/types.h>

#include <string>

namespace forerun {

// Mounted while this lives.
class VolatileMount {
 public:
  // `program`: volatile_fs.
  explicit VolatileMount(const std::string& program);
  ~VolatileMount();
  VolatileMount(const VolatileMount&) = delete;
  VolatileMount& operator=(const VolatileMount&) = delete;

  bool is_mounted() const { return is_mounted_; }
  // Returns why it is not.
  const std::string& problem() const { return problem_; }
  std::string path() const { return root_ + "/mount"; }
  // `how`: "drop" all that is not flushed, or keep a random part of it, "subset SEED".
  bool cut_power(const std::string& how) const;

 private:
  void unmount() const;
  dev_t device() const;

  std::string root_;
  std::string problem_;
  pid_t pid_ = -1;
  bool is_mounted_ = false;
};

}  // namespace forerun
