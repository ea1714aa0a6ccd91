// From an HTTP request to a call of the Service and back. docs/api.md describes the paths for
// people, docs/openapi.json for machines; a test holds the latter against this.
#pragma once

#include <cstdint>
#include <functional>

#include "api/plan_service.h"
#include "api/service.h"
#include "net/http_server.h"

namespace forerun::api {

// Thread-safe if the Service is; holds no state of its own.
class Router {
 public:
  // `unix_seconds` gives the time that answers carry as "as_of". Without `plans` there are no such
  // paths.
  Router(Service& service, std::function<int64_t()> unix_seconds, PlanService* plans = nullptr);

  net::HttpResponse handle(const net::HttpRequest& request) const;

 private:
  using Segments = std::vector<std::string_view>;
  net::HttpResponse images(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse components(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse mark(const net::HttpRequest& request, const std::string& name) const;
  net::HttpResponse compositions(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse repository(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse operations(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse hosts(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse launches(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse vms(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse one_vm(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse plan(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse usage(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse vm_profile(const net::HttpRequest& request, const std::string& name) const;
  net::HttpResponse recording(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse checkpoints(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse history(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse migration(const net::HttpRequest& request, const Segments& path) const;
  net::HttpResponse v1(const net::HttpRequest& request, const Segments& path) const;

  Service& service_;
  PlanService* const plans_;
  std::function<int64_t()> unix_seconds_;
};

}  // namespace forerun::api
