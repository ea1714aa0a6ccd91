// A lab put up, its daemons started again, and all of it taken down. Needs root and iproute2.
#pragma once

#include <string>

#include "cli/lab_record.h"
#include "core/result.h"
#include "lab/link.h"
#include "os/file.h"

namespace forerun::cli {

// ERRORS: kDenied unless we are root.
Status check_lab_rights();

// Returns a lock on the lab in `folder`, which is made if it is not there. ERRORS: kExists: another
// command holds it.
Result<os::Fd> lock_lab(const std::string& folder);

// Puts a lab up: namespaces, switch, addresses, certificates, daemons. Namespaces that are left of
// a lab in the folder, all of whose processes have ended, are removed first; its hosts find their
// state again. After an error everything is taken down again. REQUIRES: the lock. ERRORS: kExists:
// it is up already, or a namespace of a name it needs exists; kUnavailable: a process ended at its
// start, with its last words.
Result<LabRecord> build_lab(const lab::Plan& plan, const lab::LinkSettings& link);

// Starts the forerund of a host that has ended. REQUIRES: the lock. ERRORS: kExists: it runs.
Status start_host(LabRecord& record, size_t index);

// Ends what the record names (the daemons, the VMs in their records, the switch), removes the
// namespaces, and, unless `keep_files`, the files. REQUIRES: the lock. ERRORS: kTimedOut: a process
// did not end even when killed; kIo. All else is still done.
Status end_lab(const LabRecord& record, bool keep_files);

}  // namespace forerun::cli
