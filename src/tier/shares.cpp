#include "tier/shares.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace forerun::tier {
namespace {

uint64_t scaled(uint64_t bytes, double ratio) {
  return static_cast<uint64_t>(static_cast<double>(bytes) * ratio);
}

uint64_t sum(std::span<const uint64_t> values) {
  return std::accumulate(values.begin(), values.end(), uint64_t{0});
}

// A tenant, or a VM of none.
struct Group {
  std::vector<size_t> members;  // of the claims
  std::vector<uint64_t> demands;
  uint64_t granted = 0;

  uint64_t demand() const { return sum(demands); }
};

// Returns the tenants with what each asks for; `part` gets every holder's equal part.
std::vector<Group> group(uint64_t capacity, std::span<const ShareClaim> claims,
                         const ShareOptions& options, std::vector<uint64_t>& part) {
  std::map<uint32_t, Group> by_tenant;
  for (size_t i = 0; i < claims.size(); ++i) by_tenant[claims[i].tenant].members.push_back(i);
  part.resize(claims.size());
  std::vector<Group> groups;
  for (auto& [tenant, group] : by_tenant) {
    for (const size_t i : group.members) {
      part[i] = capacity / by_tenant.size() / group.members.size();
      const uint64_t own = std::min(claims[i].own_bytes, capacity);
      const uint64_t common = std::min(claims[i].common_bytes, capacity);
      group.demands.push_back(scaled(part[i], options.guaranteed_ratio) + own + common);
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace

std::vector<uint64_t> max_min(uint64_t capacity, std::span<const uint64_t> demands) {
  std::vector<size_t> order(demands.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return demands[a] != demands[b] ? demands[a] < demands[b] : a < b;
  });
  std::vector<uint64_t> granted(demands.size());
  for (size_t i = 0; i < order.size(); ++i) {
    granted[order[i]] = std::min(demands[order[i]], capacity / (order.size() - i));
    capacity -= granted[order[i]];
  }
  return granted;
}

Shares deal_shares(uint64_t capacity, std::span<const ShareClaim> claims,
                   const ShareOptions& options) {
  Shares shares;
  shares.own.resize(claims.size());
  std::vector<Group> groups = group(capacity, claims, options, shares.part);
  uint64_t left = capacity;
  uint64_t common_paid = 0, common_wanted = 0;
  const auto pay = [&](const Group& group, std::span<const uint64_t> granted) {
    uint64_t common = 0;
    for (size_t i = 0; i < group.members.size(); ++i) {
      const ShareClaim& claim = claims[group.members[i]];
      // What is shared costs each of its users only a part of its bytes: it is paid first.
      const uint64_t kept =
          std::min(granted[i], scaled(shares.part[group.members[i]], options.guaranteed_ratio));
      // … but with no more than half, or what is its own would have no room to be used in.
      const uint64_t most = granted[i] - kept;
      const uint64_t part =
          std::min(claim.common_bytes, std::max(most / 2, most - std::min(most, claim.own_bytes)));
      shares.own[group.members[i]] = granted[i] - part;
      common += part;
    }
    return common;
  };
  for (Group& group : groups) {
    group.granted = std::min(group.demand(), capacity / groups.size());
    left -= group.granted;
    common_paid += pay(group, max_min(group.granted, group.demands));
    for (const size_t i : group.members)
      common_wanted += std::min(claims[i].common_bytes, capacity);
  }
  const uint64_t unpaid = std::min(left, common_wanted - std::min(common_wanted, common_paid));
  left -= unpaid;
  std::vector<uint64_t> unmet;
  for (const Group& group : groups) unmet.push_back(group.demand() - group.granted);
  const std::vector<uint64_t> more = max_min(left, unmet);
  for (size_t g = 0; g < groups.size(); ++g) {
    groups[g].granted += more[g];
    left -= more[g];
    pay(groups[g], max_min(groups[g].granted, groups[g].demands));
  }
  const auto asked = static_cast<double>(capacity - left);
  if (asked > 0)
    for (uint64_t& own : shares.own) own += scaled(own, static_cast<double>(left) / asked);
  shares.common = capacity - std::min(capacity, sum(shares.own));
  return shares;
}

}  // namespace forerun::tier
