// A pulled disk over NBD, with all that the daemon has for it, in real time: the side that has the
// blocks, and, over whatever link stands between them, the side that pulls and serves. bench/pull/
// real.py drives it. It prints "source PORT", reads where to connect to (a port), prints "serving",
// then "pulled", and ends with its input.
#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>

#include "core/log.h"
#include "core/rng.h"
#include "daemon/disk_pull.h"
#include "daemon/peer_overlay.h"
#include "daemon/pull_foresight.h"
#include "disk/frozen_overlay.h"
#include "export/nbd_server.h"
#include "os/clock.h"

namespace forerun {
namespace {

using disk::BlockState;
using disk::kOverlayBlockSize;

void say(const std::string& line) { std::cout << line << std::endl; }  // flushed: it is waited for

// Reads alone; as ServedDisk does them where nothing but the overlay holds blocks.
class PulledDisk final : public disk::BlockDevice {
 public:
  PulledDisk(disk::Overlay& overlay, uint64_t size_bytes, daemon::DiskPull& pull,
             daemon::PullForesight* foresight)
      : overlay_(overlay), size_bytes_(size_bytes), pull_(pull), foresight_(foresight) {}

  uint64_t size_bytes() const override { return size_bytes_; }
  bool is_read_only() const override { return true; }
  void on_request(bool is_write, ByteRange range) noexcept override {
    if (foresight_) foresight_->note(disk::LoggedRequest::of(range, is_write));
  }
  Result<bool> try_read(ByteRange range, disk::ReadSlices& out) override {
    if (!overlay_.next_remote(range).empty()) return false;
    Buffer& buffer = out.add_buffer(range.length);
    FR_CHECK(overlay_.read(range.offset, buffer));
    out.slices.emplace_back(buffer);
    return true;
  }
  Status read(ByteRange range, disk::ReadSlices& out) override {
    const ByteRange wanted[] = {range};
    pull_.ask(wanted);
    FR_CHECK(pull_.wait_for(wanted));
    const auto served = try_read(range, out);
    return served ? Status() : Status(std::unexpected(served.error()));
  }
  Status write(uint64_t, ByteView, bool) override { return refuse(); }
  Status write_zeroes(ByteRange, bool, bool) override { return refuse(); }
  Status trim(ByteRange, bool) override { return refuse(); }
  Status flush() override { return {}; }
  Status block_status(ByteRange range, size_t, std::vector<disk::StatusExtent>& out) override {
    out.push_back({range.length, false, false});
    return {};
  }

 private:
  static Status refuse() { return fail(ErrorCode::kDenied, "read-only"); }
  disk::Overlay& overlay_;
  const uint64_t size_bytes_;
  daemon::DiskPull& pull_;
  daemon::PullForesight* const foresight_;
};

struct Arguments {
  std::string folder, disk, socket, before, way = "foreseen";
};

Result<std::unique_ptr<disk::Overlay>> open_overlay(StorageFolder& folder, uint64_t size_bytes) {
  return disk::Overlay::open(folder, "overlay",
                             {.size_bytes = size_bytes, .base = sha256(as_bytes("none"))});
}

Status fill(disk::Overlay& overlay, const std::string& path) {
  FR_TRY(const auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
  FR_TRY(const uint64_t size_bytes, file->size());
  Buffer part(kMiB);
  for (uint64_t at = 0; at < size_bytes; at += part.size()) {
    FR_CHECK(file->read(at, part));
    FR_CHECK(overlay.write(at, part, [](ByteRange, MutableByteView) -> Status { return {}; }));
  }
  return overlay.flush();
}

std::vector<disk::LoggedRequest> read_before(const std::string& path) {
  std::ifstream in(path);
  std::vector<disk::LoggedRequest> requests;
  disk::LoggedRequest request;
  while (in >> request.first_block >> request.block_count) requests.push_back(request);
  return requests;
}

Result<std::shared_ptr<net::PeerConnection>> connection_of(Result<os::Fd> socket) {
  if (!socket) return std::unexpected(std::move(socket.error()));
  return std::make_shared<net::PeerConnection>(
      nullptr, std::make_unique<os::SocketStream>(std::move(*socket)));
}

Status serve(const Arguments& arguments) {
  const os::SystemClock clock;
  FR_TRY(const auto given, os::PosixFile::open(arguments.disk, os::PosixFile::Mode::kReadOnly));
  FR_TRY(const uint64_t size_bytes, given->size());
  FR_TRY(const auto source_folder, os::PosixFolder::open(arguments.folder + "/source"));
  FR_TRY(const auto source_overlay, open_overlay(*source_folder, size_bytes));
  FR_CHECK(fill(*source_overlay, arguments.disk));
  FR_TRY(auto frozen,
         disk::FrozenOverlay::freeze(*source_overlay, 1, size_bytes, sha256(as_bytes("none"))));
  FR_TRY(const os::Fd listener, os::listen_tcp("127.0.0.1", 0));
  FR_TRY(const uint16_t port, os::local_port(listener.get()));
  say(fmt::format("source {}", port));
  int link_port = 0;
  std::cin >> link_port;

  FR_TRY(os::Fd to_source, os::connect_tcp("127.0.0.1", static_cast<uint16_t>(link_port), 10s));
  FR_TRY(const auto source_side, connection_of(os::accept_connection(listener.get(), 10s)));
  const daemon::PeerOverlayServer server(*source_side, std::move(frozen));
  FR_TRY(const auto target_side, connection_of(std::move(to_source)));
  const auto peer = std::make_shared<daemon::PeerOverlay>(target_side);
  FR_TRY(const disk::OverlayContents contents, peer->contents());

  FR_TRY(const auto folder, os::PosixFolder::open(arguments.folder + "/target"));
  FR_TRY(const auto overlay, open_overlay(*folder, size_bytes));
  daemon::DiskPull::Options options;
  options.queue.has_background = arguments.way != "on_demand";
  daemon::DiskPull pull(options, clock, *overlay, size_bytes);
  FR_CHECK(overlay->begin_pull(contents.pull_id, contents.runs));
  std::optional<daemon::PullForesight> foresight;
  if (arguments.way == "foreseen")
    foresight.emplace(daemon::PullForesight::Options{}, clock, *overlay, pull,
                      read_before(arguments.before));
  nbd::ExportTable exports;
  FR_CHECK(exports.add("", {std::make_shared<PulledDisk>(*overlay, size_bytes, pull,
                                                         foresight ? &*foresight : nullptr),
                            ""}));
  nbd::NbdServer nbd({}, clock);
  FR_CHECK(nbd.listen_unix(arguments.socket, 0600, {&exports, nullptr}));
  pull.start(peer, [] { say("pulled"); });
  say("serving");
  std::string line;
  while (std::getline(std::cin, line)) {
  }
  pull.abandon();
  nbd.stop();
  return {};
}

}  // namespace
}  // namespace forerun

int main(int argc, char** argv) {
  forerun::Arguments arguments;
  CLI::App app("A pulled disk over NBD, for bench/pull/real.py");
  app.add_option("--folder", arguments.folder)->required();
  app.add_option("--disk", arguments.disk, "what the source has")->required();
  app.add_option("--socket", arguments.socket, "of the NBD server")->required();
  app.add_option("--before", arguments.before, "lines: first block, count");
  app.add_option("--way", arguments.way)
      ->check(CLI::IsMember({"on_demand", "background", "foreseen"}));
  CLI11_PARSE(app, argc, argv);
  const forerun::Status served = forerun::serve(arguments);
  if (!served) fmt::print(stderr, "pull_server: {}\n", served.error().message);
  return served ? 0 : 1;
}
