#include "sim/guest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace forerun::sim {

Guest::Guest(uint64_t seed, Options options, EventLoop& loop, GuestHooks& hooks,
             const SimImage& image)
    : options_(options),
      loop_(loop),
      hooks_(hooks),
      image_(image),
      rng_(seed),
      oracle_(options.number, image.content) {}

void Guest::spawn(std::function<void()> body) {
  fibers_.push_back(std::make_unique<Fiber>(std::move(body)));
  loop_.after(0ns, EventKind::kGuest, options_.number,
              [fiber = fibers_.back().get()] { fiber->resume(); });
}

void Guest::sleep(Nanos span) {
  loop_.after(span, EventKind::kGuest, options_.number,
              [fiber = Fiber::current()] { fiber->resume(); });
  Fiber::suspend();
}

bool Guest::is_quiet() {
  std::erase_if(fibers_, [](const auto& fiber) { return fiber->is_finished(); });
  return fibers_.empty();
}

void Guest::power_on() {
  FR_ASSERT(!is_on_ && is_quiet());
  is_on_ = true;
  spawn([this, incarnation = incarnation_] { live(incarnation); });
}

void Guest::power_off() {
  ++incarnation_;
  is_on_ = false;
  workers_busy_ = 0;
  writing_.clear();
  oracle_.lose_power();
}

VmDisk* Guest::await_disk(uint64_t incarnation) {
  while (!is_gone(incarnation)) {
    if (VmDisk* disk = hooks_.disk(options_.number)) return disk;
    sleep(Nanos(rng_.between(1'000'000, 20'000'000)));
  }
  return nullptr;
}

std::optional<Guest::End> Guest::on_error(const Error& error, uint64_t incarnation,
                                          const char* what) {
  if (is_gone(incarnation) || hooks_.is_power_off()) return End::kGone;
  if (hooks_.disk(options_.number) == nullptr) {  // the daemon went away with the request
    ++stats_.resent;
    return std::nullopt;
  }
  ++stats_.errors;
  if (!hooks_.is_failure_excused(options_.number, error)) {
    hooks_.violate(fmt::format("guest {}: a {} failed though nothing was wrong: {}",
                               options_.number, what, error.message));
  }
  return End::kFailed;
}

Guest::End Guest::read(uint64_t incarnation, ByteRange range) {
  const DiskOracle::Read expected = oracle_.begin_read(range);
  for (;;) {
    VmDisk* disk = await_disk(incarnation);
    if (disk == nullptr) return End::kGone;
    const Result<Buffer> answer = disk->read(range);
    if (!answer) {
      const auto end = on_error(answer.error(), incarnation, "read");
      if (!end) continue;
      if (*end == End::kFailed) oracle_.abandon(expected);
      return *end;
    }
    if (is_gone(incarnation)) return End::kGone;
    ++stats_.reads;
    stats_.read_bytes += answer->size();
    uint64_t first_word = 0;
    std::memcpy(&first_word, answer->data(), std::min(sizeof first_word, answer->size()));
    loop_.note(first_word);
    if (const auto wrong = oracle_.check(expected, *answer)) {
      hooks_.violate(fmt::format("guest {}: {}", options_.number, *wrong));
    }
    return End::kDone;
  }
}

Guest::End Guest::write(uint64_t incarnation, ByteRange range, bool is_zeroes) {
  const bool is_durable = rng_.chance(0.1);
  const bool may_punch = rng_.chance(0.5);
  const DiskOracle::Write write = oracle_.begin_write(range, is_zeroes);
  writing_.push_back(range);
  End end = End::kDone;
  for (;;) {
    VmDisk* disk = await_disk(incarnation);
    if (disk == nullptr) return End::kGone;
    const uint64_t run = hooks_.daemon_run();
    const Status status = is_zeroes ? disk->write_zeroes(range, may_punch, is_durable)
                                    : disk->write(range.offset, write.data, is_durable);
    if (!status) {
      const auto failed = on_error(status.error(), incarnation, "write");
      if (!failed) continue;
      if (*failed == End::kGone) return End::kGone;
      oracle_.fail(write);
      end = End::kFailed;
      break;
    }
    if (is_gone(incarnation)) return End::kGone;
    sleep(Nanos(rng_.between(10'000, 200'000)));  // until the answer has come
    if (is_gone(incarnation)) return End::kGone;
    if (run != hooks_.daemon_run()) continue;  // it never came
    oracle_.acknowledge(write, is_durable);
    ++(is_zeroes ? stats_.trims : stats_.writes);
    break;
  }
  std::erase(writing_, range);
  return end;
}

Guest::End Guest::flush(uint64_t incarnation) {
  const DiskOracle::Flush flush = oracle_.begin_flush();
  for (;;) {
    VmDisk* disk = await_disk(incarnation);
    if (disk == nullptr) return End::kGone;
    const uint64_t run = hooks_.daemon_run();
    const Status status = disk->flush();
    if (!status) {
      const auto failed = on_error(status.error(), incarnation, "flush");
      if (!failed) continue;
      if (*failed == End::kFailed) {
        oracle_.fail(flush);
        hooks_.on_flush_failed(options_.number);
      }
      return *failed;
    }
    sleep(Nanos(rng_.between(10'000, 500'000)));
    if (is_gone(incarnation)) return End::kGone;
    if (run != hooks_.daemon_run()) continue;
    oracle_.acknowledge(flush);
    ++stats_.flushes;
    return End::kDone;
  }
}

