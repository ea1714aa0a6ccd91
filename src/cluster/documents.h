// What stands in the values of a cluster's store: JSON. Parsed strictly: other hosts, of other
// versions, write it too.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "cluster/state_store.h"

namespace forerun::cluster {

// A host as it describes itself.
struct HostRecord {
  std::string name;  // as in its certificate
  std::string id;    // of its state folder: tells a host that comes back from another of its name
  std::string address;  // where other hosts bring VMs, "10.0.0.2:7070"; empty: none come
  std::string zone;
  std::string version;  // of its forerund
  uint32_t cpus = 0;
  uint64_t memory_bytes = 0;
  std::map<std::string, std::string> labels;
  bool operator==(const HostRecord&) const = default;
};
std::string encode(const HostRecord& host);
// ERRORS: kCorrupt.
Result<HostRecord> parse_host(std::string_view text);

// Who leads, in the value of the key that makes it so.
struct LeaderRecord {
  std::string host, id;
};
std::string encode(const LeaderRecord& leader);
Result<LeaderRecord> parse_leader(std::string_view text);

// A JSON text of which only its writer and its readers know what it means.
struct Document {
  std::string json = "{}";
  uint32_t version = 1;   // of its format, the writer's; a reader that does not know it says so
  uint64_t token = 0;     // of the leader that wrote it; 0: not written by one
  Revision revision = 0;  // that wrote it; 0: not written yet
};
// Returns the value of a key. ERRORS: kInvalid: `json` is no JSON text.
Result<std::string> encode(const Document& document);
// Sets all but the revision. ERRORS: kCorrupt.
Result<Document> parse_document(std::string_view text);

}  // namespace forerun::cluster
