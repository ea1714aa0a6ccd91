// How a full cache is dealt out to those who use it: what each may hold before it is the one to
// give way. A cache with room ignores shares.
//
// SOURCE: the guarantee is FairRide's (Pu, Li, Zaharia, Ghodsi, Stoica, NSDI 2016): nobody is worse
// off than alone with an equal part, and what several use is paid by each of them in equal parts.
// What is not earned goes round by max-min fairness; a reserve that all re-use but an idle holder
// loses is Memshare's (Cidon, Rushton, Rumble, Stutsman, USENIX ATC 2017). Changed: FairRide stays
// truthful by delaying those who use what others pay for; here a reader of what others brought
// begins to pay its part.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace forerun::tier {

// Of one holder: a VM.
struct ShareClaim {
  uint32_t tenant = 0;  // holders of one tenant together have one tenant's part
  // Earned by re-use: of what nobody else uses, and its part of what it uses with others.
  uint64_t own_bytes = 0;
  uint64_t common_bytes = 0;
};

struct ShareOptions {
  // Of an equal part: what a holder gets that has earned nothing.
  double guaranteed_ratio = 0.125;
};

// Sums to the capacity.
struct Shares {
  std::vector<uint64_t> own;   // by claim
  std::vector<uint64_t> part;  // by claim: an equal part of its tenant's equal part
  uint64_t common = 0;         // for what several hold, or nobody
};

// Returns the demands, each cut to a level that is the same for all, so that they fit in
// `capacity`.
std::vector<uint64_t> max_min(uint64_t capacity, std::span<const uint64_t> demands);

// Returns each claim's share:
// - a tenant gets what its holders have earned and are guaranteed, up to an equal part; inside of a
//   tenant the same by holder;
// - what tenants leave of their parts goes first to what is common and not paid for, then, by
//   max-min fairness, to those who earned more than their part, and the rest in proportion.
Shares deal_shares(uint64_t capacity, std::span<const ShareClaim> claims,
                   const ShareOptions& options);

}  // namespace forerun::tier
