// Stands between two QEMUs that migrate a guest: a slow link with Forerun's sender and receiver at
// its ends, or, with --mode raw, the link alone. With --profile, a pre-copy into a sink is read
// first. The connection can be cut once. Says what happens as lines of JSON.
#include <CLI/CLI.hpp>

#include <condition_variable>
#include <cstdio>
#include <ctime>
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
  std::string mode = "auto", profile, source, target, target_again;
  double rate_mbit = 200, delay_ms = 2;
  bool is_precopy = false, no_compression = false, no_injection = false;
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
    while (!bytes.empty() && !is_cut_) {
      while ((!lane_.admits(clock_.now()) || under_way_ >= kWindow) && !is_cut_)
        changed_.wait_for(lock,
                          std::max<Nanos>(lane_.admits_at(clock_.now()) - clock_.now(), 50us));
      const size_t count = std::min<size_t>(bytes.size(), 8 * kKiB);
      lane_.push(0, Buffer(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count)), false,
                 clock_.now());
      under_way_ += count;
      bytes = bytes.subspan(count);
      changed_.notify_all();
    }
  }
  void end() {
    std::lock_guard lock(mutex_);
    lane_.push(0, {}, true, clock_.now());
    changed_.notify_all();
  }
  // What is under way is lost, and nothing more goes through.
  void cut() {
    std::lock_guard lock(mutex_);
    is_cut_ = true;
    changed_.notify_all();
  }
  // Returns what arrives next; empty: the end.
  Buffer pop() {
    std::unique_lock lock(mutex_);
    while (true) {
      if (is_cut_) return {};
      if (auto segment = lane_.pop_due(clock_.now())) {
        under_way_ -= segment->data.size();
        changed_.notify_all();
        return std::move(segment->data);
      }
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
  // A receiver that is slower than the link stops the sender, as TCP's window does.
  static constexpr size_t kWindow = 256 * kKiB;
  size_t under_way_ = 0;
  bool is_cut_ = false;
};

// What a socket's buffer holds between the proxy and the link, so that both work at a time.
class SendBuffer {
 public:
  void push(Buffer bytes) {
    if (bytes.empty()) return;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return held_bytes_ < kBytesMax || is_ended_; });
    if (is_ended_) return;
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

// The two halves, which outlive a connection.
class Halves {
 public:
  Halves(const Options& options, const migrate::MemoryProfile& profile)
      : is_raw_(options.mode == "raw"),
        sender_(sender_options(options, profile), profile, clock_),
        receiver_({}) {}

  Buffer begin(bool is_resumed) {
    migrate::SenderOutput out;
    if (is_raw_) return {};
    if (is_resumed) {
      check(sender_.resume(out), "sender");
      receiver_.resume();
    } else {
      sender_.begin(out);
      began_ = clock_.now();
    }
    return std::move(out.to_peer);
  }
  // Each returns what goes to the other host; what goes to the source's QEMU is written to it.
  Buffer from_source(ByteView bytes, os::SocketStream& source) {
    bytes_ += bytes.size();
    if (is_raw_) return {bytes.begin(), bytes.end()};
    return by_sender(source, [&](auto& out) { return sender_.from_qemu(bytes, out); });
  }
  Buffer from_peer(ByteView bytes, os::SocketStream& source) {
    if (is_raw_) {
      (void)source.write_bytes(bytes);
      return {};
    }
    return by_sender(source, [&](auto& out) { return sender_.from_peer(bytes, out); });
  }
  Buffer tick(os::SocketStream& source) {
    if (is_raw_) return {};
    return by_sender(source, [&](auto& out) { return sender_.tick(out); });
  }
  // Returns what goes to the target's QEMU.
  Buffer to_target(Buffer bytes) {
    if (is_raw_) return bytes;
    std::lock_guard lock(receiver_mutex_);
    Buffer to_qemu;
    check(receiver_.from_peer(bytes, to_qemu), "receiver");
    if (!said_arrival_ && receiver_.stats().is_postcopy) {
      said_arrival_ = true;
      say(fmt::format(R"({{"event":"switch_arrived","s":{:.3f}}})", elapsed()));
    }
    return to_qemu;
  }
  Buffer from_target(ByteView bytes) {
    if (is_raw_) return {bytes.begin(), bytes.end()};
    std::lock_guard lock(receiver_mutex_);
    Buffer to_peer;
    check(receiver_.from_qemu_return(bytes, to_peer), "return path");
    return to_peer;
  }
  std::string report();
  bool is_raw() const { return is_raw_; }

 private:
  static migrate::MemorySender::Options sender_options(const Options& options,
                                                       const migrate::MemoryProfile& profile) {
    using migrate::HotPages;
    const HotPages hot = options.mode == "keep"   ? HotPages::kKeep
                         : options.mode == "hold" ? HotPages::kHold
                         : options.mode == "send" ? HotPages::kSend
                                                  : migrate::hot_pages_for(profile);
    return {.hot = hot,
            .switches = !options.is_precopy,
            .compress = !options.no_compression,
            .inject = !options.no_injection,
            // The daemon measures it before.
            .link_bytes_per_s = options.rate_mbit * 1e6 / 8};
  }
  template <typename Step>
  Buffer by_sender(os::SocketStream& source, Step step) {
    std::lock_guard lock(mutex_);
    migrate::SenderOutput out;
    check(step(out), "sender");
    if (!out.to_qemu.empty()) (void)source.write_bytes(out.to_qemu);
    announce();
    return std::move(out.to_peer);
  }
  void announce() {
    if (!said_due_ && sender_.first_pass_is_done()) {
      said_due_ = true;
      say(fmt::format(R"({{"event":"switch_is_due","s":{:.3f}}})", elapsed()));
    }
    if (!said_switch_ && sender_.is_postcopy()) {
      said_switch_ = true;
      say(fmt::format(R"({{"event":"switched","s":{:.3f}}})", elapsed()));
    }
  }
  double elapsed() const { return to_seconds(clock_.now() - began_); }

  const bool is_raw_;
  const os::SystemClock clock_;
  std::mutex mutex_, receiver_mutex_;
  migrate::MemorySender sender_;
  migrate::MemoryReceiver receiver_;
  std::atomic<uint64_t> bytes_{0};
  Time began_{};
  bool said_due_ = false, said_switch_ = false, said_arrival_ = false;
};

std::string Halves::report() {
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
      {"link_bytes_per_s", static_cast<uint64_t>(stats.link_bytes_per_s)},
      {"cpu_ms", static_cast<uint64_t>(std::clock()) * 1000 / CLOCKS_PER_SEC}};
  for (const auto& [name, count] : counts) said += fmt::format(R"(,"{}":{})", name, count);
  return said + "}";
}

