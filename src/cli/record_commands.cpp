// forerun record: what a running VM asks of its disk, as a trace that `forerun replay block` reads.
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <charconv>
#include <csignal>
#include <memory>

#include "cli/commands.h"
#include "cli/end_signals.h"
#include "cli/fields.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "os/clock.h"
#include "os/file.h"
#include "trace/block_trace_writer.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;
using trace::BlockTraceWriter;

constexpr int kPollMs = 200;
constexpr int kExitIncomplete = 7;  // beside those of every command; docs/cli.md

struct Arguments {
  std::string vm, file, seconds, size_max = "4G";
};

struct Limits {
  Nanos length{};  // zero: until interrupted
  uint64_t text_bytes_max = 0;
};

// Where the trace goes: a file, or stdout. It is written as it comes, so that what was recorded is
// there whatever happens.
class TraceOutput {
 public:
  static Result<std::unique_ptr<TraceOutput>> open(const std::string& path) {
    auto output = std::unique_ptr<TraceOutput>(new TraceOutput);
    if (!path.empty()) {
      FR_TRY(output->file_, os::PosixFile::open(path, os::PosixFile::Mode::kCreate));
      FR_CHECK(output->file_->resize(0));
    }
    return output;
  }
  Status write(ByteView data) {
    if (file_) {
      FR_CHECK(file_->write(offset_, data));
      offset_ += data.size();
      return {};
    }
    while (!data.empty()) {
      const ssize_t count = ::write(STDOUT_FILENO, data.data(), data.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail_errno("write the trace to stdout", errno);
      data = data.subspan(static_cast<size_t>(count));
    }
    return {};
  }

 private:
  TraceOutput() = default;
  std::unique_ptr<os::PosixFile> file_;
  uint64_t offset_ = 0;
};

bool parse_whole(std::string_view& text, uint64_t& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<size_t>(stop - text.data()));
  if (text.starts_with(',')) text.remove_prefix(1);
  return true;
}

Result<trace::BlockRequest> parse_request(std::string_view line) {
  trace::BlockRequest request;
  uint64_t sectors = 0;
  std::string_view rest = line;
  bool good = parse_whole(rest, request.at_us) && rest.size() > 2 && rest[1] == ',';
  if (good) {
    request.op = rest[0] == 'W' ? trace::Op::kWrite : trace::Op::kRead;
    rest.remove_prefix(2);
    good = parse_whole(rest, request.first_sector) && parse_whole(rest, sectors) && rest.empty() &&
           sectors > 0 && sectors <= UINT32_MAX;
  }
  if (!good)
    return fail(ErrorCode::kCorrupt,
                fmt::format("the daemon's answer holds a wrong request: '{}'", printable(line)));
  request.sectors = static_cast<uint32_t>(sectors);
  return request;
}

struct Totals {
  uint64_t requests = 0, lost = 0;
  bool has_ended = false;
  std::string why;
};

// One VM's recording, as its client.
class Session {
 public:
  Session(const Context& context, std::string vm, BlockTraceWriter& writer)
      : context_(context), path_("/api/v1/vms/" + vm + "/recording"), writer_(writer) {}

  Status start() {
    FR_TRY(const std::string body, context_.post(path_, "{}"));
    FR_TRY(const json::object answer, parse_answer(body));
    id_ = text_of(answer, "id");
    return {};
  }

  // Writes what came since the last time; with `ends`, all that came, and the recording is over.
  Status collect(bool ends) {
    const std::string asked = json::serialize(json::value{{"id", id_}, {"end", ends}});
    for (bool more = true; more;) {
      FR_TRY(const std::string body, context_.post(path_ + "/collect", asked));
      FR_TRY(const json::object answer, parse_answer(body));
      for (const json::value& line : list_of(answer, "requests")) {
        FR_TRY(const auto request,
               parse_request(line.is_string() ? std::string_view(line.as_string()) : ""));
        FR_CHECK(writer_.add(request));
        ++totals_.requests;
      }
      totals_.lost = count_of(answer, "lost");
      totals_.has_ended = flag_of(answer, "ended");
      totals_.why = text_of(answer, "end_reason");
      more = flag_of(answer, "more");
    }
    return writer_.flush();
  }
  const Totals& totals() const { return totals_; }

