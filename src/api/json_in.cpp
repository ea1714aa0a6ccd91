#include "api/json_in.h"

#include <boost/json.hpp>

#include "core/id.h"

namespace forerun::api {
namespace {

namespace json = boost::json;

constexpr size_t kPathBytesMax = 4096;
constexpr size_t kForwardsMax = 64;
constexpr size_t kPmemImagesMax = 8;
constexpr size_t kComponentsMax = 64;
constexpr size_t kDigestDigits = 64;
constexpr size_t kPackagesMax = 256;
constexpr size_t kPackageBytesMax = 256;

// Neither an option nor anything that a shell would read as more than a word.
bool is_package(std::string_view text) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (text.empty() || text.size() > kPackageBytesMax || !is_plain(text[0])) return false;
  return std::ranges::all_of(
      text, [&](char c) { return is_plain(c) || std::string_view("+-.:~=/").contains(c); });
}

Result<json::object> parse_object(std::string_view body) {
  if (body.size() > kRequestBytesMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("the body is over {} bytes", kRequestBytesMax));
  }
  json::parse_options options;
  options.max_depth = kRequestDepthMax;
  json::error_code error;
  json::value value = json::parse(body, error, {}, options);
  if (error)
    return fail(ErrorCode::kInvalid, fmt::format("the body is no JSON: {}", error.message()));
  if (!value.is_object()) return fail(ErrorCode::kInvalid, "the body must be a JSON object");
  return std::move(value.as_object());
}

// Reads members of one object; keeps the first complaint. Absent or null members keep their
// defaults.
class Members {
 public:
  Members(const json::object& object, std::string_view where) : object_(object), where_(where) {}

  void text(std::string_view key, std::string& out, size_t bytes_max) {
    const json::value* value = find(key);
    if (!value) return;
    if (!value->is_string()) return complain(key, "must be a string");
    const auto& found = value->as_string();
    if (found.size() > bytes_max) return complain(key, fmt::format("is over {} bytes", bytes_max));
    if (std::string_view(found).find('\0') != std::string_view::npos) {
      return complain(key, "holds a zero byte");
    }
    out.assign(found.data(), found.size());
  }
  void name(std::string_view key, std::string& out) {
    text(key, out, 64);
    if (ok() && !is_valid_name(out)) {
      complain(key,
               "must be 1 to 64 of letters, digits, '.', '_', '-', and not begin with '.' or '-'");
    }
  }
  // Reads a component: its name, or "name@" and the digest of its index.
  void component(std::string_view key, const json::value& value, std::string& out) {
    if (!value.is_string()) return complain(key, "must be a string");
    const std::string_view found = value.as_string();
    const size_t at = found.find('@');
    const std::string_view digest = at == found.npos ? "" : found.substr(at + 1);
    if (!is_valid_name(found.substr(0, at)) ||
        (at != found.npos && (digest.size() != kDigestDigits || !parse_digest(digest))))
      return complain(key, "must name components: NAME, or NAME@ and 64 hex digits");
    out = found;
  }
  void components(std::string_view key, std::vector<std::string>& out) {
    const json::value* list = find(key);
    if (!list) return;
    if (!list->is_array()) return complain(key, "must be a list");
    if (list->as_array().size() > kComponentsMax)
      return complain(key, fmt::format("has over {} entries", kComponentsMax));
    for (const json::value& item : list->as_array()) component(key, item, out.emplace_back());
  }
  // Reads Debian packages, "nginx-light" or "redis=5:7.0.15-1": a script gives them to apt.
  void packages(std::string_view key, std::vector<std::string>& out) {
    const json::value* list = find(key);
    if (!list) return;
    if (!list->is_array()) return complain(key, "must be a list");
    if (list->as_array().size() > kPackagesMax)
      return complain(key, fmt::format("has over {} entries", kPackagesMax));
    for (const json::value& item : list->as_array()) {
      const std::string_view found = item.is_string() ? std::string_view(item.as_string()) : "";
      if (!is_package(found))
        return complain(key, "must name Debian packages: NAME or NAME=VERSION");
      out.emplace_back(found);
    }
  }
  void suite(std::string_view key, std::string& out) {
    text(key, out, 64);
    if (ok() && !out.empty() && !is_package(out)) complain(key, "must name a Debian release");
  }
  void names(std::string_view key, std::vector<std::string>& out) {
    components(key, out);
    if (ok() && std::ranges::any_of(out, [](const std::string& n) { return !is_valid_name(n); }))
      complain(key, "must name components without their digests");
  }
  void path(std::string_view key, std::string& out, bool required) {
    text(key, out, kPathBytesMax);
    if (!ok() || (out.empty() && !required)) return;
    if (!out.starts_with('/')) complain(key, "must be an absolute path");
  }
  void flag(std::string_view key, bool& out) {
    const json::value* value = find(key);
    if (!value) return;
    if (!value->is_bool()) return complain(key, "must be true or false");
    out = value->as_bool();
  }
  template <std::unsigned_integral T>
  void whole(std::string_view key, T& out, T min, T max) {
    const json::value* value = find(key);
    if (!value) return;
    json::error_code error;
    const T found = value->is_number() ? value->to_number<T>(error) : T{0};
    if (!value->is_number() || error || found < min || found > max) {
      return complain(key, fmt::format("must be a whole number from {} to {}", min, max));
    }
    out = found;
  }
  void seconds(std::string_view key, Nanos& out, double max) {
    const json::value* value = find(key);
    if (!value) return;
    json::error_code error;
    const double found = value->is_number() ? value->to_number<double>(error) : -1;
    if (error || !(found >= 0) || found > max) {
      return complain(key, fmt::format("must be a number of seconds from 0 to {}", max));
    }
    out = from_seconds(found);
  }
  void number(std::string_view key, std::optional<double>& out) {
    const json::value* value = find(key);
    if (!value) return;
    if (!value->is_number()) return complain(key, "must be a number");
    out = value->to_number<double>();
  }
  // Reads one of the words in `choices`.
  template <typename Enum>
  void choice(std::string_view key, Enum& out,
              std::initializer_list<std::pair<std::string_view, Enum>> choices) {
    std::string word;
    text(key, word, 32);
    if (!ok() || word.empty()) return;
    std::string known;
    for (const auto& [name, value] : choices) {
      if (name == word) {
        out = value;
        return;
      }
      known += fmt::format("{}{}", known.empty() ? "" : ", ", name);
    }
    complain(key, fmt::format("must be one of {}", known));
  }
  const json::value* find(std::string_view key) const {
    const json::value* value = object_.if_contains(key);
    return value && !value->is_null() ? value : nullptr;
  }
  void complain(std::string_view key, std::string_view what) {
    if (ok()) complaint_ = fmt::format("{}{} {}", where_, key, what);
  }
  bool ok() const { return complaint_.empty(); }
  Status status() const {
    if (ok()) return {};
    return fail(ErrorCode::kInvalid, complaint_);
  }

