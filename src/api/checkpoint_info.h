// Checkpoints of VMs, as the API tells of them (docs/checkpoints.md).
#pragma once

#include <cstdint>
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

struct RestoreRequest {
  uint64_t checkpoint = 0;  // 0: the newest
};

}  // namespace forerun::api
