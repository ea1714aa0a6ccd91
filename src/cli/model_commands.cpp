// forerun model: the networks that models begin with. Without a daemon.
#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "os/clock.h"
#include "os/file.h"
#include "predict/rnn_pretrain.h"

namespace forerun::cli {
namespace {

constexpr uint64_t kCheckSeed = 0x5eed;  // of work that was not learned from
constexpr uint64_t kCheckRequests = 20'000;

struct Arguments {
  std::string file;
  uint64_t seed = 1, requests = 600'000;
};

Result<int> pretrain(const Context& context, const Arguments& arguments) {
  const os::SystemClock clock;
  Progress progress(Progress::style_for(context), clock.now());
  const auto say = [](const std::string& text) { std::fputs(text.c_str(), stderr); };
  const auto net =
      predict::pretrain_rnn(arguments.seed, arguments.requests, [&](double share, double loss) {
        const auto message = fmt::format("{:.0f} %, {:.3f} nats a request", 100 * share, loss);
        say(progress.update({.message = message}, clock.now()));
      });
  say(progress.finish());
  const Buffer saved = predict::serialize(*net);
  FR_CHECK(os::write_file_atomic(arguments.file, saved));
  const auto blank = predict::RnnTrainer({}, nullptr).net();
  const double before = predict::cost_of_rnn(blank, kCheckSeed, kCheckRequests);
  const double after = predict::cost_of_rnn(net, kCheckSeed, kCheckRequests);
  if (context.output == Output::kTable)
    print(
        fmt::format("{}: {}, trained on {} requests of seed {}; on other work {:.3f} nats a "
                    "request (untrained {:.3f})\n",
                    arguments.file, show_bytes(static_cast<double>(saved.size())),
                    show_count(arguments.requests), arguments.seed, after, before));
  else
    print_json(context,
               fmt::format(R"({{"bytes":{},"requests":{},"seed":{},"nats_per_request":{},)"
                           R"("untrained_nats_per_request":{}}})",
                           saved.size(), arguments.requests, arguments.seed, after, before));
  return kExitOk;
}

}  // namespace

void add_model_commands(CLI::App& app, const Context& context, Command& chosen) {
  auto* model = app.add_subcommand("model", "the networks that models begin with");
  model->require_subcommand(1);
  auto* command = model->add_subcommand(
      "pretrain", "train the recurrent network on made-up work, reproducibly");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("FILE", arguments->file, "where it is written")->required();
  command->add_option("--seed", arguments->seed, "of the work")->capture_default_str();
  command->add_option("--requests", arguments->requests, "how much work")
      ->check(CLI::Range(uint64_t{1000}, uint64_t{1'000'000'000}))
      ->capture_default_str();
  command->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return pretrain(context, *arguments); };
  });
}

}  // namespace forerun::cli