 private:
  const json::object& object_;
  std::string_view where_;  // "forwards[0]."
  std::string complaint_;
};

// A list of names of things.
Status parse_names(std::string_view key, const json::value& list, size_t count_max,
                   std::vector<std::string>& out) {
  if (!list.is_array()) return fail(ErrorCode::kInvalid, fmt::format("{} must be a list", key));
  if (list.as_array().size() > count_max)
    return fail(ErrorCode::kInvalid, fmt::format("{} has over {} entries", key, count_max));
  for (const json::value& item : list.as_array()) {
    const std::string name = item.is_string() ? std::string(item.as_string()) : std::string();
    if (!is_valid_name(name))
      return fail(ErrorCode::kInvalid,
                  fmt::format("{}[{}] must be 1-64 of a-z A-Z 0-9 . _ -", key, out.size()));
    out.push_back(name);
  }
  return {};
}

Status parse_forwards(const json::value& list, std::vector<PortForward>& out) {
  if (!list.is_array()) return fail(ErrorCode::kInvalid, "forwards must be a list");
  if (list.as_array().size() > kForwardsMax) {
    return fail(ErrorCode::kInvalid, fmt::format("forwards has over {} entries", kForwardsMax));
  }
  for (const json::value& item : list.as_array()) {
    const std::string where = fmt::format("forwards[{}].", out.size());
    if (!item.is_object()) return fail(ErrorCode::kInvalid, where + " must be an object");
    Members members(item.as_object(), where);
    PortForward forward;
    std::string protocol = "tcp";
    members.text("protocol", protocol, 8);
    if (members.ok() && protocol != "tcp") members.complain("protocol", "must be tcp");
    members.text("host_address", forward.host_address, 64);
    members.whole<uint16_t>("host_port", forward.host_port, 1, 65535);
    members.whole<uint16_t>("guest_port", forward.guest_port, 1, 65535);
    if (forward.host_port == 0) members.complain("host_port", "is missing");
    if (forward.guest_port == 0) members.complain("guest_port", "is missing");
    FR_CHECK(members.status());
    out.push_back(std::move(forward));
  }
  return {};
}

