// Stands between two QEMUs that migrate a guest: a slow link with Forerun's sender and receiver at
// its ends, or, with --mode raw, the link alone. With --profile, a pre-copy into a sink is read
// first. Says what happens as lines of JSON.
#include <CLI/CLI.hpp>

#include <condition_variable>
#include <cstdio>
#include <iostream>
#include <thread>

#include "link/lane.h"
#include "migrate/memory_receiver.h"
#include "migrate/memory_sender.h"
#include "os/clock.h"
#include "os/socket.h"

namespace forerun {
namespace {

struct Options {
  std::string mode = "auto", profile, source, target;
  double rate_mbit = 200, delay_ms = 2;
  bool no_compression = false, no_injection = false;
};

void say(const std::string& line) {
  std::cout << line << std::endl;  // flushed: someone waits for it
}

void check(const Status& done, std::string_view what) {
  if (done) return;
  say(fmt::format(R"({{"event":"error","what":"{}: {}"}})", what, done.error().message));
  std::_Exit(1);
}

// One direction: who pushes waits as a full socket makes one wait.
class Direction {
 public:
  Direction(link::LinkSettings settings, const Clock& clock) : lane_(settings), clock_(clock) {}

  void push(ByteView bytes) {
    std::unique_lock lock(mutex_);
    while (!bytes.empty()) {
      while (!lane_.admits(clock_.now()))
        changed_.wait_for(lock,
                          std::max<Nanos>(lane_.admits_at(clock_.now()) - clock_.now(), 50us));
      const size_t count = std::min<size_t>(bytes.size(), 8 * kKiB);
      lane_.push(0, Buffer(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count)), false,
                 clock_.now());
      bytes = bytes.subspan(count);
      changed_.notify_all();
    }
  }
  void end() {
    std::lock_guard lock(mutex_);
    lane_.push(0, {}, true, clock_.now());
    changed_.notify_all();
  }
  // Returns what arrives next; empty: the end.
  Buffer pop() {
    std::unique_lock lock(mutex_);
    while (true) {
      if (auto segment = lane_.pop_due(clock_.now())) return std::move(segment->data);
      const Time due = lane_.next_due();
      changed_.wait_for(
          lock, due == kTimeNever ? Nanos(100ms) : std::max<Nanos>(due - clock_.now(), 50us));
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  link::Lane lane_;
  const Clock& clock_;
};

// What a socket's buffer holds between the proxy and the link, so that both work at a time.
class SendBuffer {
 public:
  void push(Buffer bytes) {
    if (bytes.empty()) return;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return held_bytes_ < kBytesMax; });
    held_bytes_ += bytes.size();
    held_.push_back(std::move(bytes));
    changed_.notify_all();
  }
  void end() {
    std::lock_guard lock(mutex_);
    is_ended_ = true;
    changed_.notify_all();
  }
  void pump(Direction& link) {
    while (true) {
      Buffer bytes;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !held_.empty() || is_ended_; });
        if (held_.empty()) break;
        bytes = std::move(held_.front());
        held_.pop_front();
      }
      link.push(bytes);
      std::lock_guard lock(mutex_);
      held_bytes_ -= bytes.size();
      changed_.notify_all();
    }
    link.end();
  }

 private:
  static constexpr size_t kBytesMax = 64 * kKiB;  // what waits here, a fault waits for
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Buffer> held_;
  size_t held_bytes_ = 0;
  bool is_ended_ = false;
};

class Relay {
 public:
  Relay(const Options& options, migrate::MemoryProfile profile)
      : options_(options),
        is_raw_(options.mode == "raw"),
        forward_(link_of(options), clock_),
        back_({.delay = from_seconds(options.delay_ms / 1000)}, clock_),
        sender_(sender_options(options, profile), profile, clock_),
        receiver_({}) {}

  void run(os::Fd source, os::Fd target) {
    source_ = std::make_unique<os::SocketStream>(std::move(source));
    target_ = std::make_unique<os::SocketStream>(std::move(target));
    began_ = clock_.now();
    migrate::SenderOutput out;
    if (!is_raw_) sender_.begin(out);
    send_buffer_.push(std::move(out.to_peer));
    std::thread pump([this] { send_buffer_.pump(forward_); });
    std::thread deliver([this] { deliver_forward(); }), answer([this] { read_target(); });
    std::thread give_back([this] { deliver_back(); }), tick([this] { tick_often(); });
    read_source();
    send_buffer_.end();
    deliver.join();
    say(report());
    std::cout.flush();
    std::_Exit(0);  // the others wait for sockets that no one closes
  }