 private:
  const Context& context_;
  std::string path_, id_;
  BlockTraceWriter& writer_;
  Totals totals_;
};

void say(const std::string& text) { std::fputs(text.c_str(), stderr); }

// Collects until there is a reason to stop. Returns it.
Result<std::string> collect_all(const Context& context, Session& session, const Limits& limits,
                                const BlockTraceWriter& writer, int signals) {
  const os::SystemClock clock;
  const Time begin = clock.now();
  Progress progress(Progress::style_for(context), begin);
  std::string why;
  while (why.empty()) {
    pollfd wait{signals, POLLIN, 0};
    const bool is_interrupted = ::poll(&wait, 1, kPollMs) > 0;
    const Time now = clock.now();
    if (is_interrupted)
      why = "interrupted";
    else if (limits.length > Nanos{} && now - begin >= limits.length)
      why = "its time is over";
    else if (writer.text_bytes() >= limits.text_bytes_max)
      why = "it is as long as --max-size allows";
    const Status collected = session.collect(!why.empty());
    if (!collected) {
      say(progress.finish());
      return std::unexpected(collected.error());
    }
    const Totals& totals = session.totals();
    if (why.empty() && totals.has_ended) why = totals.why;
    say(progress.update({.message = fmt::format("{} requests, {} lost", show_count(totals.requests),
                                                show_count(totals.lost))},
                        now));
  }
  say(progress.finish());
  return why;
}

Result<int> record(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.vm));
  Limits limits;
  if (!arguments.seconds.empty()) {
    FR_TRY(const double seconds, parse_seconds(arguments.seconds));
    if (seconds <= 0) return fail(ErrorCode::kInvalid, "a recording takes more than 0 seconds");
    limits.length = from_seconds(std::min(seconds, 1e9));
  }
  FR_TRY(limits.text_bytes_max, parse_size(arguments.size_max));
  FR_TRY(const os::Fd signals, catch_end_signals());
  std::signal(SIGPIPE, SIG_IGN);  // a reader of stdout that left is an error to report
  FR_TRY(const auto output, TraceOutput::open(arguments.file));
  BlockTraceWriter writer([&](ByteView data) { return output->write(data); },
                          arguments.file.ends_with(".zst") ? BlockTraceWriter::Form::kZstd
                                                           : BlockTraceWriter::Form::kPlain);
  Session session(context, arguments.vm, writer);
  FR_CHECK(session.start());
  const auto why = collect_all(context, session, limits, writer, signals.get());
  // What came before an error is worth keeping.
  FR_CHECK(writer.end());
  const Totals& totals = session.totals();
  const std::string file = arguments.file.empty() ? "stdout" : arguments.file;
  if (!why)
    return std::unexpected(
        Error(why.error())
            .within(
                fmt::format("the recording of VM {} broke off after {} requests, which are in {}",
                            arguments.vm, totals.requests, file)));
  say(fmt::format("{} requests of VM {} in {}; ended: {}\n", show_count(totals.requests),
                  arguments.vm, file, *why));
  if (totals.lost == 0) return kExitOk;
  say(
      fmt::format("forerun: the trace is incomplete: {} requests were lost, because they came "
                  "faster than they could be collected\n",
                  show_count(totals.lost)));
  return kExitIncomplete;
}

}  // namespace

void add_record_command(CLI::App& app, const Context& context, Command& chosen) {
  auto* command = app.add_subcommand("record", "Write down what a running VM asks of its disk");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("VM", arguments->vm)->required();
  command
      ->add_option("-o,--file", arguments->file,
                   "the trace, compressed if it ends in .zst (default: stdout)")
      ->type_name("FILE");
  command->add_option("--seconds", arguments->seconds, "how long (default: until interrupted)")
      ->type_name("N");
  command->add_option("--max-size", arguments->size_max, "of the trace, uncompressed")
      ->type_name("SIZE")
      ->capture_default_str();
  command->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return record(context, *arguments); };
  });
}

}  // namespace forerun::cli