Status check_one_disk(const RunRequest& request) {
  const int said = !request.image.empty() + !request.base.empty() + !request.manifest.empty();
  if (said > 1)
    return fail(ErrorCode::kInvalid, "image, base and manifest exclude each other: name one");
  if (request.base.empty() && !request.with.empty())
    return fail(ErrorCode::kInvalid, "with needs base: the component that the others stand on");
  if (request.base.empty() && !request.hostname.empty())
    return fail(ErrorCode::kInvalid, "hostname needs base: a manifest says its own");
  return {};
}

}  // namespace

Result<ImportRequest> parse_import_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  ImportRequest request;
  members.path("source_path", request.source_path, true);
  members.name("name", request.name);
  members.choice(
      "format", request.format,
      {{"auto", ImageFormat::kAuto}, {"raw", ImageFormat::kRaw}, {"qcow2", ImageFormat::kQcow2}});
  FR_CHECK(members.status());
  return request;
}

Result<ComponentImportRequest> parse_component_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  ComponentImportRequest request;
  members.choice("source", request.source,
                 {{"tar", ComponentSource::kTar},
                  {"dir", ComponentSource::kDir},
                  {"base", ComponentSource::kBase},
                  {"apt", ComponentSource::kApt},
                  {"kernel", ComponentSource::kKernel},
                  {"deb", ComponentSource::kDeb},
                  {"oci", ComponentSource::kOci}});
  members.path("source_path", request.source_path, has_source_path(request.source));
  members.name("name", request.name);
  members.text("version", request.version, 128);
  members.text("function", request.function, 64);
  members.flag("allow_devices", request.allow_devices);
  members.flag("overlay", request.is_overlay);
  if (members.find("shareable")) members.flag("shareable", request.is_shareable.emplace());
  members.components("on", request.on);
  members.packages("packages", request.packages);
  members.suite("suite", request.suite);
  members.names("depends", request.depends);
  members.text("delta_from", request.delta_from, 64);
  members.text("reference", request.reference, 256);
  members.text("platform", request.platform, 64);
  if (!request.delta_from.empty() && !is_valid_name(request.delta_from))
    members.complain("delta_from", "cannot name a component");
  if (!request.delta_from.empty() && request.source == ComponentSource::kOci)
    members.complain("delta_from", "goes with one component, not with layers");
  FR_CHECK(members.status());
  return request;
}

Result<bool> parse_mark_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  bool is_shareable = false;
  if (members.find("shareable") == nullptr) members.complain("shareable", "is missing");
  members.flag("shareable", is_shareable);
  FR_CHECK(members.status());
  return is_shareable;
}

Result<ComposeRequest> parse_compose_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  ComposeRequest request;
  members.text("manifest", request.manifest, kRequestBytesMax);
  members.name("name", request.name);
  FR_CHECK(members.status());
  return request;
}

Result<VerifyRequest> parse_verify_request(std::string_view body) {
  VerifyRequest request;
  if (body.empty()) return request;
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  members.flag("deep", request.deep);
  members.flag("resume", request.resume);
  if (request.resume && !request.deep) members.complain("resume", "goes with deep");
  FR_CHECK(members.status());
  return request;
}

Result<GcRequest> parse_gc_request(std::string_view body) {
  constexpr double kGraceSecondsMax = 10.0 * 365 * 86400;
  GcRequest request;
  if (body.empty()) return request;
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  members.flag("dry_run", request.dry_run);
  members.seconds("grace_seconds", request.grace, kGraceSecondsMax);
  FR_CHECK(members.status());
  return request;
}

Result<ExportRequest> parse_export_request(std::string_view body) {
  constexpr size_t kNamesMax = 1000;
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  ExportRequest request;
  members.path("folder", request.folder, false);
  members.path("car_file", request.car_file, false);
  if (request.folder.empty() == request.car_file.empty())
    members.complain("folder", "or car_file is given, not both");
  FR_CHECK(members.status());
  const json::value* names = members.find("names");
  if (names == nullptr) return request;
  if (!names->is_array() || names->as_array().size() > kNamesMax)
    return fail(ErrorCode::kInvalid, fmt::format("names must be a list of at most {}", kNamesMax));
  for (const json::value& name : names->as_array()) {
    if (!name.is_string() || !is_valid_name(std::string_view(name.as_string())))
      return fail(ErrorCode::kInvalid, "names holds what is no name");
    request.names.emplace_back(name.as_string());
  }
  return request;
}

Result<SignRequest> parse_sign_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  SignRequest request;
  members.text("path", request.path, 200);
  members.text("digest", request.digest, 64);
  members.text("key", request.key, 64);
  members.text("value", request.value, 128);
  FR_CHECK(members.status());
  return request;
}

