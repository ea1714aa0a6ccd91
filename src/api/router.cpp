#include "api/router.h"

#include <charconv>

#include "api/json_in.h"
#include "api/json_out.h"
#include "core/id.h"

namespace forerun::api {
namespace {

using net::HttpRequest;
using net::HttpResponse;

HttpResponse ok(std::string body, int status = 200) {
  return {status, "application/json", std::move(body), {}};
}

HttpResponse problem(const HttpRequest& request, const Error& error, int status = 0) {
  if (status == 0) status = http_status(error.code);
  return {status, "application/problem+json", problem_json(error, status, request.path), {}};
}

HttpResponse no_such_path(const HttpRequest& request) {
  return problem(request, {ErrorCode::kNotFound, fmt::format("no resource at {}", request.path)});
}

HttpResponse wrong_method(const HttpRequest& request, std::string_view allowed) {
  HttpResponse response =
      problem(request,
              {ErrorCode::kUnsupported,
               fmt::format("{} is not for {}; it takes {}", request.method, request.path, allowed)},
              405);
  response.headers.emplace_back("Allow", allowed);
  return response;
}

// Returns the answer of a call as `status` with its JSON, or its error as a problem.
template <typename T>
HttpResponse answer(const HttpRequest& request, const Result<T>& result, int status = 200) {
  return result ? ok(to_json(*result), status) : problem(request, result.error());
}

// A page in a browser cannot send this type across origins unasked.
bool is_json(const HttpRequest& request) {
  const std::string_view type = request.content_type;
  return request.body.empty() || type == "application/json" ||
         type.starts_with("application/json;");
}

HttpResponse no_json(const HttpRequest& request) {
  return problem(request, {ErrorCode::kInvalid, "send Content-Type: application/json"}, 415);
}

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> segments;
  while (path.starts_with('/')) {
    path.remove_prefix(1);
    const size_t end = std::min(path.find('/'), path.size());
    segments.push_back(path.substr(0, end));
    path.remove_prefix(end);
    if (segments.size() > 8) break;  // no path of ours is longer
  }
  return segments;
}

HttpResponse removed(const HttpRequest& request, const Status& status) {
  return status ? HttpResponse{204, "application/json", "", {}} : problem(request, status.error());
}

// Long work that began: where to look how it gets on.
HttpResponse started(const HttpRequest& request, const Result<OperationInfo>& operation) {
  HttpResponse response = answer(request, operation, 202);
  if (operation) response.headers.emplace_back("Location", "/api/v1/operations/" + operation->id);
  return response;
}

}  // namespace

Router::Router(Service& service, std::function<int64_t()> unix_seconds, PlanService* plans)
    : service_(service), plans_(plans), unix_seconds_(std::move(unix_seconds)) {}

HttpResponse Router::handle(const HttpRequest& request) const {
  const Segments path = split(request.path);
  const bool is_get = request.method == "GET";
  if (path.empty()) return no_such_path(request);
  if (path.size() >= 2 && path[0] == "api" && path[1] == "v1") {
    return v1(request, Segments(path.begin() + 2, path.end()));
  }
  if (path.size() != 1) return no_such_path(request);
  if (path[0] != "api" && path[0] != "metrics" && path[0] != "healthz")
    return no_such_path(request);
  if (!is_get) return wrong_method(request, "GET");
  if (path[0] == "api") return ok(R"({"versions":["v1"],"features":[]})");
  if (path[0] == "healthz") return {200, "text/plain; charset=utf-8", "ok\n", {}};
  return {200, "text/plain; version=0.0.4; charset=utf-8", service_.metrics_text(), {}};
}

