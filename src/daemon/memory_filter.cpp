#include "daemon/memory_filter.h"

namespace forerun::daemon {

Status SenderFilter::begin(Output& out) {
  sender_.begin(out);
  return {};
}

Status SenderFilter::from_qemu(ByteView bytes, Output& out) {
  if (stops_references_) sender_.stop_references();
  FR_CHECK(sender_.from_qemu(bytes, out));
  look();
  return {};
}

Status SenderFilter::from_peer(ByteView bytes, Output& out) {
  FR_CHECK(sender_.from_peer(bytes, out));
  look();
  return {};
}

Status SenderFilter::tick(Output& out) {
  if (stops_references_) sender_.stop_references();
  FR_CHECK(sender_.tick(out));
  look();
  return {};
}

void SenderFilter::look() {
  first_pass_is_done_ = sender_.first_pass_is_done();
  is_settled_ = sender_.is_settled();
}

}  // namespace forerun::daemon
