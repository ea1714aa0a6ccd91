// Questions laid over a fleet.
#include <algorithm>
#include <charconv>

#include "place/fleet_snapshot.h"

namespace forerun::place {
namespace {

constexpr uint32_t kClonesMax = 10'000;

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

template <typename Number>
bool read(std::string_view text, Number& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc{} && end == text.data() + text.size();
}

template <typename T>
T* find(std::vector<T>& items, std::string_view name) {
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const T& item) { return item.name == name; });
  return found == items.end() ? nullptr : &*found;
}

std::unexpected<Error> unknown(std::string_view kind, const std::string& name) {
  return fail(ErrorCode::kNotFound, fmt::format("no {} {} in the fleet", kind, name));
}

// Returns a name that none of `items` has.
template <typename T>
std::string new_name(const std::vector<T>& items, const std::string& like, uint32_t number) {
  std::string name;
  do {
    name = fmt::format("{}-new{}", like.substr(0, 48), number++);
  } while (
      std::any_of(items.begin(), items.end(), [&](const T& item) { return item.name == name; }));
  return name;
}

void scale(SnapshotVm& vm, float factor) {
  for (float& value : vm.demand) {
    value *= factor;
    if (vm.cpus > 0) value = std::min(value, static_cast<float>(vm.cpus));
  }
}

Status host_changed(FleetSnapshot& fleet, const std::string& name, std::string_view what) {
  SnapshotHost* host = find(fleet.hosts, name);
  if (host == nullptr) return unknown("host", name);
  if (what != "lost") {
    host->is_drained = what == "drained";
    return {};
  }
  std::erase_if(fleet.hosts, [&](const SnapshotHost& each) { return each.name == name; });
  std::erase_if(fleet.affinities, [&](const SnapshotAffinity& each) { return each.host == name; });
  for (SnapshotVm& vm : fleet.vms)
    if (vm.host == name) vm.host.clear();
  return {};
}

Status add_hosts(FleetSnapshot& fleet, uint32_t count, const std::string& like) {
  const SnapshotHost* known = find(fleet.hosts, like);
  if (known == nullptr) return unknown("host", like);
  if (fleet.hosts.size() + count > kFleetHostsMax)
    return fail(ErrorCode::kInvalid, fmt::format("over {} hosts", kFleetHostsMax));
  SnapshotHost added = *known;
  added.is_drained = false;
  for (uint32_t i = 1; i <= count; ++i) {
    added.name = new_name(fleet.hosts, like, i);
    fleet.hosts.push_back(added);
  }
  return {};
}

Status add_vms(FleetSnapshot& fleet, uint32_t count, const std::string& like) {
  const SnapshotVm* known = find(fleet.vms, like);
  if (known == nullptr) return unknown("VM", like);
  if (fleet.vms.size() + count > kFleetVmsMax)
    return fail(ErrorCode::kInvalid, fmt::format("over {} VMs", kFleetVmsMax));
  SnapshotVm added = *known;
  added.host.clear();
  added.moved_before.clear();
  added.is_pinned = false;
  if (added.like.empty()) added.like = like;
  for (uint32_t i = 1; i <= count; ++i) {
    added.name = new_name(fleet.vms, like, i);
    fleet.vms.push_back(added);
  }
  return {};
}

}  // namespace

bool is_meant(std::string_view pattern, std::string_view name) {
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == name;
}

Status suppose(FleetSnapshot& fleet, std::string_view what_if) {
  const std::vector<std::string> words = words_of(what_if);
  const auto is = [&](size_t i, std::string_view word) {
    return i < words.size() && words[i] == word;
  };
  const auto factor = [&](size_t i, float& into) {
    return i < words.size() && words[i].starts_with('x') &&
           read(std::string_view(words[i]).substr(1), into) && into >= 0 && into <= 1000;
  };
  float times = 1;
  if (words.size() == 3 && is(0, "host") &&
      (is(2, "drained") || is(2, "undrained") || is(2, "lost")))
    return host_changed(fleet, words[1], words[2]);
  uint32_t count = 0;
  if (words.size() == 4 && words[0].starts_with('+') &&
      read(std::string_view(words[0]).substr(1), count) && count > 0 && count <= kClonesMax &&
      is(2, "like")) {
    if (is(1, "VMs") || is(1, "VM") || is(1, "vms") || is(1, "vm"))
      return add_vms(fleet, count, words[3]);
    if (is(1, "hosts") || is(1, "host")) return add_hosts(fleet, count, words[3]);
  }
  if (words.size() == 3 && (is(0, "VM") || is(0, "vm")) && (is(2, "gone") || factor(2, times))) {
    SnapshotVm* vm = find(fleet.vms, words[1]);
    if (vm == nullptr) return unknown("VM", words[1]);
    if (is(2, "gone"))
      std::erase_if(fleet.vms, [&](const SnapshotVm& each) { return each.name == words[1]; });
    else
      scale(*vm, times);
    return {};
  }
  if (words.size() == 2 && is(0, "demand") && factor(1, times)) {
    for (SnapshotVm& vm : fleet.vms) scale(vm, times);
    return {};
  }
  return fail(ErrorCode::kInvalid,
              fmt::format("'{}' cannot be supposed; say \"host NAME drained\", \"host NAME lost\", "
                          "\"+2 hosts like NAME\", \"+20 VMs like NAME\", \"VM NAME gone\", \"VM "
                          "NAME x1.5\" or \"demand x1.2\"",
                          what_if.substr(0, 80)));
}

}  // namespace forerun::place
