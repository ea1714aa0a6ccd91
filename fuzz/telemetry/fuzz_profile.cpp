// Fuzzes what a guest may send: the stream of lines, the profile's parser, the host's window; and
// what a host may send to an agent.
#include <fuzzer/FuzzedDataProvider.h>

#include <cmath>

#include "telemetry/control.h"
#include "telemetry/line_splitter.h"
#include "telemetry/profile_fields.h"
#include "telemetry/profile_window.h"

using namespace forerun;
using namespace forerun::telemetry;

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

// Visits a profile and traps on a value out of its range.
struct Checker {
  void whole(std::string_view, uint64_t value, uint64_t min, uint64_t max) {
    require(value >= min && value <= max);
  }
  void integer(std::string_view, int64_t value, uint64_t size_max) {
    require(value >= -static_cast<int64_t>(size_max) && value <= static_cast<int64_t>(size_max));
  }
  void real(std::string_view, double value, double min, double max) {
    require(std::isfinite(value) && value >= min && value <= max);
  }
  void text(std::string_view, const std::string& value, size_t size_max) {
    require(value.size() <= size_max);
    for (const char c : value) require(c >= 0x20 && c <= 0x7e);
  }
  template <typename T>
  void object(std::string_view, T& value) {
    describe(*this, value);
  }
  template <typename T>
  void optional(std::string_view, std::optional<T>& value) {
    if (value) describe(*this, *value);
  }
  template <typename T>
  void list(std::string_view, std::vector<T>& values, size_t count_max) {
    require(values.size() <= count_max);
    for (T& value : values) describe(*this, value);
  }
  template <typename T>
  void optional_list(std::string_view name, std::vector<T>& values, size_t count_max) {
    list(name, values, count_max);
  }
};

Profile sample(uint64_t sequence) {
  Profile profile;
  profile.instance = "i";
  profile.sequence = sequence;
  profile.monotonic_ns = sequence;
  profile.period_ms = 1000;
  profile.cpu = CpuProfile{2, 0.5, 0.25, {{17, "redis", 0.75, 4096}}, {{17, 18, "io_thd_1", 0.5}}};
  profile.memory.emplace();
  profile.working_set.emplace();
  profile.pattern = PatternProfile{17, "faults", 512, {}, {}};
  profile.disks.push_back({"vda", 10, 2, 40960, 8192, 250, 900, 0.125});
  profile.networks.push_back({"eth0", 100, 50, 1, 1, 0});
  profile.pressure.emplace();
  profile.missing.push_back({"pattern", "none"});
  return profile;
}

constexpr std::string_view kPieces[] = {"1e300", "-1",     "1e-400", "18446744073709551615",
                                        "null",  "[]",     "{}",     "\"",
                                        ",",     "[[[[[[", "\n",     "-0.5"};

std::string build_line(FuzzedDataProvider& input, uint64_t sequence) {
  if (input.ConsumeIntegralInRange<int>(0, 7) == 0)
    return input.ConsumeRandomLengthString(2 * kProfileBytesMax);
  std::string line = write_profile(sample(sequence));
  for (int i = input.ConsumeIntegralInRange<int>(0, 3); i > 0; --i) {
    // From a number or from anywhere.
    size_t at = input.ConsumeIntegralInRange<size_t>(0, line.size() - 1);
    size_t gone = input.ConsumeIntegralInRange<size_t>(0, 8);
    if (input.ConsumeBool()) {
      at = std::min(line.find(':', at), line.size() - 1) + 1;
      gone = std::min(line.find_first_of(",}", at), line.size()) - at;
    }
    line.replace(at, gone,
                 input.ConsumeBool() ? std::string(input.PickValueInArray(kPieces))
                                     : input.ConsumeRandomLengthString(32));
  }
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  const auto control =
      parse_control({reinterpret_cast<const char*>(data), std::min(size, kControlBytesMax + 1)});
  require(!control || parse_control(write_control(*control)) == *control);
  ProfileWindow window({.profiles_max = 4});
  LineSplitter splitter(kProfileBytesMax);
  Time now{};
  for (uint64_t sequence = 1; input.remaining_bytes() > 0 && sequence < 8; ++sequence) {
    now += Nanos(input.ConsumeIntegralInRange<int64_t>(0, 2'000'000'000));
    splitter.feed(build_line(input, sequence) + "\n", [&](std::string_view line) {
      auto parsed = parse_profile(line);
      require(parsed || !parsed.error().detail.empty());
      if (parsed) {
        Checker checker;
        describe(checker, *parsed);
        // What is written is read again; numbers are written with 6 digits.
        require(parse_profile(write_profile(*parsed)).has_value());
        const BehaviourVector vector = behaviour_of(*parsed);
        for (const float value : vector.values) require(value >= -1 && value <= 1);
      }
      const bool was_taken = window.take_line(line, now);
      require(!was_taken || parsed.has_value());
      require(window.size() <= 4);
      const BehaviourVector settled = window.settled();
      for (const float input : model_inputs(settled)) require(input >= -1 && input <= 1);
      require(category_of(settled) <= Category::kUnknown);
    });
  }
  return 0;
}
