// A QEMU that says what it is told to say, for the tests of what speaks to one.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "os/socket.h"

namespace forerun::vmm {

// Gives out `input` a few bytes at a time, then the orderly end; keeps what was written.
class ScriptedStream final : public os::ByteStream {
 public:
  ScriptedStream(std::string input, std::string* written)
      : input_(std::move(input)), written_(written) {}

  Result<size_t> read_some(MutableByteView out) override {
    const size_t count = std::min({out.size(), input_.size() - position_, size_t{7}});
    std::memcpy(out.data(), input_.data() + position_, count);
    position_ += count;
    return count;
  }
  Status write_all(std::span<const iovec> parts) override {
    for (const iovec& part : parts)
      written_->append(static_cast<const char*>(part.iov_base), part.iov_len);
    return {};
  }
  Status set_timeout(Nanos) override { return {}; }
  void shut_down() override {}
  int fd() const override { return -1; }

 private:
  std::string input_;
  size_t position_ = 0;
  std::string* written_;
};

inline constexpr std::string_view kHello =
    "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n{\"return\": {}}\r\n";

}  // namespace forerun::vmm