HttpResponse Router::v1(const HttpRequest& request, const Segments& path) const {
  if (path.empty()) return no_such_path(request);
  const bool is_named =
      path[0] == "images" || path[0] == "components" || path[0] == "vms" || path[0] == "hosts";
  if (is_named && path.size() >= 2 && !is_valid_name(path[1])) {
    return problem(request, {ErrorCode::kInvalid, fmt::format("'{}' is no valid name", path[1])});
  }
  if (path[0] == "images") return images(request, path);
  if (path[0] == "components") return components(request, path);
  if (path[0] == "compositions") return compositions(request, path);
  if (path[0] == "repository") return repository(request, path);
  if (path[0] == "operations") return operations(request, path);
  if (path[0] == "launches") return launches(request, path);
  if (path[0] == "vms") return vms(request, path);
  if (path[0] == "usage") return usage(request, path);
  if (path[0] == "plan" && plans_ != nullptr) return plan(request, path);
  if (path[0] == "hosts") return hosts(request, path);
  if (path.size() != 1 ||
      (path[0] != "host" && path[0] != "cluster" && path[0] != "checks" && path[0] != "migrations"))
    return no_such_path(request);
  if (request.method != "GET") return wrong_method(request, "GET");
  if (path[0] == "migrations") return ok(to_json(service_.migrations(), unix_seconds_()));
  if (path[0] == "cluster") return ok(to_json(service_.cluster()));
  if (path[0] == "host") return ok(to_json(service_.host_stats(), unix_seconds_()));
  return ok(to_json(service_.run_checks(), unix_seconds_()));
}

HttpResponse Router::hosts(const HttpRequest& request, const Segments& path) const {
  if (path.size() > 2) return no_such_path(request);
  if (path.size() == 2) {
    if (request.method != "DELETE") return wrong_method(request, "DELETE");
    return removed(request, service_.forget_host(std::string(path[1])));
  }
  if (request.method != "GET") return wrong_method(request, "GET");
  return ok(to_json(service_.list_peers(), unix_seconds_()));
}

HttpResponse Router::images(const HttpRequest& request, const Segments& path) const {
  if (path.size() > 2) return no_such_path(request);
  if (path.size() == 2) {
    const std::string name(path[1]);
    if (request.method == "GET") return answer(request, service_.get_image(name));
    if (request.method != "DELETE") return wrong_method(request, "GET, DELETE");
    return removed(request, service_.remove_image(name));
  }
  if (request.method == "GET") {
    const auto images = service_.list_images();
    return images ? ok(to_json(*images, unix_seconds_())) : problem(request, images.error());
  }
  if (request.method != "POST") return wrong_method(request, "GET, POST");
  if (!is_json(request)) return no_json(request);
  const auto asked = parse_import_request(request.body);
  if (!asked) return problem(request, asked.error());
  return started(request, service_.import_image(*asked));
}

HttpResponse Router::components(const HttpRequest& request, const Segments& path) const {
  if (path.size() > 2) return no_such_path(request);
  if (path.size() == 2) {
    const std::string name(path[1]);
    if (request.method == "GET") return answer(request, service_.get_component(name));
    if (request.method == "PATCH") return mark(request, name);
    if (request.method != "DELETE") return wrong_method(request, "GET, PATCH, DELETE");
    const Status removed = service_.remove_component(name);
    return removed ? HttpResponse{204, "application/json", "", {}}
                   : problem(request, removed.error());
  }
  if (request.method == "GET") {
    const auto components = service_.list_components();
    return components ? ok(to_json(*components, unix_seconds_()))
                      : problem(request, components.error());
  }
  if (request.method != "POST") return wrong_method(request, "GET, POST");
  if (!is_json(request)) return no_json(request);
  const auto asked = parse_component_request(request.body);
  if (!asked) return problem(request, asked.error());
  return started(request, service_.import_component(*asked));
}

HttpResponse Router::mark(const HttpRequest& request, const std::string& name) const {
  if (!is_json(request)) return no_json(request);
  const auto asked = parse_mark_request(request.body);
  if (!asked) return problem(request, asked.error());
  return removed(request, service_.mark_component(name, *asked));
}

HttpResponse Router::compositions(const HttpRequest& request, const Segments& path) const {
  if (path.size() > 1) return no_such_path(request);
  if (request.method != "POST") return wrong_method(request, "POST");
  if (!is_json(request)) return no_json(request);
  const auto asked = parse_compose_request(request.body);
  if (!asked) return problem(request, asked.error());
  return started(request, service_.compose_image(*asked));
}

