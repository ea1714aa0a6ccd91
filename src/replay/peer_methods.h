// What others do, simplified, to compare with: of each the published idea, not the authors' code.
// They issue whatever they say, as theirs do.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <unordered_map>

#include "replay/block_method.h"

namespace forerun::replay {

// One block lookahead: always the block after the request.
class OneBlockLookahead final : public BlockMethod {
 public:
  std::string_view name() const override { return "obl"; }
  void on_read(const BlockAccess& access, bool is_hit, double now_us,
               std::vector<BlockRun>& out) override;
  size_t state_bytes() const override { return 0; }
};

// Readahead as Linux does it: 64 streams, the one idle longest is replaced; a window that doubles
// from 4 to 32 blocks, asked for when the last one's mark is passed.
class Readahead final : public BlockMethod {
 public:
  std::string_view name() const override { return "readahead"; }
  void on_read(const BlockAccess& access, bool is_hit, double now_us,
               std::vector<BlockRun>& out) override;
  size_t state_bytes() const override { return streams_.capacity() * sizeof(Stream); }

 private:
  static constexpr size_t kStreamsMax = 64;
  static constexpr uint64_t kGapMax = 64;
  static constexpr uint32_t kWindowFirst = 4, kWindowMax = 32;
  struct Stream {
    uint64_t next = 0, mark = 0, end = 0;
    uint32_t window = 0;
    uint64_t used_at = 0;
  };
  std::vector<Stream> streams_;
  uint64_t reads_ = 0;
};

// The majority delta of the last 4, 8, 16 or 32 requests; a window that doubles on a hit and halves
// on a miss. SOURCE: Al Maruf, Chowdhury, "Effectively Prefetching Remote Memory with Leap",
// ATC'20.
class LeapPeer final : public BlockMethod {
 public:
  std::string_view name() const override { return "leap"; }
  void on_read(const BlockAccess& access, bool is_hit, double now_us,
               std::vector<BlockRun>& out) override;
  size_t state_bytes() const override { return sizeof(*this); }

 private:
  static constexpr size_t kHistory = 32;
  static constexpr uint32_t kWindowMax = 8;
  std::optional<int64_t> majority() const;
  std::deque<int64_t> deltas_;
  std::optional<uint64_t> last_;
  uint32_t window_ = 1;
};

// The two most frequent successors of a request's start, each once it was seen.
// SOURCE: Joseph, Grunwald, "Prefetching using Markov predictors", ISCA'97.
class MarkovPeer final : public BlockMethod {
 public:
  std::string_view name() const override { return "markov1"; }
  void on_read(const BlockAccess& access, bool is_hit, double now_us,
               std::vector<BlockRun>& out) override;
  size_t state_bytes() const override;

 private:
  struct Successor {
    uint64_t block = 0;
    uint32_t block_count = 0, seen = 0;
  };
  std::unordered_map<uint64_t, std::vector<Successor>> successors_;
  std::optional<uint64_t> last_;
};

// Pairs of misses within a window of 20, said once seen twice, at most two per request.
// SOURCE: Yang et al., "MITHRIL: mining sporadic associations for cache prefetching", SoCC'17; its
// spirit, with an unbounded table.
class MithrilPeer final : public BlockMethod {
 public:
  std::string_view name() const override { return "mithril"; }
  void on_read(const BlockAccess& access, bool is_hit, double now_us,
               std::vector<BlockRun>& out) override;
  size_t state_bytes() const override;

 private:
  static constexpr size_t kWindow = 20, kPartnersMax = 16;
  static constexpr uint32_t kSupport = 2;
  struct Partner {
    uint64_t block = 0;
    uint32_t block_count = 0, seen = 0;
  };
  std::unordered_map<uint64_t, std::vector<Partner>> partners_;
  std::deque<BlockAccess> misses_;
};

// What both say, unweighed.
class UnionPeer final : public BlockMethod {
 public:
  std::string_view name() const override { return "union"; }
  void on_read(const BlockAccess& access, bool is_hit, double now_us,
               std::vector<BlockRun>& out) override;
  size_t state_bytes() const override { return a_.state_bytes() + b_.state_bytes(); }

 private:
  Readahead a_;
  MithrilPeer b_;
};

// The next reads of the trace itself: 64 of them, of at most a quarter of the cache. Over the same
// link as the others.
class Oracle final : public BlockMethod {
 public:
  explicit Oracle(const BlockMethodNeeds& needs)
      : trace_(needs.trace), blocks_max_(std::max<size_t>(1, needs.cache_blocks / 4)) {}
  std::string_view name() const override { return "oracle"; }
  void on_read(const BlockAccess& access, bool is_hit, double now_us,
               std::vector<BlockRun>& out) override;
  void on_write(const BlockAccess& access, double now_us) override;
  size_t state_bytes() const override { return trace_.size_bytes(); }

 private:
  static constexpr size_t kReads = 64;
  std::span<const BlockAccess> trace_;
  size_t blocks_max_;
  size_t next_ = 0;  // the request after the one being looked at
};

}  // namespace forerun::replay
