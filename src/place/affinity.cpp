#include "place/affinity.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

namespace forerun::place {
namespace {

namespace json = boost::json;
using forecast::WorkloadFeature;
using forecast::WorkloadVector;

double value_of(const WorkloadVector& vector, WorkloadFeature feature) {
  return static_cast<double>(vector[static_cast<size_t>(feature)]);
}

WorkloadVector vector_of(const SnapshotVm& vm) {
  return forecast::workload_of({.cpu_cores = vm.demand,
                                .cpus = vm.cpus > 0 ? vm.cpus : 1,
                                .memory_ratio = vm.memory_ratio,
                                .io_bytes_per_s = vm.io_bytes_per_s});
}

}  // namespace

void AffinityBook::observe(const std::string& host, const std::string& category, double work,
                           double waited, int64_t now) {
  if (!(work >= 0) || !(waited >= 0)) return;
  if (cells_.size() >= options_.cells_max && !cells_.contains({host, category})) return;
  Cell& cell = cells_[{host, category}];
  const double kept = cell.at == 0
                          ? 0
                          : std::exp2(-static_cast<double>(std::max<int64_t>(0, now - cell.at)) /
                                      options_.half_life_s);
  cell.work = cell.work * kept + work;
  cell.waited = cell.waited * kept + waited;
  cell.at = now;
}

double AffinityBook::wait_ratio(const std::string& host, const std::string& category) const {
  const auto found = cells_.find({host, category});
  if (found == cells_.end()) return 0;
  return found->second.waited / (found->second.work + options_.prior_core_s);
}

// What is free counts by what the category needs of it.
double AffinityBook::score(const std::string& host, const std::string& category,
                           const WorkloadVector& needs, const Free& free) const {
  const double history = 1 / (1 + wait_ratio(host, category) / options_.wait_ratio_half);
  const double cpu =
      0.1 + value_of(needs, WorkloadFeature::kCpu) + value_of(needs, WorkloadFeature::kBurst) / 2;
  const double memory = 0.1 + value_of(needs, WorkloadFeature::kMemory);
  const auto ratio = [](double value) { return std::clamp(value, 0.0, 1.0); };
  const double has = (cpu * ratio(free.cpu) + memory * ratio(free.memory)) / (cpu + memory);
  const double load_weight = 1 - options_.history_weight - options_.free_weight;
  return options_.history_weight * history + options_.free_weight * has +
         load_weight * ratio(free.cpu);
}

std::string AffinityBook::encode() const {
  json::array cells;
  for (const auto& [key, cell] : cells_)
    cells.push_back({key.first, key.second, cell.work, cell.waited, cell.at});
  return json::serialize(json::value{{"cells", std::move(cells)}});
}

Status AffinityBook::decode(std::string_view text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  const json::value* cells =
      !error && value.is_object() ? value.get_object().if_contains("cells") : nullptr;
  if (cells == nullptr || !cells->is_array() || cells->get_array().size() > options_.cells_max)
    return fail(ErrorCode::kCorrupt, "it is no record of affinities");
  std::map<std::pair<std::string, std::string>, Cell> read;
  for (const json::value& item : cells->get_array()) {
    const json::array* cell = item.if_array();
    if (cell == nullptr || cell->size() != 5 || !(*cell)[0].is_string() ||
        !(*cell)[1].is_string() || !(*cell)[2].is_number() || !(*cell)[3].is_number() ||
        !(*cell)[4].is_int64())
      return fail(ErrorCode::kCorrupt, "an affinity in the record is damaged");
    const Cell known{(*cell)[2].to_number<double>(), (*cell)[3].to_number<double>(),
                     (*cell)[4].get_int64()};
    if (!(known.work >= 0 && known.work < 1e18) || !(known.waited >= 0 && known.waited < 1e18))
      return fail(ErrorCode::kCorrupt, "an affinity in the record is damaged");
    read[{std::string((*cell)[0].get_string()), std::string((*cell)[1].get_string())}] = known;
  }
  cells_ = std::move(read);
  return {};
}

void AffinityWatch::learn(const FleetSnapshot& fleet, const std::vector<WorkloadVector>& vectors,
                          int64_t now) {
  clusters_.observe(vectors);
  if (vectors.size() >= kVmsMin && rounds_++ % kRecluster == 0) clusters_.recluster();
  for (size_t v = 0; v < vectors.size(); ++v) {
    const SnapshotVm& vm = fleet.vms[v];
    const int category = clusters_.category_of(vectors[v]);
    if (category < 0 || vm.host.empty() || vm.demand.empty()) continue;
    const double asked = static_cast<double>(vm.demand.back());
    const double waited = std::min(vm.waited_cores, asked);
    book_.observe(vm.host, clusters_.categories()[static_cast<size_t>(category)].name,
                  (asked - waited) * fleet.tick_s, waited * fleet.tick_s, now);
  }
}

bool AffinityWatch::look(FleetSnapshot& fleet, int64_t now) {
  std::vector<WorkloadVector> vectors;
  for (const SnapshotVm& vm : fleet.vms) vectors.push_back(vector_of(vm));
  const bool learns = static_cast<double>(now - learned_at_) >= fleet.tick_s;
  if (learns) {
    learn(fleet, vectors, now);
    learned_at_ = now;
  }
  if (clusters_.categories().empty() || !fleet.affinities.empty()) return learns;
  std::map<std::string, std::pair<double, double>> used;  // cores, bytes
  for (size_t v = 0; v < vectors.size(); ++v) {
    SnapshotVm& vm = fleet.vms[v];
    vm.category =
        clusters_.categories()[static_cast<size_t>(clusters_.category_of(vectors[v]))].name;
    auto& [cores, bytes] = used[vm.host];
    cores += vm.demand.empty() ? 0 : static_cast<double>(vm.demand.back());
    bytes += static_cast<double>(vm.memory_bytes);
  }
  for (const SnapshotHost& host : fleet.hosts) {
    const auto& [cores, bytes] = used[host.name];
    AffinityBook::Free free;
    free.cpu = 1 - (cores + host.used_cores) / host.cores;
    if (host.memory_bytes > 0)
      free.memory = 1 - (bytes + static_cast<double>(host.used_memory_bytes)) /
                            static_cast<double>(host.memory_bytes);
    for (const auto& category : clusters_.categories())
      fleet.affinities.push_back(
          {host.name, category.name, book_.score(host.name, category.name, category.centre, free)});
  }
  return learns;
}

std::string AffinityWatch::encode() const {
  json::array categories;
  for (const auto& category : clusters_.categories()) {
    json::array centre;
    for (const float value : category.centre) centre.emplace_back(static_cast<double>(value));
    categories.push_back({{"id", category.id},
                          {"name", category.name},
                          {"centre", std::move(centre)},
                          {"weight", category.weight}});
  }
  return json::serialize(json::value{{"learned_at", learned_at_},
                                     {"categories", std::move(categories)},
                                     {"book", book_.encode()}});
}

Status AffinityWatch::decode(std::string_view text) {
  const auto corrupt = fail(ErrorCode::kCorrupt, "it is no record of workloads");
  json::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object()) return corrupt;
  const json::object& object = value.get_object();
  const json::value *at = object.if_contains("learned_at"), *book = object.if_contains("book"),
                    *list = object.if_contains("categories");
  if (!at || !at->is_int64() || !book || !book->is_string() || !list || !list->is_array() ||
      list->get_array().size() > 64)
    return corrupt;
  std::vector<forecast::WorkloadCategory> categories;
  for (const json::value& item : list->get_array()) {
    const json::object* known = item.if_object();
    const json::value* id = known ? known->if_contains("id") : nullptr;
    const json::value* name = known ? known->if_contains("name") : nullptr;
    const json::value* centre = known ? known->if_contains("centre") : nullptr;
    const json::value* weight = known ? known->if_contains("weight") : nullptr;
    if (!id || !id->is_number() || !name || !name->is_string() || !centre || !centre->is_array() ||
        centre->get_array().size() != forecast::kWorkloadFeatures || !weight ||
        !weight->is_number())
      return corrupt;
    forecast::WorkloadCategory category;
    category.id = static_cast<uint32_t>(std::clamp(id->to_number<double>(), 0.0, 4e9));
    category.name = std::string(name->get_string());
    category.weight = std::clamp(weight->to_number<double>(), 0.0, 1e9);
    for (size_t f = 0; f < forecast::kWorkloadFeatures; ++f) {
      const json::value& at_f = centre->get_array()[f];
      if (!at_f.is_number()) return corrupt;
      category.centre[f] = static_cast<float>(std::clamp(at_f.to_number<double>(), 0.0, 1.0));
    }
    categories.push_back(std::move(category));
  }
  FR_CHECK(book_.decode(book->get_string()));
  clusters_.restore(std::move(categories));
  learned_at_ = at->get_int64();
  rounds_ = 1;
  return {};
}

}  // namespace forerun::place