HttpResponse Router::repository(const HttpRequest& request, const Segments& path) const {
  constexpr std::string_view kKnown[] = {"verify", "gc", "export", "tags", "signatures"};
  if (path.size() != 2 ||
      std::find(std::begin(kKnown), std::end(kKnown), path[1]) == std::end(kKnown))
    return no_such_path(request);
  const std::string_view method = path[1] == "tags" ? "GET" : "POST";
  if (request.method != method) return wrong_method(request, method);
  if (path[1] == "tags") {
    const auto tags = service_.list_tags();
    return tags ? ok(to_json(*tags, unix_seconds_())) : problem(request, tags.error());
  }
  if (!is_json(request)) return no_json(request);
  // Returns the answer of `call` to the parsed body.
  const auto with = [&](const auto& asked, const auto& call) {
    return asked ? call(*asked) : problem(request, asked.error());
  };
  if (path[1] == "verify")
    return with(parse_verify_request(request.body), [&](const VerifyRequest& asked) {
      return started(request, service_.verify_repository(asked));
    });
  if (path[1] == "gc")
    return with(parse_gc_request(request.body), [&](const GcRequest& asked) {
      return started(request, service_.collect_garbage(asked));
    });
  if (path[1] == "export")
    return with(parse_export_request(request.body), [&](const ExportRequest& asked) {
      return started(request, service_.export_repository(asked));
    });
  return with(parse_sign_request(request.body),
              [&](const SignRequest& asked) { return answer(request, service_.sign_tag(asked)); });
}

HttpResponse Router::operations(const HttpRequest& request, const Segments& path) const {
  if (path.size() > 2) return no_such_path(request);
  if (request.method != "GET") return wrong_method(request, "GET");
  if (path.size() == 2) return answer(request, service_.get_operation(std::string(path[1])));
  return ok(to_json(service_.list_operations(), unix_seconds_()));
}

HttpResponse Router::launches(const HttpRequest& request, const Segments& path) const {
  if (path.size() > 1) return no_such_path(request);
  if (request.method == "GET") return ok(to_json(service_.launches(), unix_seconds_()));
  if (request.method != "POST") return wrong_method(request, "GET, POST");
  if (!is_json(request)) return no_json(request);
  const auto asked = parse_launch_import_request(request.body);
  if (!asked) return problem(request, asked.error());
  return answer(request, service_.import_launches(*asked));
}

HttpResponse Router::vms(const HttpRequest& request, const Segments& path) const {
  if (path.size() > 1) return one_vm(request, path);
  if (request.method == "GET") return ok(to_json(service_.list_vms(), unix_seconds_()));
  if (request.method != "POST") return wrong_method(request, "GET, POST");
  if (!is_json(request)) return no_json(request);
  const auto asked = parse_run_request(request.body);
  if (!asked) return problem(request, asked.error());
  const auto vm = service_.run_vm(*asked);
  HttpResponse response = answer(request, vm, 201);
  if (vm) response.headers.emplace_back("Location", "/api/v1/vms/" + vm->name);
  return response;
}

// usage, usage/import, usage/host/METRIC, usage/vm/NAME/METRIC
HttpResponse Router::usage(const HttpRequest& request, const Segments& path) const {
  if (path.size() == 2 && path[1] == "import") {
    if (request.method != "POST") return wrong_method(request, "POST");
    if (!is_json(request)) return no_json(request);
    const auto import = parse_usage_import_request(request.body);
    if (!import) return problem(request, import.error());
    return started(request, service_.import_usage(*import));
  }
  const bool is_host = path.size() == 3 && path[1] == "host";
  const bool is_vm = path.size() == 4 && path[1] == "vm";
  if (path.size() != 1 && !is_host && !is_vm) return no_such_path(request);
  if (request.method != "GET") return wrong_method(request, "GET");
  if (path.size() == 1) return ok(to_json(service_.usage_series(), unix_seconds_()));
  const auto asked = parse_usage_request(is_host ? "host" : fmt::format("vm/{}", path[2]),
                                         path.back(), request.query);
  if (!asked) return problem(request, asked.error());
  return answer(request, service_.usage(*asked));
}

