// [cluster] of the configuration: whether it is sound, and what it means.
#pragma once

#include <memory>

#include "cluster/documents.h"
#include "cluster/state_store.h"
#include "daemon/config.h"

namespace forerun::daemon {

// ERRORS: kInvalid, naming the key.
Status check_cluster(const Config& config);
// Returns this host as it registers itself. ERRORS: kIo: its id cannot be kept; kInvalid: it has no
// name.
Result<cluster::HostRecord> describe_host(const Config& config);
// ERRORS: those of the store.
Result<std::unique_ptr<cluster::StateStore>> open_cluster_store(const Config& config,
                                                                const Clock& clock);

}  // namespace forerun::daemon
