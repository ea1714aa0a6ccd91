// forerun migration: what a recorded migration of QEMU's holds. Without a daemon.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/text.h"
#include "migrate/stream_summary.h"
#include "os/file.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;
using migrate::BlockSummary;
using migrate::StreamSummary;

Status read_stream(const std::string& path, StreamSummary& summary) {
  FR_TRY(const auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
  FR_TRY(const uint64_t size, file->size());
  migrate::StreamReader reader({}, summary);
  Buffer bytes(256 * kKiB);
  for (uint64_t at = 0; at < size;) {
    const auto count = static_cast<size_t>(std::min<uint64_t>(bytes.size(), size - at));
    FR_CHECK(file->read(at, MutableByteView(bytes).first(count)));
    FR_CHECK(reader.feed(ByteView(bytes).first(count)));
    at += count;
  }
  return reader.finish();
}

json::object json_of(const StreamSummary& summary) {
  json::array blocks;
  for (const BlockSummary& block : summary.blocks())
    blocks.push_back({{"name", block.block.name},
                      {"used_bytes", block.block.used_bytes},
                      {"pages", block.pages},
                      {"zero_pages", block.zero_pages},
                      {"again", block.again},
                      {"discarded", block.discarded}});
  return {{"machine", summary.machine()},
          {"mode", summary.is_postcopy() ? "post-copy" : "pre-copy"},
          {"bytes", summary.bytes()},
          {"device_bytes", summary.device_bytes()},
          {"precopy_rounds", summary.rounds()},
          {"blocks", std::move(blocks)}};
}

std::string table_of(const StreamSummary& summary) {
  std::string text = fmt::format(
      "{}, {}: {}, of them {} of devices; {} round{} of pre-copy\n\n{:<28} {:>10} {:>9} {:>9} "
      "{:>9} "
      "{:>9}\n",
      summary.machine(), summary.is_postcopy() ? "post-copy" : "pre-copy",
      show_bytes(static_cast<double>(summary.bytes())),
      show_bytes(static_cast<double>(summary.device_bytes())), summary.rounds(),
      summary.rounds() == 1 ? "" : "s", "MEMORY", "SIZE", "PAGES", "ZERO", "AGAIN", "DISCARDED");
  for (const BlockSummary& block : summary.blocks())
    text += fmt::format("{:<28} {:>10} {:>9} {:>9} {:>9} {:>9}\n", block.block.name,
                        show_bytes(static_cast<double>(block.block.used_bytes)), block.pages,
                        block.zero_pages, block.again, block.discarded);
  return text;
}

Result<int> show(const Context& context, const std::string& path) {
  StreamSummary summary;
  if (Status read = read_stream(path, summary); !read)
    return std::unexpected(std::move(read.error()).within("cannot read " + path));
  if (context.output == Output::kTable)
    print(table_of(summary));
  else
    print_json(context, json::serialize(json_of(summary)));
  return kExitOk;
}

}  // namespace

void add_migration_commands(CLI::App& app, const Context& context, Command& chosen) {
  auto* migration = app.add_subcommand("migration", "migrations of QEMU");
  migration->require_subcommand(1);
  auto* command = migration->add_subcommand(
      "show", "what a saved migration stream holds (migrate \"exec:cat > FILE\")");
  auto path = std::make_shared<std::string>();
  command->add_option("FILE", *path, "a stream that QEMU 7.2 wrote")->required();
  command->callback(
      [&context, &chosen, path] { chosen = [&context, path] { return show(context, *path); }; });
}

}  // namespace forerun::cli
