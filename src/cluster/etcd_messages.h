// What etcd's JSON gateway takes and gives: the messages of its API v3, in which keys and values
// are base64, 64-bit numbers are strings, and what is zero is left out. Pure. SOURCE: etcd 3.4,
// Documentation/dev-guide/api_grpc_gateway.md and etcdserver/etcdserverpb/rpc.proto.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/state_store.h"

namespace forerun::cluster::etcd {

std::string to_base64(std::string_view bytes);
// ERRORS: kCorrupt.
Result<std::string> from_base64(std::string_view text);

struct RangeRequest {
  std::string key;
  std::string range_end;  // empty: the key alone
  uint32_t limit = 0;     // 0: none
  Revision revision = 0;  // 0: the newest
};
std::string encode(const RangeRequest& request);
struct RangeAnswer {
  Revision revision = 0;
  std::vector<KeyValue> entries;
  bool has_more = false;
};
Result<RangeAnswer> parse_range(std::string_view text);

std::string encode(const Transaction& transaction);
Result<Committed> parse_committed(std::string_view text);

std::string encode_grant(Nanos ttl);
Result<Lease> parse_grant(std::string_view text);
std::string encode_lease(LeaseId lease);
// Returns zero if the lease has ended.
Result<Nanos> parse_keep_alive(std::string_view text);

std::string encode_compaction(Revision revision);

// Begins with the first change after the revision `after`.
std::string encode_watch(const std::string& prefix, Revision after);
struct WatchMessage {
  bool is_created = false;               // the watch has begun
  bool is_fragment = false;              // the rest of these revisions follows
  std::optional<Revision> compacted_at;  // it cannot begin where it was asked to
  std::string cancelled;                 // why it ended, if it did otherwise
  Revision revision = 0;                 // of the store when this was said
  std::vector<Event> events;
};
// Of one line of the answer.
Result<WatchMessage> parse_watch(std::string_view line);

// Returns what an answer with another status than 200 says. Never a success.
Error parse_error(int status, std::string_view text);

}  // namespace forerun::cluster::etcd
