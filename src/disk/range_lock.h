// Orders overlapping writes without holding a mutex across their I/O: a list of the ranges in
// flight, in order of arrival. A range waits for every earlier one that it overlaps, so none
// starves.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace forerun::disk {

// Thread-safe. As many entries as there are threads inside; so a linear list is the fastest.
class RangeLock {
 public:
  class Guard {
   public:
    Guard(RangeLock& lock, uint64_t first, uint64_t end)
        : lock_(lock), ticket_(lock.acquire(first, end)) {}
    ~Guard() { lock_.release(ticket_); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    RangeLock& lock_;
    uint64_t ticket_;
  };

 private:
  struct Entry {
    uint64_t first = 0, end = 0, ticket = 0;
  };

  uint64_t acquire(uint64_t first, uint64_t end) {
    std::unique_lock lock(mutex_);
    const uint64_t ticket = next_ticket_++;
    entries_.push_back({first, end, ticket});
    if (is_blocked(first, end, ticket)) {
      ++waiting_;
      freed_.wait(lock, [&] { return !is_blocked(first, end, ticket); });
      --waiting_;
    }
    return ticket;
  }

  void release(uint64_t ticket) {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      const auto entry =
          std::ranges::find_if(entries_, [&](const Entry& each) { return each.ticket == ticket; });
      *entry = entries_.back();
      entries_.pop_back();
      wake = waiting_ > 0;
    }
    if (wake) freed_.notify_all();
  }

  bool is_blocked(uint64_t first, uint64_t end, uint64_t ticket) const {
    return std::ranges::any_of(entries_, [&](const Entry& each) {
      return each.ticket < ticket && each.first < end && first < each.end;
    });
  }

  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<Entry> entries_;
  uint64_t next_ticket_ = 0;
  uint64_t waiting_ = 0;
};

}  // namespace forerun::disk
