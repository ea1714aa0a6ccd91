// Components that are built here, from Debian packages of this machine's own sources: a base
// system, packages installed on other components, a kernel. The scripts of tools/components do what
// needs a shell, in namespaces of their own, as root (docs/building.md); what they leave is
// captured.
#pragma once

#include "daemon/component_import.h"

namespace forerun::daemon {

// Whether builds are possible at all, and whether `request` is complete.
// ERRORS: kDenied without root; kNotFound: the scripts or a program are missing; kInvalid.
Status check_build(const api::ComponentImportRequest& request);

// As the functions of component_import.h.
Result<std::string> build_base(const ImportJob& job);
Result<std::string> build_apt(const ImportJob& job);
Result<std::string> build_kernel(const ImportJob& job);

}  // namespace forerun::daemon
