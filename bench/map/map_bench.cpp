// Look-ups per second in a disk's mapping table, against std::lower_bound, on random offsets.
// `make bench-map` writes build/bench/map.json. What each figure means: README.md.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/rng.h"
#include "image/extent_search.h"
#include "image/mapping_table.h"

namespace {

using forerun::Rng;
using forerun::image::best_search_kind;
using forerun::image::Extent;
using forerun::image::ExtentSearch;
using forerun::image::Location;
using forerun::image::MappingTable;
using forerun::image::SearchKind;
namespace json = boost::json;

constexpr size_t kQueries = 1 << 18;  // different offsets, asked again and again
constexpr double kRunSeconds = 0.1;
constexpr int kRuns = 11;
constexpr uint64_t kSeed = 20261121;

// Where the answers go, so that none of the work can be left out.
volatile uint64_t answers;

// One disk, its table, and what is asked of it.
struct Subject {
  std::vector<Extent> extents;
  std::vector<uint64_t> starts;        // as std::lower_bound wants them
  std::vector<uint32_t> starts_units;  // the same in units of 4 KiB: half the cache lines
  std::unique_ptr<MappingTable> table;
  std::map<SearchKind, ExtentSearch> searches;
  std::vector<uint64_t> queries;
};

// Returns a disk of `count` extents of 4 to 64 KiB, a gap before every fourth, from 20 components
// in turn.
Subject make_subject(size_t count) {
  Subject subject;
  Rng rng(kSeed);
  std::vector<forerun::image::ComponentPtr> components;
  constexpr uint64_t kComponentSize = forerun::kGiB;
  for (uint32_t i = 1; i <= 20; ++i) {
    auto component = std::make_shared<forerun::image::Component>();
    component->id = {i};
    component->index.size_bytes = kComponentSize;
    component->index.chunks.resize(forerun::repository::chunk_count(kComponentSize));
    components.push_back(std::move(component));
  }
  uint64_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    if (i % 4 == 3) at += 4096 * rng.between(1, 16);
    const uint64_t length = 4096 * rng.between(1, 16);
    const uint64_t offset = 4096 * rng.below((kComponentSize - length) / 4096);
    subject.extents.push_back({{at, length}, components[rng.below(20)], offset});
    subject.starts.push_back(at);
    subject.starts_units.push_back(static_cast<uint32_t>(at / 4096));
    at += length;
  }
  auto table = MappingTable::create(at, subject.extents);
  FR_ASSERT(table.has_value());
  subject.table = std::make_unique<MappingTable>(std::move(*table));
  subject.queries.resize(kQueries);
  for (uint64_t& query : subject.queries) query = rng.below(at);
  for (const SearchKind kind : {SearchKind::kPortable, SearchKind::kAvx2, SearchKind::kAvx512})
    if (is_supported(kind)) subject.searches.emplace(kind, ExtentSearch(subject.starts, kind));
  return subject;
}

// Asks `find` every query, none waiting for another's answer.
template <typename Find>
void each(const Subject& subject, Find find) {
  uint64_t sum = 0;
  for (const uint64_t query : subject.queries) sum += find(query);
  answers = sum;
}

// The same, but a query is known only once the one before has been answered.
template <typename Find>
void one_after_another(const Subject& subject, Find find) {
  uint64_t answer = 0;
  for (const uint64_t query : subject.queries) answer = find(query + (answer >> 63));
  answers = answer;
}

// Returns how many of `starts` are ≤ query, by std::lower_bound.
template <typename Number>
uint64_t rank_by_lower_bound(const std::vector<Number>& starts, Number query) {
  return static_cast<uint64_t>(std::lower_bound(starts.begin(), starts.end(), query + 1) -
                               starts.begin());
}

