#include "migrate/page_injector.h"

#include <algorithm>

#include "predict/markov.h"
#include "predict/stride.h"

namespace forerun::migrate {
namespace {

// A fault tells little of the ranking: what it had right does not fault. So only a long row of
// faults that it did not have speaks against it.
constexpr float kWorthForget = 1.0f / 24;
constexpr float kWorthMin = 0.1f;
// A guest waits for few pages at a time; more are a peer's fancy.
constexpr size_t kRequestedMax = 65536;

}  // namespace

PageInjector::PageInjector(Options options) : options_(options) {
  models_.push_back(std::make_unique<predict::StrideModel>(
      predict::StrideModel::Options{.streams_max = 8, .ahead_max = 64}));
  models_.push_back(std::make_unique<predict::MarkovModel>(
      predict::MarkovModel::Options{.contexts_max = 1 << 13}));
}
PageInjector::~PageInjector() = default;

void PageInjector::set_blocks(const std::vector<RamBlock>& blocks) {
  blocks_ = blocks;
  sent_.clear();
  is_ranked_.clear();
  for (const RamBlock& block : blocks) {
    sent_.emplace_back(block.used_bytes / kPageBytes, false);
    is_ranked_.emplace_back(block.used_bytes / kPageBytes, false);
  }
}

bool PageInjector::was_sent(PageKey page) const {
  return sent_[page.block()][page.offset() / kPageBytes];
}

void PageInjector::on_sent(PageKey page) {
  sent_[page.block()][page.offset() / kPageBytes] = true;
  outstanding_.erase(page);
  requested_.erase(page);
}

void PageInjector::on_discard(uint32_t block, const ByteRange& range) {
  for (uint64_t at = range.offset; at < range.end(); at += kPageBytes)
    sent_[block][at / kPageBytes] = false;
}

void PageInjector::start(std::vector<RankedPage> ranked) {
  ranked_ = std::move(ranked);
  next_ranked_ = 0;
  std::erase_if(ranked_, [&](const RankedPage& page) {
    return page.page.block() >= blocks_.size() ||
           !fits({page.page.offset(), kPageBytes}, blocks_[page.page.block()].used_bytes);
  });
  for (const RankedPage& page : ranked_)
    is_ranked_[page.page.block()][page.page.offset() / kPageBytes] = true;
  is_started_ = true;
}

void PageInjector::reset() {
  outstanding_.clear();
  requested_.clear();
  foreseen_.clear();
}

void PageInjector::on_request(Time now, const PageRequest& request) {
  for (uint64_t at = 0; at < request.range.length; at += kPageBytes) {
    const PageKey page = PageKey::of(request.block, request.range.offset + at);
    ++stats_.requested;
    const bool is_late = outstanding_.contains(page);
    const bool was_ranked = is_ranked_[request.block][page.offset() / kPageBytes];
    stats_.late += is_late ? 1 : 0;
    if (!is_late && !was_ranked && !was_sent(page)) ++stats_.unforeseen;
    if (!was_sent(page)) {
      if (requested_.size() < kRequestedMax) requested_.insert(page);
      judge(was_ranked);
    }
    foresee(now, page);
  }
}

void PageInjector::judge(bool was_ranked) {
  ranked_worth_ += kWorthForget * ((was_ranked ? 1.0f : 0.0f) - ranked_worth_);
  if (ranked_worth_ >= kWorthMin || next_ranked_ >= ranked_.size()) return;
  // The guest moved on: what it did before is no better than what QEMU sends by itself.
  stats_.cancelled += ranked_.size() - next_ranked_;
  ranked_.resize(next_ranked_);
}

void PageInjector::foresee(Time now, PageKey page) {
  std::vector<predict::Candidate> said;
  const trace::Access access{.at = now,
                             .component = ComponentId{page.block()},
                             .first_block = page.offset() / kPageBytes,
                             .block_count = 1};
  for (const auto& model : models_) model->on_access(access, said);
  for (const predict::Candidate& candidate : said) {
    if (candidate.confidence < options_.confidence_min ||
        candidate.component.value >= blocks_.size())
      continue;
    const uint64_t pages = blocks_[candidate.component.value].used_bytes / kPageBytes;
    for (uint64_t i = 0; i < candidate.block_count; ++i) {
      const uint64_t number = candidate.first_block + i;
      if (number >= pages) break;
      if (foreseen_.size() >= options_.foreseen_max) foreseen_.pop_front();
      foreseen_.push_back(PageKey::of(candidate.component.value, number * kPageBytes));
    }
  }
}

bool PageInjector::is_wanted(PageKey page) const {
  return !was_sent(page) && !outstanding_.contains(page) && !requested_.contains(page);
}

std::optional<PageKey> PageInjector::next() {
  while (!foreseen_.empty()) {
    const PageKey page = foreseen_.front();
    foreseen_.pop_front();
    if (!is_wanted(page)) continue;
    ++stats_.foreseen;
    return page;
  }
  while (next_ranked_ < ranked_.size()) {
    const RankedPage& page = ranked_[next_ranked_++];
    if (page.confidence >= options_.confidence_min && is_wanted(page.page)) return page.page;
  }
  return std::nullopt;
}

uint64_t PageInjector::window(double link_bytes_per_s) const {
  const double bytes = static_cast<double>(options_.socket_bytes) +
                       link_bytes_per_s * to_seconds(options_.turnaround);
  return std::min(options_.outstanding_max, static_cast<uint64_t>(bytes) / kPageBytes);
}

void PageInjector::pull(double link_bytes_per_s, std::vector<PageRequest>& out) {
  if (!is_started_) return;
  const uint64_t window_pages = window(link_bytes_per_s);
  while (outstanding_.size() < window_pages) {
    const auto page = next();
    if (!page) return;
    outstanding_.insert(*page);
    ++stats_.injected;
    if (!out.empty()) {
      PageRequest& last = out.back();
      if (last.block == page->block() && last.range.end() == page->offset() &&
          last.range.length < options_.run_pages_max * kPageBytes) {
        last.range.length += kPageBytes;
        continue;
      }
    }
    out.push_back({page->block(), {page->offset(), kPageBytes}});
  }
}

}  // namespace forerun::migrate
