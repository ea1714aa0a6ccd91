#include "forecast/launch_account.h"

#include <algorithm>

namespace forerun::forecast {
namespace {

constexpr uint64_t kHour = 3600;
constexpr size_t kOpenMax = 1024;

}  // namespace

LaunchAccount::LaunchAccount(Options options, std::vector<std::string> rules)
    : options_(options), gate_(options.gate), rules_(rules.size()) {
  total_.methods.resize(rules_.size() + 1);
}

LaunchScore& LaunchAccount::hour(uint64_t now) {
  const uint64_t begin = now / kHour * kHour;
  if (hours_.empty() || hours_.back().second < begin) {
    hours_.emplace_back();
    hours_.back().second = begin;
    hours_.back().methods.resize(total_.methods.size());
    if (hours_.size() > options_.hours_max) hours_.pop_front();
  }
  return hours_.back();
}

template <typename Change>
void LaunchAccount::change(uint64_t now, const Change& change) {
  change(total_);
  change(hour(now));
}

void LaunchAccount::advance(uint64_t now) {
  for (auto at = open_.begin(); at != open_.end();) {
    if (at->second.ends > now) {
      ++at;
      continue;
    }
    close(std::move(at->second), now);
    at = open_.erase(at);
  }
  for (size_t i = 0; i < rules_.size(); ++i) {
    Rule& rule = rules_[i];
    for (auto at = rule.covered.begin(); at != rule.covered.end();) {
      if (at->second > now) {
        ++at;
        continue;
      }
      if (!rule.hit[at->first])
        change(now, [&](LaunchScore& score) { ++score.methods[i + 1].windows_wasted; });
      rule.hit.erase(at->first);
      at = rule.covered.erase(at);
    }
  }
}

void LaunchAccount::close(LaunchWindow window, uint64_t now) {
  gate_.learn(window.outcome != LaunchOutcome::kOpen);
  if (window.outcome == LaunchOutcome::kOpen) window.outcome = LaunchOutcome::kWasted;
  if (!window.acted) return;
  if (window.outcome == LaunchOutcome::kWasted)
    change(now, [](LaunchScore& score) { ++score.methods[0].windows_wasted; });
  closed_.push_back(std::move(window));
  if (closed_.size() > options_.windows_max) closed_.pop_front();
}

void LaunchAccount::open(const std::string& image, float probability, uint64_t image_bytes,
                         uint64_t now) {
  if (is_open(image) || open_.size() >= kOpenMax) return;
  LaunchWindow window{.image = image,
                      .probability = probability,
                      .opened = now,
                      .ends = now + options_.window_s,
                      .image_bytes = image_bytes,
                      .acted = !muted()};
  if (window.acted) {
    income_ += static_cast<double>(image_bytes);
    change(now, [&](LaunchScore& score) {
      ++score.methods[0].windows;
      score.methods[0].bytes += image_bytes;
    });
  }
  open_.emplace(image, std::move(window));
}

void LaunchAccount::spend_as(const std::function<std::vector<std::string>(size_t rule)>& images_of,
                             const std::function<uint64_t(const std::string& image)>& bytes_of,
                             uint64_t now) {
  for (size_t i = 0; i < rules_.size(); ++i) {
    Rule& rule = rules_[i];
    rule.purse += income_;
    if (rule.purse <= 0) continue;
    for (const std::string& image : images_of(i)) {
      if (rule.covered.contains(image)) continue;
      const uint64_t bytes = bytes_of(image);
      if (static_cast<double>(bytes) > rule.purse) break;  // wait for it, not for a worse one
      rule.purse -= static_cast<double>(bytes);
      rule.covered[image] = now + options_.window_s;
      rule.hit[image] = false;
      change(now, [&](LaunchScore& score) {
        ++score.methods[i + 1].windows;
        score.methods[i + 1].bytes += bytes;
      });
    }
  }
  income_ = 0;
}

void LaunchAccount::on_launch(const std::string& image, bool is_ready, uint64_t now) {
  change(now, [](LaunchScore& score) { ++score.launches; });
  for (size_t i = 0; i < rules_.size(); ++i) {
    if (!rules_[i].covered.contains(image)) continue;
    const bool is_first = !std::exchange(rules_[i].hit[image], true);
    change(now, [&](LaunchScore& score) {
      ++score.methods[i + 1].launches_ready;
      if (is_first) ++score.methods[i + 1].windows_hit;
    });
  }
  const auto found = open_.find(image);
  if (found == open_.end()) return;
  LaunchWindow& window = found->second;
  const bool is_first = window.outcome == LaunchOutcome::kOpen;
  if (is_first) {
    window.launched = now;
    window.outcome = is_ready ? LaunchOutcome::kHit : LaunchOutcome::kLate;
  }
  if (!window.acted) return;
  change(now, [&](LaunchScore& score) {
    if (is_ready) ++score.methods[0].launches_ready;
    if (!is_ready) ++score.launches_late;
    if (is_first && is_ready) ++score.methods[0].windows_hit;
    if (is_first && !is_ready) ++score.windows_late;
  });
}

// Returns the window that bytes of an image belong to: the open one, else its last.
LaunchWindow* LaunchAccount::find(const std::string& image) {
  if (const auto found = open_.find(image); found != open_.end()) return &found->second;
  for (auto at = closed_.rbegin(); at != closed_.rend(); ++at)
    if (at->image == image) return &*at;
  return nullptr;
}

void LaunchAccount::on_fetched(const std::string& image, uint64_t bytes, uint64_t now) {
  if (LaunchWindow* window = find(image)) window->fetched_bytes += bytes;
  change(now, [&](LaunchScore& score) { score.fetched_bytes += bytes; });
}

void LaunchAccount::on_used(const std::string& image, uint64_t bytes, uint64_t now) {
  if (LaunchWindow* window = find(image)) window->used_bytes += bytes;
  change(now, [&](LaunchScore& score) { score.used_bytes += bytes; });
}

void LaunchAccount::on_wasted(const std::string& image, uint64_t bytes, uint64_t now) {
  if (LaunchWindow* window = find(image)) window->wasted_bytes += bytes;
  change(now, [&](LaunchScore& score) { score.wasted_bytes += bytes; });
}

std::vector<LaunchWindow> LaunchAccount::windows() const {
  std::vector<LaunchWindow> all(closed_.begin(), closed_.end());
  for (const auto& [image, window] : open_)
    if (window.acted) all.push_back(window);
  std::sort(all.begin(), all.end(), [](const LaunchWindow& a, const LaunchWindow& b) {
    return a.opened != b.opened ? a.opened > b.opened : a.image < b.image;
  });
  return all;
}

}  // namespace forerun::forecast