// One connection between the halves, from the QEMUs' sockets on.
class Session {
 public:
  Session(const Options& options, Halves& halves, os::Fd source, os::Fd target)
      : halves_(halves),
        forward_({.rate_bytes_per_s = static_cast<uint64_t>(options.rate_mbit * 1e6 / 8),
                  .delay = from_seconds(options.delay_ms / 1000)},
                 clock_),
        back_({.delay = from_seconds(options.delay_ms / 1000)}, clock_),
        source_(std::move(source)),
        target_(std::move(target)) {}

  // Returns when the source's stream has ended, and all of it was handed over, or after cut().
  void run(bool is_resumed) {
    send_buffer_.push(halves_.begin(is_resumed));
    std::vector<std::thread> threads;
    threads.emplace_back([this] { send_buffer_.pump(forward_); });
    threads.emplace_back([this] { read_target(); });
    threads.emplace_back([this] { deliver_back(); });
    threads.emplace_back([this] { tick_often(); });
    std::thread deliver([this] { deliver_forward(); });
    read_source();
    send_buffer_.end();
    deliver.join();
    if (!is_cut_) {
      say(halves_.report());
      std::_Exit(0);  // the others wait for sockets that no one closes
    }
    for (std::thread& thread : threads) thread.join();
  }
  void cut() {
    is_cut_ = true;
    forward_.cut();
    back_.cut();
    send_buffer_.end();
    source_.shut_down();
    target_.shut_down();
  }

 private:
  // What several threads have the sender say leaves in the order in which it was said: both halves
  // keep tables in step.
  template <typename Say>
  void pass_on(Say say) {
    const std::lock_guard lock(order_);
    send_buffer_.push(say());
  }
  void read_source() {
    Buffer bytes(128 * kKiB);
    while (true) {
      const auto count = source_.read_some(bytes);
      if (!count || *count == 0) return;
      const ByteView read = ByteView(bytes).first(*count);
      // QEMU's own socket is buffer enough.
      if (halves_.is_raw())
        forward_.push(halves_.from_source(read, source_));
      else
        pass_on([&] { return halves_.from_source(read, source_); });
    }
  }
  void deliver_forward() {
    while (true) {
      Buffer bytes = forward_.pop();
      if (bytes.empty() || !target_.write_bytes(halves_.to_target(std::move(bytes)))) return;
    }
  }
  void read_target() {
    Buffer bytes(64 * kKiB);
    while (true) {
      const auto count = target_.read_some(bytes);
      if (!count || *count == 0) return;
      back_.push(halves_.from_target(ByteView(bytes).first(*count)));
    }
  }
  void deliver_back() {
    while (true) {
      const Buffer bytes = back_.pop();
      if (bytes.empty()) return;
      pass_on([&] { return halves_.from_peer(bytes, source_); });
    }
  }
  void tick_often() {
    while (!is_cut_) {
      std::this_thread::sleep_for(2ms);
      pass_on([&] { return halves_.tick(source_); });
    }
  }

  Halves& halves_;
  const os::SystemClock clock_;
  Direction forward_, back_;
  SendBuffer send_buffer_;
  std::mutex order_;  // held while something is said and put into the buffer
  os::SocketStream source_, target_;
  std::atomic<bool> is_cut_{false};
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
  Halves halves(options, profile);
  std::vector<std::string> targets{options.target};
  if (!options.target_again.empty()) targets.push_back(options.target_again);
  for (size_t i = 0; i < targets.size(); ++i) {
    auto accepted = os::accept_connection(source->get(), 120s);
    if (!accepted) return 1;
    auto target = os::connect_unix(targets[i]);
    if (!target) {
      fmt::print(stderr, "migrate_relay: {}\n", target.error().message);
      return 1;
    }
    Session session(options, halves, std::move(*accepted), std::move(*target));
    std::thread cutter;
    if (i + 1 < targets.size())
      cutter = std::thread([&] {
        std::string line;
        if (std::getline(std::cin, line)) session.cut();
      });
    session.run(i > 0);
    if (cutter.joinable()) cutter.join();
    say(R"({"event":"cut"})");
  }
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
  app.add_option("--target-again", options.target_again,
                 "socket of the target after a line on standard input cut the connection");
  app.add_option("--rate-mbit", options.rate_mbit)->capture_default_str();
  app.add_option("--delay-ms", options.delay_ms, "one way")->capture_default_str();
  app.add_flag("--precopy", options.is_precopy, "no switch to post-copy will come");
  app.add_flag("--no-compression", options.no_compression);
  app.add_flag("--no-injection", options.no_injection);
  CLI11_PARSE(app, argc, argv);
  return forerun::run(options);
}
