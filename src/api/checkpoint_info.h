// Checkpoints of VMs, as the API tells of them (docs/checkpoints.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace forerun::api {

struct CheckpointInfo {
  std::string vm;
  uint64_t number = 0;
  int64_t created_unix_seconds = 0;
  uint64_t memory_bytes = 0;  // of the guest
  uint64_t disk_bytes = 0;    // of its own blocks
  uint64_t stored_bytes = 0;  // that this one added
  uint64_t pause_us = 0;      // the guest stood still so long
};

// How a VM's checkpoints are made by themselves. What is not said stays.
struct CheckpointPolicyRequest {
  std::optional<bool> is_auto;
  std::optional<double> budget_ratio;    // of time, above 0, at most 0.5
  std::optional<uint64_t> keep;          // 1 to 1000
  std::optional<std::string> copies_to;  // a host of the configuration; empty: none
};

struct CheckpointPolicy {
  std::string vm;
  bool is_auto = false;
  double budget_ratio = 0;
  uint64_t keep = 0;
  std::vector<uint64_t> made;          // that are kept, of those made by themselves
  std::string copies_to;               // that is to keep a copy of the newest; empty: none
  std::vector<std::string> copied_to;  // hosts that keep a copy of one
  std::string foreseen_host;           // where it is likely to move; empty: nowhere
  double next_in_seconds = 0;          // as things are now; 0 unless auto and the VM runs
  std::string why;
};

struct CheckpointCopyRequest {
  std::string to;                     // a host of the configuration
  uint64_t rate_bytes_per_s_max = 0;  // 0: as fast as the link is
};

struct RestoreRequest {
  uint64_t checkpoint = 0;  // 0: the newest
};

}  // namespace forerun::api