 private:
  static link::LinkSettings link_of(const Options& options) {
    return {.rate_bytes_per_s = static_cast<uint64_t>(options.rate_mbit * 1e6 / 8),
            .delay = from_seconds(options.delay_ms / 1000)};
  }
  static migrate::MemorySender::Options sender_options(const Options& options,
                                                       const migrate::MemoryProfile& profile) {
    using migrate::HotPages;
    const HotPages hot = options.mode == "keep"   ? HotPages::kKeep
                         : options.mode == "hold" ? HotPages::kHold
                         : options.mode == "send" ? HotPages::kSend
                                                  : migrate::hot_pages_for(profile);
    return {.hot = hot, .compress = !options.no_compression, .inject = !options.no_injection};
  }
  double elapsed() const { return to_seconds(clock_.now() - began_); }

  void read_source() {
    Buffer bytes(128 * kKiB);
    while (true) {
      const auto count = source_->read_some(bytes);
      if (!count || *count == 0) return;
      const ByteView read = ByteView(bytes).first(*count);
      if (is_raw_) {
        // QEMU's own socket is buffer enough.
        bytes_ += read.size();
        forward_.push(read);
        continue;
      }
      migrate::SenderOutput out;
      {
        std::lock_guard lock(mutex_);
        check(sender_.from_qemu(read, out), "sender");
        write_source(out.to_qemu);
        announce();
      }
      send_buffer_.push(std::move(out.to_peer));
    }
  }
  void announce() {
    if (!said_due_ && sender_.switch_is_due()) {
      said_due_ = true;
      say(fmt::format(R"({{"event":"switch_is_due","s":{:.3f}}})", elapsed()));
    }
    if (!said_switch_ && sender_.is_postcopy()) {
      said_switch_ = true;
      say(fmt::format(R"({{"event":"switched","s":{:.3f}}})", elapsed()));
    }
  }
  // Under the mutex: order counts.
  void write_source(const Buffer& bytes) {
    if (!bytes.empty()) (void)source_->write_bytes(bytes);
  }
  void deliver_forward() {
    while (true) {
      const Buffer bytes = forward_.pop();
      if (bytes.empty()) break;
      if (is_raw_) {
        if (!target_->write_bytes(bytes)) return;
        continue;
      }
      Buffer to_qemu;
      {
        std::lock_guard lock(receiver_mutex_);
        const bool was = receiver_.stats().is_postcopy;
        check(receiver_.from_peer(bytes, to_qemu), "receiver");
        if (!was && receiver_.stats().is_postcopy) say(R"({"event":"received"})");
      }
      if (!target_->write_bytes(to_qemu)) return;
    }
  }
  void read_target() {
    Buffer bytes(64 * kKiB);
    while (true) {
      const auto count = target_->read_some(bytes);
      if (!count || *count == 0) return;
      const ByteView read = ByteView(bytes).first(*count);
      if (is_raw_) {
        back_.push(read);
        continue;
      }
      Buffer to_peer;
      {
        std::lock_guard lock(receiver_mutex_);
        check(receiver_.from_qemu_return(read, to_peer), "return path");
      }
      back_.push(to_peer);
    }
  }
  void deliver_back() {
    while (true) {
      const Buffer bytes = back_.pop();
      if (is_raw_) {
        if (!source_->write_bytes(bytes)) return;
        continue;
      }
      migrate::SenderOutput out;
      {
        std::lock_guard lock(mutex_);
        check(sender_.from_peer(bytes, out), "return path at the source");
        write_source(out.to_qemu);
      }
      send_buffer_.push(std::move(out.to_peer));
    }
  }
  void tick_often() {
    while (!is_raw_) {
      std::this_thread::sleep_for(2ms);
      migrate::SenderOutput out;
      {
        std::lock_guard lock(mutex_);
        check(sender_.tick(out), "tick");
        write_source(out.to_qemu);
      }
      send_buffer_.push(std::move(out.to_peer));
    }
  }
  std::string report() {
    if (is_raw_)
      return fmt::format(R"({{"event":"end","s":{:.3f},"peer_bytes":{}}})", elapsed(), bytes_);
    std::lock_guard lock(mutex_);
    const migrate::SenderStats stats = sender_.stats();
    const migrate::InjectorStats& injector = stats.injector;
    std::string said = fmt::format(R"({{"event":"end","s":{:.3f},"codecs":[{}])", elapsed(),
                                   fmt::join(stats.batches_by_codec, ","));
    const std::initializer_list<std::pair<const char*, uint64_t>> counts{
        {"peer_bytes", stats.peer_bytes},
        {"qemu_bytes", stats.qemu_bytes},
        {"pages", stats.pages},
        {"filled", stats.filled},
        {"recent", stats.recent},
        {"deltas", stats.deltas},
        {"delta_bytes", stats.delta_bytes},
        {"whole", stats.whole},
        {"held", stats.held},
        {"held_stale", stats.held_stale},
        {"kept", stats.kept},
        {"rounds", stats.rounds.size()},
        {"plain_bytes", stats.plain_bytes},
        {"packed_bytes", stats.packed_bytes},
        {"requested", injector.requested},
        {"unforeseen", injector.unforeseen},
        {"injected", injector.injected},
        {"late", injector.late},
        {"foreseen", injector.foreseen},
        {"cancelled", injector.cancelled},
        {"link_bytes_per_s", static_cast<uint64_t>(stats.link_bytes_per_s)}};
    for (const auto& [name, count] : counts) said += fmt::format(R"(,"{}":{})", name, count);
    return said + "}";
  }