// What locate() does, on extents as they are given to create().
uint64_t locate_by_lower_bound(const Subject& subject, uint64_t query) {
  const auto& extents = subject.extents;
  const auto after = std::lower_bound(
      extents.begin(), extents.end(), query,
      [](const Extent& extent, uint64_t offset) { return extent.range.offset <= offset; });
  const uint64_t next = after == extents.end() ? subject.table->size_bytes() : after->range.offset;
  if (after == extents.begin()) return next - query;
  const Extent& extent = *std::prev(after);
  if (extent.range.end() <= query) return next - query;
  return extent.component_offset + (query - extent.range.offset) + (extent.range.end() - query);
}

uint64_t sum_of(const Location& location) { return location.component_offset + location.length; }

// A way to answer all queries once.
using Variant = std::function<void(const Subject&)>;

void search_together(const Subject& subject, SearchKind kind) {
  static std::vector<uint32_t> ranks(kQueries);
  subject.searches.at(kind).rank(subject.queries, ranks);
  answers = ranks.back();
}

void add_single(std::map<std::string, Variant>& variants) {
  variants["forerun_single"] = [](const Subject& s) {
    const ExtentSearch& search = s.searches.at(best_search_kind());
    each(s, [&](uint64_t query) { return search.rank(query); });
  };
  variants["forerun_dependent"] = [](const Subject& s) {
    const ExtentSearch& search = s.searches.at(best_search_kind());
    one_after_another(s, [&](uint64_t query) { return search.rank(query); });
  };
  variants["lower_bound"] = [](const Subject& s) {
    each(s, [&](uint64_t query) { return rank_by_lower_bound(s.starts, query); });
  };
  variants["lower_bound_dependent"] = [](const Subject& s) {
    one_after_another(s, [&](uint64_t query) { return rank_by_lower_bound(s.starts, query); });
  };
  variants["lower_bound_32bit"] = [](const Subject& s) {
    each(s, [&](uint64_t query) {
      return rank_by_lower_bound(s.starts_units, static_cast<uint32_t>(query / 4096));
    });
  };
}

void add_table(std::map<std::string, Variant>& variants) {
  variants["locate"] = [](const Subject& s) {
    static std::vector<Location> found(kQueries);
    s.table->locate(s.queries, found);
    answers = sum_of(found.back());
  };
  variants["locate_single"] = [](const Subject& s) {
    each(s, [&](uint64_t query) { return sum_of(s.table->locate(query)); });
  };
  variants["locate_lower_bound"] = [](const Subject& s) {
    each(s, [&](uint64_t query) { return locate_by_lower_bound(s, query); });
  };
  variants["look_up_4k"] = [](const Subject& s) {
    static std::vector<forerun::image::Piece> pieces;
    const uint64_t last = s.table->size_bytes() - 4096;
    each(s, [&](uint64_t query) {
      pieces.clear();
      s.table->look_up({std::min(query, last), 4096}, pieces);
      return pieces.size();
    });
  };
}

std::map<std::string, Variant> make_variants(const Subject& subject) {
  std::map<std::string, Variant> variants;
  variants["forerun"] = [](const Subject& s) { search_together(s, best_search_kind()); };
  for (const auto& [kind, search] : subject.searches) {
    variants[fmt::format("forerun_{}", search_kind_name(kind))] =
        [searched = kind](const Subject& s) { search_together(s, searched); };
  }
  add_single(variants);
  add_table(variants);
  return variants;
}

// Refuses to measure what gives wrong answers.
void check(const Subject& subject) {
  std::vector<uint32_t> ranks(kQueries);
  std::vector<Location> found(kQueries);
  subject.table->locate(subject.queries, found);
  for (const auto& [kind, search] : subject.searches) {
    search.rank(subject.queries, ranks);
    for (size_t i = 0; i < kQueries; ++i) {
      const uint64_t query = subject.queries[i];
      FR_ASSERT(ranks[i] == rank_by_lower_bound(subject.starts, query));
      FR_ASSERT(search.rank(query) == ranks[i]);
      FR_ASSERT(sum_of(found[i]) == locate_by_lower_bound(subject, query));
    }
  }
}

