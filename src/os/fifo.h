// A pair of FIFOs as a byte stream. Unlike a socket's, its ends come and go: what one process began
// to say another can go on with.
#pragma once

#include <string>

#include "os/socket.h"

namespace forerun::os {

// Makes a FIFO that the owner alone can open; one that is there is replaced by an empty one.
Status make_fifo(const std::string& path);

class FifoStream final : public ByteStream {
 public:
  // Writes to one and reads from the other. ERRORS: kNotFound; kUnavailable: nobody has the other
  // end of `to` open.
  static Result<std::unique_ptr<FifoStream>> open(const std::string& to, const std::string& from);

  Result<size_t> read_some(MutableByteView out) override;
  Status write_all(std::span<const iovec> parts) override;  // at most PIPE_BUF bytes, all or none
  Status set_timeout(Nanos timeout) override;
  void shut_down() override {}  // FIFOs know none; set a time-out
  int fd() const override { return from_.get(); }
  // Throws away what is there to be read.
  void drain();

 private:
  FifoStream(Fd to, Fd from) : to_(std::move(to)), from_(std::move(from)) {}
  Status wait(int fd, short events) const;

  Fd to_, from_;
  int timeout_ms_ = -1;
};

}  // namespace forerun::os
