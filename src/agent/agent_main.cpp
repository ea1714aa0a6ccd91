// forerun-agent: reports what this guest does to the host below it.
#include <sys/random.h>
#include <sys/resource.h>

#include <charconv>
#include <csignal>
#include <cstdio>

#include "agent/agent.h"
#include "agent/port.h"
#include "os/clock.h"
#include "telemetry/line_splitter.h"
#include "telemetry/profile_json.h"

using namespace forerun;

namespace {

constexpr std::string_view kUsage =
    "usage: forerun-agent [OPTIONS]\n"
    "Reports this guest's behaviour to its host, one line of JSON a period.\n\n"
    "  --port NAME|PATH  virtio-serial port (default org.forerun.agent.0)\n"
    "  --stdout          report to standard output, take control lines from standard input\n"
    "  --period-ms N     100 to 3600000 (default 1000); the host may change it\n"
    "  --cpu-budget N    percent of a core, 0.01 to 100 (default 0.5)\n"
    "  --count N         end after N profiles (default 0: never)\n"
    "  --root DIR        read DIR/proc and DIR/sys; watch no pages\n"
    "  --help, --version\n";

struct Arguments {
  agent::AgentOptions options;
  std::string port{agent::Port::kName};
  uint64_t count = 0;
};

bool number(const char* text, uint64_t min, uint64_t max, uint64_t& value) {
  const char* end = text + std::string_view(text).size();
  const auto parsed = std::from_chars(text, end, value);
  return parsed.ec == std::errc{} && parsed.ptr == end && value >= min && value <= max;
}

bool percent(const char* text, double& ratio) {
  const char* end = text + std::string_view(text).size();
  double value = 0;
  const auto parsed = std::from_chars(text, end, value);
  ratio = value / 100;
  return parsed.ec == std::errc{} && parsed.ptr == end && value >= 0.01 && value <= 100;
}

// Returns the arguments, or nothing: then `exit_code` is what to end with.
std::optional<Arguments> parse(int argc, char** argv, int& exit_code) {
  Arguments arguments;
  exit_code = 2;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--help" || option == "--version") {
      fmt::print("{}", option == "--help" ? kUsage : "forerun-agent " FORERUN_VERSION "\n");
      exit_code = 0;
      return std::nullopt;
    }
    if (option == "--stdout") {
      arguments.port.clear();
      continue;
    }
    const char* value = i + 1 < argc ? argv[++i] : nullptr;
    const bool is_right =
        value != nullptr &&
        ((option == "--port" && !(arguments.port = value).empty()) ||
         (option == "--root" && !(arguments.options.root = value).empty()) ||
         (option == "--period-ms" && number(value, telemetry::kPeriodMsMin, telemetry::kPeriodMsMax,
                                            arguments.options.period_ms)) ||
         (option == "--cpu-budget" && percent(value, arguments.options.cpu_budget_ratio)) ||
         (option == "--count" && number(value, 0, UINT64_MAX, arguments.count)));
    if (is_right) continue;
    fmt::print(stderr, "forerun-agent: cannot take '{}'{}\n{}", option,
               value == nullptr ? "" : fmt::format(" with '{}'", value), kUsage);
    return std::nullopt;
  }
  return arguments;
}

Nanos cpu_used() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

std::string random_instance() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return "0";
  std::string text;
  for (const unsigned char byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

void run(const Arguments& arguments) {
  const bool is_recorded = !arguments.options.root.empty();
  agent::PageSources sources;
  sources.why_not = "recorded files have no pages";
  if (!is_recorded) sources = agent::probe_page_sources();
  agent::Agent agent(arguments.options, random_instance(), std::move(sources));
  agent::Port port(arguments.port);
  telemetry::LineSplitter splitter(telemetry::kControlBytesMax);
  const os::SystemClock clock;
  uint64_t sent = 0;
  while (!port.is_over()) {
    const Time begun = clock.now();
    if (const auto profile = agent.tick(begun, cpu_used())) {
      if (!port.send(telemetry::write_profile(*profile))) agent.note_unsent();
      if (++sent == arguments.count) return;
    }
    while (clock.now() < begun + agent.period()) {
      splitter.feed(port.wait(begun + agent.period() - clock.now()), [&](std::string_view line) {
        if (const auto obeyed = agent.obey(line); !obeyed)
          fmt::print(stderr, "forerun-agent: {}\n", obeyed.error().message);
      });
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  int exit_code = 0;
  const auto arguments = parse(argc, argv, exit_code);
  if (!arguments) return exit_code;
  run(*arguments);
  return 0;
}