Guest::End Guest::ask_status(uint64_t incarnation) {
  VmDisk* disk = await_disk(incarnation);
  if (disk == nullptr) return End::kGone;
  const ByteRange range = random_range(kOracleSector, 512);
  std::vector<disk::StatusExtent> extents;
  disk->block_status(range, extents);
  uint64_t covered = 0;
  for (const disk::StatusExtent& extent : extents) {
    if (extent.length == 0) hooks_.violate("an extent of no bytes");
    covered += extent.length;
  }
  if (covered == 0 || covered > range.length || (extents.size() < 64 && covered != range.length)) {
    hooks_.violate(fmt::format("block status covers {} of {} bytes", covered, range.length));
  }
  return End::kDone;
}

ByteRange Guest::random_range(uint64_t unit, uint64_t units_max) {
  const uint64_t units = oracle_.size_bytes() / unit;
  uint64_t at = rng_.below(units);
  if (rng_.chance(0.7)) at = std::min(units - 1, hot_at_ / unit + rng_.below(128 * kKiB / unit));
  // Mostly small ones.
  const uint64_t length_max = rng_.chance(0.8) ? std::min<uint64_t>(units_max, 16) : units_max;
  return {at * unit, std::min(rng_.between(1, length_max), units - at) * unit};
}

Guest::End Guest::read_something(uint64_t incarnation) {
  if (rng_.chance(0.1)) {  // a scan
    const uint64_t step = 32 * kKiB;
    uint64_t at = rng_.below(oracle_.size_bytes() / step) * step;
    for (int i = 0; i < 6 && at + step <= oracle_.size_bytes(); ++i, at += step) {
      if (const End end = read(incarnation, {at, step}); end != End::kDone) return end;
    }
    return End::kDone;
  }
  ByteRange range = random_range(kOracleSector, 256);
  if (rng_.chance(0.2) && range.length > 100) {  // not aligned to anything
    range = {range.offset + rng_.below(50), range.length - rng_.between(50, 99)};
  }
  return read(incarnation, range);
}

Guest::End Guest::write_something(uint64_t incarnation) {
  const ByteRange range = random_range(kOracleSector, 128);
  const auto is_in_the_way = [&](const ByteRange& other) { return other.overlaps(range); };
  if (std::ranges::any_of(writing_, is_in_the_way)) return End::kDone;
  return write(incarnation, range, rng_.chance(0.2));
}

void Guest::work(uint64_t incarnation, uint64_t requests) {
  for (uint64_t i = 0; i < requests && !is_winding_down_; ++i) {
    sleep(
        Nanos(static_cast<int64_t>(rng_.below(2 * static_cast<uint64_t>(options_.think.count())))));
    if (is_gone(incarnation)) return;
    const uint64_t choice = rng_.below(100);
    End end = End::kDone;
    if (choice < 45)
      end = read_something(incarnation);
    else if (choice < 83)
      end = write_something(incarnation);
    else if (choice < 97)
      end = flush(incarnation);
    else
      end = ask_status(incarnation);
    if (end == End::kGone) return;
  }
  --workers_busy_;
}

// What the guest's file system does after a crash: looks at what is there.
Guest::End Guest::check_survivors(uint64_t incarnation) {
  for (const ByteRange& range : oracle_.written_ranges()) {
    const End end = read(incarnation, range);
    if (end == End::kGone) return end;
  }
  return End::kDone;
}

Guest::End Guest::boot(uint64_t incarnation) {
  for (const ByteRange& range : image_.boot) {
    if (rng_.chance(0.05)) continue;  // no two boots are quite the same
    if (rng_.chance(0.05) && read_something(incarnation) == End::kGone) return End::kGone;
    if (read(incarnation, range) == End::kGone) return End::kGone;
    sleep(Nanos(rng_.between(100'000, 5'000'000)));
    if (is_gone(incarnation)) return End::kGone;
  }
  ++stats_.boots_finished;
  return End::kDone;
}

Guest::End Guest::session(uint64_t incarnation) {
  if (await_disk(incarnation) == nullptr) return End::kGone;
  hooks_.start_session(options_.number);
  ++stats_.sessions;
  hot_at_ = rng_.below(oracle_.size_bytes());
  if (check_survivors(incarnation) == End::kGone) return End::kGone;
  if (boot(incarnation) == End::kGone) return End::kGone;
  workers_busy_ = options_.workers;
  const uint64_t requests = rng_.between(20, 150);
  for (uint32_t i = 1; i < options_.workers; ++i) {
    spawn([this, incarnation, requests] { work(incarnation, requests); });
  }
  work(incarnation, requests);
  while (!is_gone(incarnation) && workers_busy_ > 0) sleep(1ms);
  if (is_gone(incarnation) || flush(incarnation) == End::kGone) return End::kGone;
  if (await_disk(incarnation) == nullptr) return End::kGone;
  hooks_.end_session(options_.number);
  return End::kDone;
}

void Guest::live(uint64_t incarnation) {
  while (!is_winding_down_) {
    if (session(incarnation) == End::kGone) return;
    sleep(Nanos(rng_.between(1'000'000, 300'000'000)));
    if (is_gone(incarnation)) return;
  }
  is_on_ = false;
}

void Guest::verify_everything() {
  spawn([this, incarnation = incarnation_] {
    for (uint64_t at = 0; at < oracle_.size_bytes(); at += 128 * kKiB) {
      const uint64_t length = std::min<uint64_t>(128 * kKiB, oracle_.size_bytes() - at);
      if (read(incarnation, {at, length}) != End::kDone) {
        hooks_.violate(fmt::format("guest {}: cannot read its disk at the end", options_.number));
      }
    }
  });
}

}  // namespace forerun::sim
