// nbd_test_server: the real NBD server over disks in memory, for tests and benchmarks.
//
// usage: nbd_test_server [--unix PATH] [--tcp] [--tls DIR [--tls-allow DN]... [--tls-optional]]
// [--handshake-s N]
//                        [--handshakes-max N] [--connections-max N]
//                        --export NAME,size=BYTES|file=PATH[,ro][,slow-every=N][,slow-us=N]
//                                 [,fail-from=BYTES][,description=TEXT] ...
// --tls applies to the TCP listener. Prints "ready PORT" (0 without TCP) when it listens; ends at
// SIGTERM or SIGINT. A line "remove NAME" on stdin removes an export and ends its connections, and
// prints "removed NAME".
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "core/log.h"
#include "export/nbd_server.h"
#include "memory_device.h"
#include "net/tls.h"
#include "os/clock.h"
#include "os/file.h"

namespace forerun::nbd_test {
namespace {

class Upgrader final : public nbd::TlsUpgrader {
 public:
  Upgrader(std::unique_ptr<net::TlsServer> server, bool required)
      : server_(std::move(server)), required_(required) {}
  Result<std::unique_ptr<os::ByteStream>> upgrade(os::ByteStream& plain, Nanos timeout) override {
    return server_->accept(plain, timeout);
  }
  bool required() const override { return required_; }

 private:
  std::unique_ptr<net::TlsServer> server_;
  bool required_;
};

struct Arguments {
  std::string unix_path;
  bool tcp = false;
  net::TlsServerOptions tls;
  bool tls_required = true;
  nbd::NbdServerOptions server;
};

[[noreturn]] void die(std::string_view message) {
  fmt::print(stderr, "nbd_test_server: {}\n", message);
  std::exit(2);
}

Status fill_from(const std::string& path, MemoryDevice& device) {
  FR_TRY(const auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
  Buffer piece(kMiB);
  for (uint64_t at = 0; at < device.size_bytes(); at += piece.size()) {
    piece.resize(std::min<uint64_t>(kMiB, device.size_bytes() - at));
    FR_CHECK(file->read(at, piece));
    FR_CHECK(device.write(at, piece, false));
  }
  return {};
}

Status add_export(std::string_view text, nbd::ExportTable& table) {
  MemoryDeviceOptions options;
  std::string file;
  std::string description;
  size_t end = text.find(',');
  const std::string name(text.substr(0, end));
  while (end != std::string_view::npos) {
    text.remove_prefix(end + 1);
    end = text.find(',');
    const std::string_view item = text.substr(0, end);
    const size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    const std::string value(equals == std::string_view::npos ? "" : item.substr(equals + 1));
    const uint64_t number = std::strtoull(value.c_str(), nullptr, 0);
    if (key == "size")
      options.size_bytes = number;
    else if (key == "file")
      file = value;
    else if (key == "ro")
      options.read_only = true;
    else if (key == "slow-every")
      options.slow_every = static_cast<unsigned>(number);
    else if (key == "slow-us")
      options.slow_time = std::chrono::microseconds(number);
    else if (key == "fail-from")
      options.failing_from = number;
    else if (key == "description")
      description = value;
    else
      die(fmt::format("unknown export setting '{}'", key));
  }
  if (!file.empty()) {
    FR_TRY(const auto opened, os::PosixFile::open(file, os::PosixFile::Mode::kReadOnly));
    FR_TRY(options.size_bytes, opened->size());
  }
  auto device = std::make_shared<MemoryDevice>(options);
  if (!file.empty()) FR_CHECK(fill_from(file, *device));
  return table.add(name, {.device = device, .description = description});
}

Arguments parse(int argc, char** argv, nbd::ExportTable& table) {
  Arguments arguments;
  const auto next = [&](int& i) -> std::string {
    if (i + 1 >= argc) die(fmt::format("{} needs a value", argv[i]));
    return argv[++i];
  };
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--unix")
      arguments.unix_path = next(i);
    else if (option == "--tcp")
      arguments.tcp = true;
    else if (option == "--tls")
      arguments.tls.folder = next(i);
    else if (option == "--tls-allow")
      arguments.tls.allowed_names.push_back(next(i));
    else if (option == "--tls-optional")
      arguments.tls_required = false;
    else if (option == "--handshake-s")
      arguments.server.handshake_time_max = from_seconds(std::stod(next(i)));
    else if (option == "--handshakes-max")
      arguments.server.handshakes_max = std::stoul(next(i));
    else if (option == "--connections-max")
      arguments.server.connections_per_export_max = std::stoul(next(i));
    else if (option == "--export") {
      if (const Status added = add_export(next(i), table); !added) die(added.error().message);
    } else
      die(fmt::format("unknown option {}", option));
  }
  return arguments;
}

// Serves stdin's orders until it ends.
void obey(nbd::NbdServer& server, nbd::ExportTable& table) {
  std::string line;
  while (std::getline(std::cin, line)) {
    if (!line.starts_with("remove ")) continue;
    const std::string name = line.substr(7);
    table.remove(name);
    server.end_export(table, name);
    fmt::print("removed {}\n", name);
    std::fflush(stdout);
  }
}

int run(int argc, char** argv) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  log::set_level(log::Level::kDebug);

  nbd::ExportTable table;
  const Arguments arguments = parse(argc, argv, table);
  std::unique_ptr<Upgrader> tls;
  if (!arguments.tls.folder.empty()) {
    auto loaded = net::TlsServer::load(arguments.tls);
    if (!loaded) die(loaded.error().message);
    tls = std::make_unique<Upgrader>(std::move(*loaded), arguments.tls_required);
  }
  const os::SystemClock clock;
  nbd::NbdServer server(arguments.server, clock);
  uint16_t port = 0;
  if (!arguments.unix_path.empty())
    if (const Status listening = server.listen_unix(arguments.unix_path, 0600, {.exports = &table});
        !listening)
      die(listening.error().message);
  if (arguments.tcp) {
    const auto listening = server.listen_tcp("127.0.0.1", 0, {.exports = &table, .tls = tls.get()});
    if (!listening) die(listening.error().message);
    port = *listening;
  }
  fmt::print("ready {}\n", port);
  std::fflush(stdout);
  std::thread orders([&] { obey(server, table); });
  orders.detach();  // blocked in stdin until the process ends
  int signal = 0;
  sigwait(&signals, &signal);
  server.stop();
  std::fflush(stdout);  // not stdin: the other thread holds it
  std::_Exit(0);
}

}  // namespace
}  // namespace forerun::nbd_test

int main(int argc, char** argv) { return forerun::nbd_test::run(argc, argv); }