  const Options options_;
  const bool is_raw_;
  const os::SystemClock clock_;
  Direction forward_, back_;
  SendBuffer send_buffer_;
  std::mutex mutex_, receiver_mutex_;
  migrate::MemorySender sender_;
  migrate::MemoryReceiver receiver_;
  std::unique_ptr<os::SocketStream> source_, target_;
  std::atomic<uint64_t> bytes_{0};
  Time began_{};
  bool said_due_ = false, said_switch_ = false;
};

migrate::MemoryProfile read_profile(const os::Fd& listener) {
  const os::SystemClock clock;
  auto accepted = os::accept_connection(listener.get(), 60s);
  if (!accepted) return {};
  const Time began = clock.now();
  os::SocketStream stream(std::move(*accepted));
  migrate::ProfileSink sink;
  Buffer bytes(256 * kKiB);
  while (!sink.is_enough()) {
    const auto count = stream.read_some(bytes);
    if (!count || *count == 0) break;
    check(sink.feed(clock.now(), ByteView(bytes).first(*count)), "profile");
  }
  const bool is_complete = sink.is_complete();
  migrate::MemoryProfile profile = sink.take();
  std::vector<uint64_t> rounds;
  std::vector<double> rounds_s;
  for (const auto& round : profile.rounds) {
    rounds.push_back(round.pages);
    rounds_s.push_back(to_seconds(round.took));
  }
  say(fmt::format(R"({{"event":"profile","s":{:.3f},"complete":{},"written":{},"zero":{},)"
                  R"("rounds":[{}],"rounds_s":[{:.3f}],"packed_ratio":{:.3f},)"
                  R"("delta_ratio":{:.3f},"delta_samples":{}}})",
                  to_seconds(clock.now() - began), is_complete, profile.written_pages(),
                  profile.zero_pages, fmt::join(rounds, ","), fmt::join(rounds_s, ","),
                  profile.packed_ratio, profile.delta_ratio, profile.delta_samples));
  // Read on: a QEMU that is about to complete holds its lock while it writes, and cannot cancel.
  while (true) {
    const auto count = stream.read_some(bytes);
    if (!count || *count == 0) break;
  }
  return profile;
}

int run(const Options& options) {
  migrate::MemoryProfile profile;
  auto source = os::listen_unix(options.source);
  if (!source) {
    fmt::print(stderr, "migrate_relay: {}\n", source.error().message);
    return 1;
  }
  if (!options.profile.empty()) {
    auto listener = os::listen_unix(options.profile);
    if (!listener) return 1;
    say(R"({"event":"listening"})");
    profile = read_profile(*listener);
  } else {
    say(R"({"event":"listening"})");
  }
  auto accepted = os::accept_connection(source->get(), 120s);
  if (!accepted) return 1;
  auto target = os::connect_unix(options.target);
  if (!target) {
    fmt::print(stderr, "migrate_relay: {}\n", target.error().message);
    return 1;
  }
  Relay relay(options, std::move(profile));
  relay.run(std::move(*accepted), std::move(*target));
  return 0;
}

}  // namespace
}  // namespace forerun

int main(int argc, char** argv) {
  forerun::Options options;
  CLI::App app("Two halves of a migration's proxy with a slow link between them.");
  app.add_option("--mode", options.mode, "raw, auto, keep, hold, send")->capture_default_str();
  app.add_option("--profile", options.profile, "socket of the sink");
  app.add_option("--source", options.source, "socket to listen on for the source")->required();
  app.add_option("--target", options.target, "socket of the target")->required();
  app.add_option("--rate-mbit", options.rate_mbit)->capture_default_str();
  app.add_option("--delay-ms", options.delay_ms, "one way")->capture_default_str();
  app.add_flag("--no-compression", options.no_compression);
  app.add_flag("--no-injection", options.no_injection);
  CLI11_PARSE(app, argc, argv);
  return forerun::run(options);
}