// plan, plan/fleet, plan/apply, plan/policy, plan/moves, plan/moves/VM
HttpResponse Router::plan(const HttpRequest& request, const Segments& path) const {
  const bool is_get = request.method == "GET";
  const std::string_view what = path.size() > 1 ? path[1] : std::string_view();
  const auto text = [&](const Result<std::string>& result) {
    return result ? ok(*result) : problem(request, result.error());
  };
  if (what == "moves" && path.size() <= 3) {
    if (!is_get) return wrong_method(request, "GET");
    return ok(plans_->plan_moves(path.size() == 3 ? std::string(path[2]) : std::string()));
  }
  if (path.size() > 2) return no_such_path(request);
  if (what == "fleet") {
    if (!is_get) return wrong_method(request, "GET");
    return text(plans_->plan_fleet());
  }
  if (what == "policy" && is_get) return ok(to_json(plans_->plan_policy()));
  if (!what.empty() && what != "apply" && what != "policy") return no_such_path(request);
  const std::string_view method = what == "policy" ? "PATCH" : "POST";
  if (request.method != method)
    return wrong_method(request, what == "policy" ? "GET, PATCH" : method);
  if (!is_json(request)) return no_json(request);
  if (what == "apply") return started(request, plans_->apply_plan());
  if (what == "policy") {
    const auto asked = parse_plan_policy_request(request.body);
    if (!asked) return problem(request, asked.error());
    const Status set = plans_->set_plan_policy(*asked);
    return set ? ok(to_json(plans_->plan_policy())) : problem(request, set.error());
  }
  const auto asked = parse_plan_request(request.body);
  if (!asked) return problem(request, asked.error());
  return text(plans_->plan(*asked));
}

HttpResponse Router::vm_profile(const HttpRequest& request, const std::string& name) const {
  if (request.method == "GET") {
    const auto profile = service_.vm_profile(name);
    return profile ? ok(to_json(*profile, unix_seconds_())) : problem(request, profile.error());
  }
  if (request.method != "PATCH") return wrong_method(request, "GET, PATCH");
  if (!is_json(request)) return no_json(request);
  const auto asked = telemetry::parse_control(request.body);
  if (!asked) return problem(request, asked.error());
  const auto profile = service_.set_vm_profile(name, *asked);
  return profile ? ok(to_json(*profile, unix_seconds_())) : problem(request, profile.error());
}

HttpResponse Router::recording(const HttpRequest& request, const Segments& path) const {
  const bool collects = path.size() == 4 && path[3] == "collect";
  if (path.size() != 3 && !collects) return no_such_path(request);
  if (request.method != "POST") return wrong_method(request, "POST");
  if (!is_json(request)) return no_json(request);
  const std::string name(path[1]);
  if (!collects) return answer(request, service_.start_recording(name), 201);
  const auto asked = parse_collect_request(request.body);
  if (!asked) return problem(request, asked.error());
  return answer(request, service_.collect_recording(name, *asked));
}

HttpResponse Router::checkpoints(const HttpRequest& request, const Segments& path) const {
  const std::string name(path[1]);
  if (path[2] == "restore") {
    if (path.size() != 3) return no_such_path(request);
    if (request.method != "POST") return wrong_method(request, "POST");
    if (!is_json(request)) return no_json(request);
    const auto asked = parse_restore_request(request.body);
    if (!asked) return problem(request, asked.error());
    return answer(request, service_.restore_vm(name, *asked));
  }
  if (path.size() == 3) {
    if (request.method == "POST") return answer(request, service_.checkpoint_vm(name), 201);
    if (request.method != "GET") return wrong_method(request, "GET, POST");
    const auto checkpoints = service_.list_checkpoints(name);
    return checkpoints ? ok(to_json(*checkpoints, unix_seconds_()))
                       : problem(request, checkpoints.error());
  }
  uint64_t number = 0;
  const std::string_view digits = path[3];
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool copies = path.size() == 5 && path[4] == "copy";
  if ((path.size() != 4 && !copies) || error != std::errc{} || end != digits.data() + digits.size())
    return no_such_path(request);
  if (copies) {
    if (request.method != "POST") return wrong_method(request, "POST");
    if (!is_json(request)) return no_json(request);
    const auto asked = parse_checkpoint_copy_request(request.body);
    if (!asked) return problem(request, asked.error());
    return started(request, service_.copy_checkpoint(name, number, *asked));
  }
  if (request.method != "DELETE") return wrong_method(request, "DELETE");
  return removed(request, service_.remove_checkpoint(name, number));
}

