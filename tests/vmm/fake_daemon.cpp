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
class PretendedService final : public Service {
 public:
  explicit PretendedService(const std::string& console) { fake_.vm.console_path = console; }

  Result<OperationInfo> import_image(const ImportRequest& request) override {
    return begin(request.name, request.source_path);
  }
  Result<OperationInfo> import_component(const ComponentImportRequest& request) override {
    return begin(request.name, request.source_path);
  }
  Result<std::vector<ComponentInfo>> list_components() override { return fake_.list_components(); }
  Result<OperationInfo> compose_image(const ComposeRequest& request) override {
    return begin(request.name, request.manifest);
  }
  Result<std::vector<ImageInfo>> list_images() override { return fake_.list_images(); }
  Result<ImageInfo> get_image(const std::string& name) override {
    if (name != "debian") return fail(ErrorCode::kNotFound, fmt::format("no image '{}'", name));
    return fake_.image;
  }
  std::vector<OperationInfo> list_operations() override { return {*get_operation("o-1")}; }
  Result<OperationInfo> get_operation(const std::string&) override {
    const std::scoped_lock lock(mutex_);
    OperationInfo operation = fake_.operation;
    if (++questions_ < 3) return operation;
    operation.done_bytes = operation.total_bytes;
    operation.state = OperationState::kSucceeded;
    if (operation.subject.starts_with("bad")) {
      operation.state = OperationState::kFailed;
      operation.error = Error{ErrorCode::kInvalid, "it is no disk", 0};
    }
    return operation;
  }
  Result<VmInfo> run_vm(const RunRequest& request) override {
    if (request.name == "web-1") return fail(ErrorCode::kExists, "VM 'web-1' runs already");
    VmInfo vm = fake_.vm;
    vm.name = request.name;
    vm.memory_bytes = request.memory_bytes;
    vm.forwards = request.forwards;
    vm.prefetch = request.prefetch;
    vm.detail = fmt::format("kernel={} append={}", request.kernel, request.append);
    return vm;
  }
  std::vector<VmInfo> list_vms() override { return {fake_.vm}; }
  Result<VmInfo> get_vm(const std::string& name) override {
    if (name != "web-1") return fail(ErrorCode::kNotFound, fmt::format("no VM '{}'", name));
    return fake_.vm;
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
    return fake_.stats;
  }
  LaunchReport launches() override { return fake_.launches(); }
  Result<LaunchImportInfo> import_launches(const LaunchImportRequest& request) override {
    return fake_.import_launches(request);
  }
  HostStats host_stats() override { return fake_.host; }
  std::vector<Check> run_checks() override { return fake_.run_checks(); }
  std::string metrics_text() override { return fake_.metrics_text(); }

 private:
  OperationInfo begin(const std::string& subject, const std::string& message) {
    const std::scoped_lock lock(mutex_);
    fake_.operation.subject = subject;
    fake_.operation.message = message;
    fake_.operation.state = OperationState::kRunning;
    questions_ = 0;
    return fake_.operation;
  }

  std::mutex mutex_;  // guards fake_.operation and questions_
  FakeService fake_;
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