Result<LaunchImportRequest> parse_launch_import_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  LaunchImportRequest request;
  members.path("source_path", request.source_path, true);
  FR_CHECK(members.status());
  return request;
}

Result<RunRequest> parse_run_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  RunRequest request;
  members.name("name", request.name);
  if (members.find("image") != nullptr) members.name("image", request.image);
  if (const json::value* base = members.find("base"))
    members.component("base", *base, request.base);
  members.components("with", request.with);
  members.text("manifest", request.manifest, kRequestBytesMax);
  if (members.find("hostname") != nullptr) members.name("hostname", request.hostname);
  if (members.find("tenant") != nullptr) members.name("tenant", request.tenant);
  members.whole<uint64_t>("disk_bytes", request.disk_bytes, 0, 16ull << 40);
  members.whole<uint64_t>("memory_bytes", request.memory_bytes, 32ull << 20, 4ull << 40);
  members.whole<uint32_t>("cpus", request.cpus, 1, 255);
  members.path("kernel", request.kernel, false);
  members.path("initrd", request.initrd, false);
  members.text("append", request.append, 2000);
  members.text("bridge", request.bridge, 15);
  members.text("mac", request.mac, 17);
  if (const json::value* list = members.find("pmem_images"))
    FR_CHECK(parse_names("pmem_images", *list, kPmemImagesMax, request.pmem_images));
  members.choice("disk_bus", request.disk_bus,
                 {{"virtio", DiskBus::kVirtio}, {"nvme", DiskBus::kNvme}});
  members.choice("prefetch", request.prefetch,
                 {{"on", PrefetchMode::kOn},
                  {"observe", PrefetchMode::kObserve},
                  {"off", PrefetchMode::kOff}});
  members.flag("disk_only", request.disk_only);
  bool is_auto = false;
  members.choice("checkpoint", is_auto, {{"auto", true}, {"off", false}});
  if (members.find("checkpoint")) request.checkpoint_auto = is_auto;
  FR_CHECK(members.status());
  FR_CHECK(check_one_disk(request));
  if (const json::value* list = members.find("forwards")) {
    FR_CHECK(parse_forwards(*list, request.forwards));
  }
  return request;
}

Result<ShareRequest> parse_share_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  ShareRequest request;
  members.number("weight", request.weight);
  members.number("reserved_bytes_per_s", request.reserved_bytes_per_s);
  members.number("limit_bytes_per_s", request.limit_bytes_per_s);
  FR_CHECK(members.status());
  return request;
}

Result<CollectRequest> parse_collect_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  CollectRequest request;
  members.text("id", request.id, 32);
  members.flag("end", request.ends);
  FR_CHECK(members.status());
  return request;
}

Result<HistoryExportRequest> parse_history_export_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  HistoryExportRequest request;
  members.path("path", request.path, true);
  FR_CHECK(members.status());
  return request;
}

Result<HistoryImportRequest> parse_history_import_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  HistoryImportRequest request;
  members.path("source_path", request.source_path, true);
  FR_CHECK(members.status());
  return request;
}

Result<MigrateRequest> parse_migrate_request(std::string_view body) {
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  MigrateRequest request;
  members.name("to", request.to);
  members.choice("mode", request.mode,
                 {{"auto", MigrateMode::kAuto},
                  {"precopy", MigrateMode::kPrecopy},
                  {"postcopy", MigrateMode::kPostcopy},
                  {"hybrid", MigrateMode::kHybrid}});
  members.whole<uint64_t>("downtime_ms_max", request.downtime_ms_max, 1, 600'000);
  members.whole<uint64_t>("rate_bytes_per_s_max", request.rate_bytes_per_s_max, 0,
                          uint64_t{1} << 40);
  members.flag("stock", request.is_stock);
  members.flag("without_forwards", request.without_forwards);
  members.whole<uint64_t>("degradation_percent_max", request.degradation_percent_max, 0, 100);
  members.whole<uint64_t>("switch_within_ms", request.switch_within_ms, 0, 86'400'000);
  FR_CHECK(members.status());
  return request;
}

Result<StopRequest> parse_stop_request(std::string_view body) {
  StopRequest request;
  if (body.empty()) return request;
  FR_TRY(const json::object object, parse_object(body));
  Members members(object, "");
  members.flag("force", request.force);
  members.seconds("timeout_seconds", request.timeout, 3600);
  FR_CHECK(members.status());
  return request;
}

}  // namespace forerun::api