HttpResponse Router::history(const HttpRequest& request, const Segments& path) const {
  if (path.size() != 4 || (path[3] != "export" && path[3] != "import"))
    return no_such_path(request);
  if (request.method != "POST") return wrong_method(request, "POST");
  if (!is_json(request)) return no_json(request);
  const std::string name(path[1]);
  if (path[3] == "export") {
    const auto asked = parse_history_export_request(request.body);
    if (!asked) return problem(request, asked.error());
    return answer(request, service_.export_history(name, *asked));
  }
  const auto asked = parse_history_import_request(request.body);
  if (!asked) return problem(request, asked.error());
  return answer(request, service_.import_history(name, *asked));
}

HttpResponse Router::migration(const HttpRequest& request, const Segments& path) const {
  const bool cancels = path.size() == 4 && path[3] == "cancel";
  const bool foresees = path.size() == 4 && path[3] == "forecast";
  if (path.size() != 3 && !cancels && !foresees) return no_such_path(request);
  if (request.method != "POST") return wrong_method(request, "POST");
  if (!is_json(request)) return no_json(request);
  const std::string name(path[1]);
  if (cancels) return removed(request, service_.cancel_migration(name));
  const auto asked = parse_migrate_request(request.body);
  if (!asked) return problem(request, asked.error());
  if (foresees) return answer(request, service_.forecast_migration(name, *asked));
  return started(request, service_.migrate_vm(name, *asked));
}

HttpResponse Router::one_vm(const HttpRequest& request, const Segments& path) const {
  const std::string name(path[1]);
  if (path.size() == 2) {
    if (request.method == "GET") return answer(request, service_.get_vm(name));
    if (request.method != "DELETE") return wrong_method(request, "GET, DELETE");
    return removed(request, service_.remove_vm(name));
  }
  if (path.size() == 3 && path[2] == "stats") {
    if (request.method != "GET") return wrong_method(request, "GET");
    const auto stats = service_.vm_stats(name);
    return stats ? ok(to_json(*stats, unix_seconds_())) : problem(request, stats.error());
  }
  if (path.size() == 3 && path[2] == "profile") {
    return vm_profile(request, name);
  }
  if (path.size() == 3 && path[2] == "share") {
    if (request.method != "PATCH") return wrong_method(request, "PATCH");
    if (!is_json(request)) return no_json(request);
    const auto asked = parse_share_request(request.body);
    if (!asked) return problem(request, asked.error());
    return answer(request, service_.set_vm_share(name, *asked));
  }
  if (path.size() == 3 && path[2] == "metrics") {
    if (request.method != "POST") return wrong_method(request, "POST");
    if (!is_json(request)) return no_json(request);
    const auto asked = parse_push_request(request.body);
    if (!asked) return problem(request, asked.error());
    return removed(request, service_.push_metrics(name, *asked));
  }
  if (path[2] == "recording") return recording(request, path);
  if (path.size() == 3 && path[2] == "checkpoint-policy") {
    if (request.method == "GET") return answer(request, service_.checkpoint_policy(name));
    if (request.method != "PATCH") return wrong_method(request, "GET, PATCH");
    if (!is_json(request)) return no_json(request);
    const auto asked = parse_checkpoint_policy_request(request.body);
    if (!asked) return problem(request, asked.error());
    return answer(request, service_.set_checkpoint_policy(name, *asked));
  }
  if (path[2] == "checkpoints" || path[2] == "restore") return checkpoints(request, path);
  if (path[2] == "history") return history(request, path);
  if (path[2] == "migrate") return migration(request, path);
  if (path.size() == 3 && path[2] == "stop") {
    if (request.method != "POST") return wrong_method(request, "POST");
    if (!is_json(request)) return no_json(request);
    const auto asked = parse_stop_request(request.body);
    if (!asked) return problem(request, asked.error());
    return answer(request, service_.stop_vm(name, *asked));
  }
  return no_such_path(request);
}

}  // namespace forerun::api
