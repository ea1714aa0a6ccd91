// The API over a unix socket with a Service that only pretends: what the CLI is tested against
// without VMs.
//   fake_daemon SOCKET CONSOLE_SOCKET [TLS_FOLDER]    serves until SIGTERM
// With a folder also on TCP with TLS (its server-cert.pem, server-key.pem, ca-cert.pem), printing
// the port. VM "web-1" and image "debian" exist; an import runs for three questions, one of a name
// that begins with "bad" fails.
#include <csignal>
#include <cstdio>
#include <mutex>

#include "api/fake_service.h"
#include "api/router.h"
#include "net/http_server.h"

namespace forerun::api {
namespace {

// Adds to the fake the few answers that depend on what is asked.
class PretendedService final : public FakeService {
 public:
  explicit PretendedService(const std::string& console) { vm.console_path = console; }

  Result<OperationInfo> import_image(const ImportRequest& request) override {
    return begin(request.name, request.source_path);
  }
  Result<OperationInfo> import_component(const ComponentImportRequest& request) override {
    return begin(request.name, request.source_path);
  }
  Result<OperationInfo> compose_image(const ComposeRequest& request) override {
    return begin(request.name, request.manifest);
  }
  Result<ImageInfo> get_image(const std::string& name) override {
    if (name != "debian") return fail(ErrorCode::kNotFound, fmt::format("no image '{}'", name));
    return image;
  }
  std::vector<OperationInfo> list_operations() override { return {*get_operation("o-1")}; }
  Result<OperationInfo> get_operation(const std::string&) override {
    const std::scoped_lock lock(mutex_);
    OperationInfo now = operation;
    if (++questions_ < 3) return now;
    now.done_bytes = now.total_bytes;
    now.state = OperationState::kSucceeded;
    if (now.subject.starts_with("bad")) {
      now.state = OperationState::kFailed;
      now.error = Error{ErrorCode::kInvalid, "it is no disk", 0};
    }
    return now;
  }
  Result<VmInfo> run_vm(const RunRequest& request) override {
    if (request.name == "web-1") return fail(ErrorCode::kExists, "VM 'web-1' runs already");
    VmInfo started = vm;
    started.name = request.name;
    started.memory_bytes = request.memory_bytes;
    started.forwards = request.forwards;
    started.prefetch = request.prefetch;
    started.detail = fmt::format("kernel={} append={}", request.kernel, request.append);
    return started;
  }
  std::vector<VmInfo> list_vms() override { return {vm}; }
  Result<VmInfo> get_vm(const std::string& name) override {
    if (name != "web-1") return fail(ErrorCode::kNotFound, fmt::format("no VM '{}'", name));
    return vm;
  }
  Result<VmInfo> stop_vm(const std::string& name, const StopRequest& request) override {
    if (!request.force) return fail(ErrorCode::kTimedOut, "the guest does not power down");
    return get_vm(name);
  }
  Status remove_vm(const std::string& name) override {
    FR_CHECK(get_vm(name));
    return {};
  }
  Result<VmStats> vm_stats(const std::string& name) override {
    FR_CHECK(get_vm(name));
    return stats;
  }

 private:
  OperationInfo begin(const std::string& subject, const std::string& message) {
    const std::scoped_lock lock(mutex_);
    operation.subject = subject;
    operation.message = message;
    operation.state = OperationState::kRunning;
    questions_ = 0;
    return operation;
  }

  std::mutex mutex_;  // guards operation and questions_
  int questions_ = 0;
};

}  // namespace
}  // namespace forerun::api

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  forerun::api::PretendedService service(argv[2]);
  const forerun::api::Router router(service, [] { return int64_t{1790000000}; });
  forerun::net::HttpServerOptions options{.unix_path = argv[1]};
  if (argc > 3) {
    const std::string folder = argv[3];
    options.tcp_address = "127.0.0.1";
    options.tls = {folder + "/server-cert.pem", folder + "/server-key.pem",
                   folder + "/ca-cert.pem"};
  }
  const auto server = forerun::net::HttpServer::start(
      options, [&](const forerun::net::HttpRequest& request) { return router.handle(request); });
  if (!server) {
    fmt::print(stderr, "{}\n", server.error().message);
    return 1;
  }
  if (argc > 3) fmt::print("{}\n", (*server)->tcp_port());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  return 0;
}
