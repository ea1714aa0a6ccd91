// Sequential streams, many interleaved, each with its own depth and its own trigger.
// SOURCE: AMP: Gill and Bathen, "Adaptive Multi-stream Prefetching in a Shared Storage Cache",
// FAST'07: degree p of a stream grows while its prefetches are used, trigger distance g grows when
// one of them came late. Changed: no evictions are seen here, so p shrinks when a stream that was
// read ahead of skips or dies; small forward gaps continue a stream (a fault of a mapped file reads
// a window around it, and skips what is cached); confidence is said per run length.
#pragma once

#include <vector>

#include "predict/model.h"

namespace forerun::predict {

// One thread.
class SequentialModel final : public Model {
 public:
  struct Options {
    uint32_t streams_max = 64;  // the one idle longest is replaced
    uint32_t gap_max = 2;       // blocks a stream may skip forward
    uint32_t degree_first = 2;  // blocks ahead of a new stream
    uint32_t degree_max = 32;
    // A request is many blocks: the degree follows the size of requests and how many there were,
    // the trigger is half of it, and what is said is told apart by both.
    bool is_fine = false;
  };
  // Returns the options for blocks of this size: below 64 KiB the fine kind.
  static Options for_blocks(uint32_t block_bytes);
  SequentialModel();
  explicit SequentialModel(Options options);

  std::string_view name() const override { return "sequential"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  void on_end(Time now) override;
  size_t state_bytes() const override {
    return streams_.capacity() * (sizeof(Stream) + sizeof(uint64_t));
  }

 private:
  struct Stream {
    ComponentId component;
    uint64_t next = 0;              // first block after what was read
    uint64_t ahead = 0;             // first block not yet said
    uint32_t run = 0;               // blocks read, gaps included
    uint32_t steps = 0;             // accesses that continued it
    uint32_t degree = 0;            // p
    uint32_t trigger = 0;           // g: blocks before `ahead` at which the next ones are said
    uint32_t older = 0, newer = 0;  // places in the order of use, which closes to a ring
    Time last_at{};
    float pace_s = 0;  // mean seconds per block
  };
  Stream* match(const trace::Access& access);
  void advance(Stream& stream, const trace::Access& access);
  void say(Stream& stream, const trace::Access& access, std::vector<Candidate>& out);
  void say_fine(Stream& stream, const trace::Access& access, std::vector<Candidate>& out);

  // Makes it the one used last. It is in the ring already if `is_linked`.
  void touch(uint32_t place, bool is_linked);

  Options options_;
  std::vector<Stream> streams_;
  std::vector<uint64_t> nexts_;  // theirs, together: every access looks at all of them
  uint32_t oldest_ = 0;
};

}  // namespace forerun::predict
