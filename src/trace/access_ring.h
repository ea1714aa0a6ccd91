// The way of an access from the I/O path to the thread that learns.
#pragma once

#include "trace/access.h"
#include "trace/lossy_ring.h"

namespace forerun::trace {

using AccessRing = LossyRing<Access>;

}  // namespace forerun::trace
