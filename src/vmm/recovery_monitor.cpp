#include "vmm/recovery_monitor.h"

#include "os/fifo.h"
#include "vmm/qmp.h"

namespace forerun::vmm {
namespace {

constexpr Nanos kTimeout = std::chrono::seconds(10);

Result<std::unique_ptr<os::FifoStream>> open(const std::string& qmp_socket) {
  const std::string path = recovery_monitor_path(qmp_socket);
  FR_TRY(auto stream, os::FifoStream::open(path + ".in", path + ".out"));
  FR_CHECK(stream->set_timeout(kTimeout));
  return stream;
}

}  // namespace

std::string recovery_monitor_path(const std::string& qmp_socket) {
  return qmp_socket.substr(0, qmp_socket.rfind('/')) + "/recover";
}

Status make_recovery_monitor(const std::string& qmp_socket) {
  const std::string path = recovery_monitor_path(qmp_socket);
  FR_CHECK(os::make_fifo(path + ".in"));
  return os::make_fifo(path + ".out");
}

Status negotiate_recovery(const std::string& qmp_socket) {
  FR_TRY(auto stream, open(qmp_socket));
  return QmpClient::go_on(std::move(stream))->allow_out_of_band();
}

Status recover_incoming(const std::string& qmp_socket, const std::string& socket_path) {
  FR_TRY(auto stream, open(qmp_socket));
  const auto client = QmpClient::go_on(std::move(stream));
  FR_CHECK(client->execute_out_of_band("migrate-recover",
                                       fmt::format(R"({{"uri":"unix:{}"}})", socket_path)));
  return {};
}

void drain_recovery_monitor(const std::string& qmp_socket) {
  if (const auto stream = open(qmp_socket)) (*stream)->drain();
}

}  // namespace forerun::vmm
