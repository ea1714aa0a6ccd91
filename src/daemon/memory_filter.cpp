#include "daemon/memory_filter.h"

namespace forerun::daemon {

Status SenderFilter::begin(Output& out) {
  sender_.begin(out);
  return {};
}

Status SenderFilter::from_qemu(ByteView bytes, Output& out) {
  FR_CHECK(sender_.from_qemu(bytes, out));
  first_pass_is_done_ = sender_.first_pass_is_done();
  return {};
}

Status SenderFilter::from_peer(ByteView bytes, Output& out) {
  return sender_.from_peer(bytes, out);
}

Status SenderFilter::tick(Output& out) { return sender_.tick(out); }

}  // namespace forerun::daemon
