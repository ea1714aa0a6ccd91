#include "place/grown_trace.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "core/rng.h"

namespace forerun::place {
namespace {

constexpr uint32_t kShift_s = 3600;
constexpr double kScale = 1.25;
constexpr double kPermilleMax = 1000;

template <typename T>
void rotate_by(std::vector<T>& values, size_t shift) {
  if (!values.empty())
    std::rotate(values.begin(), values.begin() + static_cast<ptrdiff_t>(shift % values.size()),
                values.end());
}

}  // namespace

trace::VmTrace grow(const trace::VmTrace& trace, size_t vms, uint64_t seed) {
  Rng rng(seed);
  trace::VmTrace grown{.interval_s = trace.interval_s, .vms = {}};
  grown.vms.reserve(vms);
  const size_t samples = trace.vms[0].cpu_permille.size();
  const size_t shift_max = kShift_s / trace.interval_s;
  for (size_t i = 0; i < vms; ++i) {
    trace::VmSeries vm = trace.vms[rng.below(trace.vms.size())];
    vm.name = fmt::format("{}-{}", i, vm.name);
    const size_t shift = samples + rng.between(0, 2 * shift_max) - std::min(samples, shift_max);
    const double scale = std::pow(kScale, 2 * rng.unit() - 1);
    rotate_by(vm.cpu_permille, shift);
    rotate_by(vm.memory_used_mb, shift);
    rotate_by(vm.network_kb_per_s, shift);
    for (uint16_t& permille : vm.cpu_permille)
      permille = static_cast<uint16_t>(std::min(kPermilleMax, std::round(permille * scale)));
    grown.vms.push_back(std::move(vm));
  }
  return grown;
}

}  // namespace forerun::place