// Returns look-ups per second over at least kRunSeconds.
double measure(const Variant& variant, const Subject& subject) {
  using Clock = std::chrono::steady_clock;
  size_t count = 0;
  const auto begin = Clock::now();
  double seconds = 0;
  while (seconds < kRunSeconds) {
    variant(subject);
    count += kQueries;
    seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  return static_cast<double>(count) / seconds;
}

// The variants take turns, in a new order each time.
std::map<std::string, std::vector<double>> run(const Subject& subject) {
  const auto variants = make_variants(subject);
  std::vector<std::string> order;
  for (const auto& [name, variant] : variants) order.push_back(name);
  std::map<std::string, std::vector<double>> results;
  Rng rng(kSeed);
  for (int i = 0; i < kRuns; ++i) {
    for (size_t k = order.size() - 1; k > 0; --k) std::swap(order[k], order[rng.below(k + 1)]);
    for (const std::string& name : order)
      results[name].push_back(measure(variants.at(name), subject));
  }
  for (auto& [name, values] : results) std::ranges::sort(values);
  return results;
}

double load_average() {
  double value = 0;
  std::ifstream("/proc/loadavg") >> value;
  return value;
}

json::object host_facts() {
  std::string model = "unknown";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    model = line.substr(line.find(':') + 2);
    break;
  }
  json::array features;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("popcnt")) features.emplace_back("popcnt");
  if (__builtin_cpu_supports("avx2")) features.emplace_back("avx2");
  if (__builtin_cpu_supports("avx512f")) features.emplace_back("avx512f");
#endif
  return {{"cpu", model},
          {"features", std::move(features)},
          {"search", search_kind_name(best_search_kind())},
          {"load_before", load_average()}};
}

// Adds one disk size to the report, and prints its row.
void report(size_t count, const Subject& subject, json::object& medians, json::object& spread,
            json::object& bytes) {
  const std::string key = std::to_string(count);
  json::object middle;
  json::object ends;
  for (const auto& [name, values] : run(subject)) {
    middle[name] = values[values.size() / 2];
    ends[name] = json::array{values.front(), values.back()};
  }
  const auto millions = [&](const char* name) { return middle.at(name).as_double() / 1e6; };
  fmt::print("{:>8} {:>9.1f} {:>9.1f} {:>9.1f} {:>12.1f} {:>12.1f} {:>8.1f} {:>9.1f} {:>7.1f}x\n",
             count, millions("forerun"), millions("forerun_single"), millions("forerun_dependent"),
             millions("lower_bound"), millions("lower_bound_dependent"), millions("locate"),
             millions("locate_lower_bound"), millions("forerun") / millions("lower_bound"));
  medians[key] = std::move(middle);
  spread[key] = std::move(ends);
  bytes[key] = static_cast<double>(subject.table->memory_bytes()) / static_cast<double>(count);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: map_bench OUT.json COMMIT\n");
    return 2;
  }
  json::object result{{"commit", argv[2]}, {"host", host_facts()}, {"seed", kSeed},
                      {"runs", kRuns},     {"queries", kQueries},  {"run_seconds", kRunSeconds}};
  fmt::print("millions of look-ups per second; search: {}\n", search_kind_name(best_search_kind()));
  fmt::print("{:>8} {:>9} {:>9} {:>9} {:>12} {:>12} {:>8} {:>9} {:>8}\n", "extents", "forerun",
             "single", "dependent", "lower_bound", "l_b depend.", "locate", "l_b loc.", "ratio");
  json::object medians;
  json::object spread;
  json::object bytes;
  for (const size_t count : {1'000, 10'000, 100'000, 1'000'000}) {
    const Subject subject = make_subject(count);
    check(subject);
    report(count, subject, medians, spread, bytes);
  }
  result["lookups_per_s"] = std::move(medians);
  result["spread"] = std::move(spread);
  result["bytes_per_extent"] = std::move(bytes);
  result["load_after"] = load_average();
  std::ofstream out(argv[1]);
  out << json::serialize(result) << "\n";
  out.close();
  if (!out) fmt::print(stderr, "cannot write {}\n", argv[1]);
  return out ? 0 : 1;
}
