// Asks the source for pages that the guest at the target will touch, in its name, from the switch
// to post-copy on: QEMU cannot tell such a request from the guest's own. It serves requests in
// their order and knows no cancelling, so only so many are outstanding as keep its queue from
// running dry; what is not asked for yet can be dropped or put behind better ideas.
//
// SOURCE: adaptive pre-paging around faults: Hines, Gopalan, "Post-copy based live virtual machine
// migration using adaptive pre-paging", VEE'09. Changed: what is known to be hot goes first, and
// models of predict/ follow the faults.
#pragma once

#include <deque>
#include <memory>
#include <unordered_set>
#include <vector>

#include "core/time.h"
#include "migrate/page_tables.h"
#include "migrate/return_path.h"
#include "predict/model.h"

namespace forerun::migrate {

struct RankedPage {
  PageKey page;
  float confidence = 0;  // that the guest touches it soon, in (0, 1)
  bool operator==(const RankedPage&) const = default;
};

struct InjectorStats {
  uint64_t requested = 0;   // pages, by the guest
  uint64_t unforeseen = 0;  // of them, those that nobody had asked for or ranked
  uint64_t injected = 0;    // pages, by the injector
  uint64_t late = 0;        // of them, those the guest asked for while they were on their way
  uint64_t foreseen = 0;    // of `injected`, those that a model named after faults
  uint64_t cancelled = 0;   // ranked pages that were given up
  bool operator==(const InjectorStats&) const = default;
};

// One thread. Memory: two bits a page, the ranked pages, and the models'.
class PageInjector {
 public:
  struct Options {
    // Bytes on the way from QEMU to the link: its socket's buffer, and its own.
    uint64_t socket_bytes = 240 * kKiB;
    // How long a request is under way within the host.
    Nanos turnaround = 8ms;
    uint64_t outstanding_max = 1024;  // pages
    uint64_t run_pages_max = 32;      // of one request
    size_t foreseen_max = 512;        // pages that models named and nobody asked for yet
    float confidence_min = 0.15f;
  };
  PageInjector() : PageInjector(Options{}) {}
  explicit PageInjector(Options options);
  ~PageInjector();

  void set_blocks(const std::vector<RamBlock>& blocks);
  // Pages that the target has, and those of them that are out of date at the switch.
  void on_sent(PageKey page);
  void on_discard(uint32_t block, const ByteRange& range);
  // The guest runs at the target now; `ranked`: surest first.
  void start(std::vector<RankedPage> ranked);
  // The guest asked. Appends nothing: the request itself is the caller's to pass on.
  void on_request(Time now, const PageRequest& request);
  // Appends what to ask for now, at this rate of the link: neighbours as one request.
  void pull(double link_bytes_per_s, std::vector<PageRequest>& out);
  // The source lost what it was asked: a cut. What is to come is asked for again after start().
  void reset();

  bool was_sent(PageKey page) const;
  uint64_t outstanding() const { return outstanding_.size(); }
  // Returns how many pages may be outstanding at this rate.
  uint64_t window(double link_bytes_per_s) const;
  const InjectorStats& stats() const { return stats_; }

 private:
  bool is_wanted(PageKey page) const;
  std::optional<PageKey> next();
  void foresee(Time now, PageKey page);
  void judge(bool was_ranked);

  const Options options_;
  std::vector<RamBlock> blocks_;
  std::vector<std::vector<bool>> sent_, is_ranked_;  // by block and page
  std::vector<RankedPage> ranked_;
  size_t next_ranked_ = 0;
  std::deque<PageKey> foreseen_;  // by models, after faults
  std::unordered_set<PageKey> outstanding_, requested_;
  std::vector<std::unique_ptr<predict::Model>> models_;
  float ranked_worth_ = 1;  // share of late faults that the ranking had; it decides who goes first
  bool is_started_ = false;
  InjectorStats stats_;
};

}  // namespace forerun::migrate
