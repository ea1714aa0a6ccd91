#include "daemon/prefetch_words.h"

namespace forerun::daemon {

api::PrefetchMode prefetch_mode(const vmm::VmRecord& record) {
  if (record.prefetch == "off") return api::PrefetchMode::kOff;
  return record.prefetch == "observe" ? api::PrefetchMode::kObserve : api::PrefetchMode::kOn;
}

std::string prefetch_word(api::PrefetchMode mode) {
  switch (mode) {
    case api::PrefetchMode::kOn:
      return "on";
    case api::PrefetchMode::kObserve:
      return "observe";
    case api::PrefetchMode::kOff:
      return "off";
  }
  return "on";
}

}  // namespace forerun::daemon
