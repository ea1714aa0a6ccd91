#include "cli/operation.h"

#include <boost/json.hpp>
#include <filesystem>
#include <thread>

#include "cli/fields.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "os/clock.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

// Follows an operation to its end, showing how it gets on.
Result<json::object> follow(const Context& context, const std::string& id) {
  const os::SystemClock clock;
  const Progress::Style style = Progress::style_for(context);
  Progress progress(style, clock.now());
  Nanos pause = 50ms;
  for (Time json_line = clock.now();;) {
    FR_TRY(const std::string body, context.get("/api/v1/operations/" + id));
    FR_TRY(json::object operation, parse_answer(body));
    const std::string state = text_of(operation, "state");
    if (context.output == Output::kJsonLines && (state != "running" || clock.now() >= json_line)) {
      print(body + "\n");
      json_line = clock.now() + 1s;
    }
    const ProgressState now{count_of(operation, "done_bytes"), count_of(operation, "total_bytes"),
                            text_of(operation, "message")};
    fmt::print(stderr, "{}", progress.update(now, clock.now()));
    if (state != "running") {
      fmt::print(stderr, "{}", progress.finish());
      return operation;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min<Nanos>(pause * 2, 500ms);
  }
}

}  // namespace

Result<std::string> absolute_path(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  if (error)
    return fail(ErrorCode::kInvalid, fmt::format("cannot resolve '{}': {}", path, error.message()));
  return absolute.lexically_normal().string();
}

Result<json::object> finish_operation(const Context& context, const std::string& path,
                                      const std::string& request, const OperationWords& words) {
  FR_TRY(const std::string body, context.post(path, request));
  FR_TRY(json::object operation, parse_answer(body));
  FR_TRY(operation, follow(context, text_of(operation, "id")));
  if (context.output == Output::kJson) print(json::serialize(operation) + "\n");
  if (text_of(operation, "state") == "failed")
    return fail(ErrorCode::kIo, fmt::format("cannot {}: {}", words.attempted,
                                            text_of(object_of(operation, "error"), "detail")));
  return operation;
}

Result<int> run_operation(const Context& context, const std::string& path,
                          const std::string& request, bool no_wait, const OperationWords& words) {
  if (no_wait) {
    FR_TRY(const std::string body, context.post(path, request));
    FR_TRY(const json::object operation, parse_answer(body));
    print((context.output == Output::kTable ? text_of(operation, "id") : body) + "\n");
    return kExitOk;
  }
  FR_TRY(const json::object operation, finish_operation(context, path, request, words));
  if (context.output == Output::kTable)
    print(fmt::format("{}: {}\n", words.subject, text_of(operation, "message")));
  return kExitOk;
}

}  // namespace forerun::cli
