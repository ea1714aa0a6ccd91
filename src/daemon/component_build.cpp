#include "daemon/component_build.h"

#include <fmt/ranges.h>

#include "core/log.h"
#include "daemon/folder_capture.h"
#include "daemon/parallel.h"
#include "daemon/scrub.h"
#include "image/assembler.h"
#include "image/component_tag.h"
#include "image/flatten.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"

namespace forerun::daemon {
namespace {

constexpr int64_t kMadeAt = 1'735'689'600;  // 2025-01-01: what a build makes has this time
constexpr Nanos kBuildTimeMax = std::chrono::hours(2);
constexpr std::string_view kSuite = "bookworm";
constexpr size_t kLogTailBytes = 4096;
constexpr size_t kLogTailLines = 12;
constexpr size_t kShownBytesMax = 100;  // of a line, as progress
constexpr uint64_t kFactBytesMax = 64 * 1024;
// Packages write into an upper folder: the disk below needs no room.
constexpr uint64_t kLowerWritableBytes = 16 << 20;

std::string suite_of(const api::ComponentImportRequest& request) {
  return request.suite.empty() ? std::string(kSuite) : request.suite;
}

// The scripts stand beside the programs: bin/forerund, libexec/forerun/base.
Result<std::string> script_path(std::string_view name) {
  FR_TRY(const std::string program, os::own_program());
  const std::string folder = program.substr(0, program.rfind('/'));
  const std::string path =
      fmt::format("{}/libexec/forerun/{}", folder.substr(0, folder.rfind('/')), name);
  if (os::path_exists(path)) return path;
  return fail(ErrorCode::kNotFound, fmt::format("no build script {}: it belongs there", path));
}

std::vector<std::string_view> last_lines(std::string_view text, size_t count) {
  std::vector<std::string_view> lines;
  while (!text.empty() && lines.size() < count) {
    const size_t end = text.rfind('\n');
    const std::string_view line = end == std::string_view::npos ? text : text.substr(end + 1);
    if (!line.empty()) lines.insert(lines.begin(), line);
    text = end == std::string_view::npos ? std::string_view() : text.substr(0, end);
  }
  return lines;
}

// What the script printed last; nothing if it cannot be read.
std::string log_tail(const std::string& path) {
  const auto file = os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly);
  const auto size = file ? (*file)->size() : Result<uint64_t>(0);
  if (!size || *size == 0) return {};
  Buffer tail(std::min<uint64_t>(*size, kLogTailBytes));
  if (!(*file)->read(*size - tail.size(), tail)) return {};
  return std::string(as_text(tail));
}

// Runs a script in the job's folder, in namespaces of its own: what it mounts and starts is gone
// with it, however it or this process ends.
Status run_script(const ImportJob& job, const std::string& name) {
  FR_TRY(const std::string script, script_path(name));
  const std::string log = job.scratch + "/log";
  os::SpawnOptions options;
  options.output_path = log;
  options.working_folder = job.scratch;
  options.argv = {"env",
                  "-i",
                  fmt::format("SUITE={}", suite_of(job.request)),
                  fmt::format("PACKAGES={}", fmt::join(job.request.packages, " ")),
                  fmt::format("SOURCE_DATE_EPOCH={}", kMadeAt),
                  "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                  "unshare",
                  "--mount",
                  "--propagation",
                  "private",
                  "--pid",
                  "--uts",
                  "--ipc",
                  "--fork",
                  "--kill-child",
                  script};
  const auto watch = [&] {
    const std::string tail = log_tail(log);
    if (const auto lines = last_lines(tail, 1); !lines.empty())
      job.progress.update(0, 0, std::string(lines[0].substr(0, kShownBytesMax)));
    return job.progress.should_stop();
  };
  const auto code = os::run_watched(options, kBuildTimeMax, watch);
  const std::string tail = log_tail(log);
  if (!code)
    return std::unexpected(Error(code.error()).within(fmt::format("cannot build {}", name)));
  if (*code == 0) return {};
  log::error("building {} failed; the end of what it printed:\n{}", job.request.name, tail);
  return fail(ErrorCode::kIo, fmt::format("the build ended with code {}: {}", *code,
                                          fmt::join(last_lines(tail, kLogTailLines), " | ")));
}

// Returns the lines that the script left of one name.
Result<std::vector<std::string>> facts(const ImportJob& job, const std::string& name) {
  FR_TRY(const Buffer content,
         os::read_file(fmt::format("{}/facts/{}", job.scratch, name), kFactBytesMax));
  std::vector<std::string> lines;
  for (std::string_view text = as_text(content); !text.empty();) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

Result<std::string> fact(const ImportJob& job, const std::string& name) {
  FR_TRY(const auto lines, facts(job, name));
  if (lines.empty()) return fail(ErrorCode::kInternal, fmt::format("the build left no {}", name));
  return lines.front();
}

// Returns the names of packages that can be names of components, sorted.
std::vector<std::string> names_of(std::vector<std::string> packages, const std::string& self) {
  std::erase_if(packages,
                [&](const std::string& name) { return !is_valid_name(name) || name == self; });
  std::sort(packages.begin(), packages.end());
  packages.erase(std::unique(packages.begin(), packages.end()), packages.end());
  packages.resize(std::min(packages.size(), image::kInfoListMax));
  return packages;
}

Result<image::ComponentInfo> built_info(const ImportJob& job, const std::string& function) {
  image::ComponentInfo info = info_of(job.request);
  if (job.request.function.empty()) info.function = function;
  FR_TRY(const auto versions, facts(job, "version"));  // none: a virtual package has no version
  if (info.version.empty() && !versions.empty()) info.version = versions.front();
  FR_TRY(info.architecture, fact(job, "architecture"));
  return info;
}

Result<std::string> capture(const ImportJob& job, image::ComponentInfo info,
                            const std::string& folder, CaptureOptions options, int64_t since) {
  const bool is_base = info.function == "base";
  options.made_since_s = since;
  options.made_at_s = kMadeAt;
  options.leave_out = [is_base](std::string_view path, bool is_folder) {
    return is_scrubbed(path, is_folder, is_base);
  };
  FR_TRY(const auto built,
         build_component(job, std::move(info), [&](image::ComponentBuilder& builder) {
           return capture_folder(job.scratch + "/" + folder, options, builder);
         }));
  return describe(built);
}

Result<image::ComponentWish> parse_wish(const std::string& text) {
  image::ComponentWish wish;
  const size_t at = text.find('@');
  wish.name = text.substr(0, at);
  if (at != std::string::npos) {
    FR_TRY(wish.digest, parse_digest(text.substr(at + 1)));
  }
  if (!is_valid_name(wish.name))
    return fail(ErrorCode::kInvalid, fmt::format("'{}' cannot name a component", text));
  return wish;
}

// Composes what the packages are installed on, as a flat file, and returns it.
Result<image::Composition> make_lower(const ImportJob& job) {
  image::Manifest manifest;
  manifest.writable_bytes = kLowerWritableBytes;
  FR_TRY(manifest.base, parse_wish(job.request.on.front()));
  for (size_t i = 1; i < job.request.on.size(); ++i) {
    FR_TRY(auto wish, parse_wish(job.request.on[i]));
    manifest.components.push_back(std::move(wish));
  }
  image::AssembleOptions options;
  options.image_name = "below-" + job.request.name;
  options.image_name.resize(std::min<size_t>(options.image_name.size(), 64));
  options.created = os::utc_now();
  options.is_tagged = false;
  options.foresees = image::AssembleOptions::Foresees::kNever;
  options.parallel_for = on_all_processors;
  options.parallel_fetch = while_waiting;
  FR_TRY(const auto assembled, image::assemble(manifest, job.store, options));
  FR_TRY(auto composition, image::fetch_composition(job.store, assembled.tag.index));
  FR_TRY(const auto table, image::map_composition(composition, job.store));
  FR_TRY(const auto file,
         os::PosixFile::open(job.scratch + "/lower.raw", os::PosixFile::Mode::kCreate));
  image::FlattenOptions flat;
  flat.parallel_for = on_all_processors;
  flat.on_progress = [&](uint64_t done, uint64_t total) -> Status {
    job.progress.update(done, total, "laying out what it is built on");
    if (job.progress.should_stop()) return fail(ErrorCode::kUnavailable, "the daemon is stopping");
    return {};
  };
  FR_CHECK(image::flatten(table, job.store, *file, flat));
  return composition;
}

}  // namespace

Status check_build(const api::ComponentImportRequest& request) {
  if (!os::is_root())
    return fail(ErrorCode::kDenied,
                "components are built as root: packages are installed with their owners, on "
                "mounts and in namespaces of their own; forerund runs as another user");
  if (request.source == api::ComponentSource::kApt) {
    if (request.on.empty())
      return fail(ErrorCode::kInvalid, "on must name what the packages are installed on");
    if (request.packages.empty())
      return fail(ErrorCode::kInvalid, "packages must name what is installed");
    for (const std::string& name : request.on) FR_CHECK(parse_wish(name));
  }
  return {};
}

Result<std::string> build_base(const ImportJob& job) {
  const int64_t since = os::unix_seconds();
  FR_CHECK(run_script(job, "base"));
  FR_TRY(image::ComponentInfo info, built_info(job, "base"));
  FR_TRY(info.origin, fact(job, "origin"));
  return capture(job, std::move(info), "root", {}, since);
}

Result<std::string> build_kernel(const ImportJob& job) {
  const int64_t since = os::unix_seconds();
  FR_CHECK(run_script(job, "kernel"));
  FR_TRY(image::ComponentInfo info, built_info(job, "kernel"));
  FR_TRY(auto packages, facts(job, "provides"));
  info.origin = fmt::format("apt {}", fmt::join(packages, " "));
  info.provides = names_of(std::move(packages), info.name);
  return capture(job, std::move(info), "root", {}, since);
}

Result<std::string> build_apt(const ImportJob& job) {
  FR_TRY(const image::Composition lower, make_lower(job));
  std::vector<image::ComponentIndex> below;
  std::vector<std::string> named;
  for (const image::CompositionPart& part : lower.parts) {
    if (part.kind != image::CompositionPart::Kind::kComponent) continue;
    FR_TRY(auto index, image::fetch_component_index(job.store, part.digest));
    named.push_back(fmt::format("{}@{}", part.name, part.digest.short_hex()));
    below.push_back(std::move(index));
  }
  const int64_t since = os::unix_seconds();
  FR_CHECK(run_script(job, "apt"));
  FR_TRY(image::ComponentInfo info, built_info(job, "service"));
  info.origin =
      fmt::format("apt {} on {}", fmt::join(job.request.packages, " "), fmt::join(named, ", "));
  info.origin.resize(std::min(info.origin.size(), image::kInfoTextBytesMax));
  for (const std::string& name : job.request.on) info.depends.push_back(parse_wish(name)->name);
  info.depends = names_of(std::move(info.depends), "");
  FR_TRY(auto packages, facts(job, "provides"));
  info.provides = names_of(std::move(packages), info.name);
  CaptureOptions options;
  options.is_overlay = true;
  for (const auto& index : below) options.below.push_back(&index.tree);
  return capture(job, std::move(info), "upper", std::move(options), since);
}

}  // namespace forerun::daemon
