// Requests, mostly well formed, against a tiny disk, in parts of any size. Checked: the device is
// never asked outside of its bounds, the replies are well formed and as many as the requests, and
// what was written is read back.
#include <fuzzer/FuzzedDataProvider.h>

#include "export/nbd_transmission.h"
#include "fuzz_common.h"

namespace forerun::nbd {
namespace {

constexpr uint64_t kDiskBytes = 70'000;

class FuzzStream final : public os::ByteStream {
 public:
  FuzzStream(std::string input, size_t part) : input_(std::move(input)), part_(part) {}
  Result<size_t> read_some(MutableByteView out) override {
    require(!out.empty());
    const size_t got = std::min({part_, out.size(), input_.size() - at_});
    std::memcpy(out.data(), input_.data() + at_, got);
    at_ += got;
    return got;
  }
  Status write_all(std::span<const iovec> parts) override {
    for (const iovec& part : parts)
      output.append(static_cast<const char*>(part.iov_base), part.iov_len);
    return {};
  }
  Status set_timeout(Nanos) override { return {}; }
  void shut_down() override {}
  int fd() const override { return -1; }

  std::string output;  // written under the transmission's lock

 private:
  const std::string input_;
  const size_t part_;
  size_t at_ = 0;
};

// Traps if it is asked for anything that its contract excludes.
class FuzzDevice final : public disk::BlockDevice {
 public:
  FuzzDevice(bool is_read_only, uint32_t waits, uint32_t fails)
      : is_read_only_(is_read_only), waits_(waits), fails_(fails) {}

  uint64_t size_bytes() const override { return kDiskBytes; }
  bool is_read_only() const override { return is_read_only_; }
  Result<bool> try_read(ByteRange range, disk::ReadSlices& out) override {
    const uint32_t number = calls_++ % 32;
    if ((fails_ >> number & 1) != 0) return fail(ErrorCode::kIo, "planted");
    if ((waits_ >> number & 1) != 0) return false;
    FR_CHECK(read(range, out));
    return true;
  }
  Status read(ByteRange range, disk::ReadSlices& out) override {
    require(range.length > 0 && fits(range, kDiskBytes));
    const std::lock_guard lock(mutex_);
    out.buffers.emplace_back(content_.begin() + static_cast<ptrdiff_t>(range.offset),
                             content_.begin() + static_cast<ptrdiff_t>(range.end()));
    out.slices.emplace_back(out.buffers.back());
    return {};
  }
  Status write(uint64_t offset, ByteView data, bool) override {
    require(!is_read_only_ && fits({offset, data.size()}, kDiskBytes));
    const std::lock_guard lock(mutex_);
    std::ranges::copy(data, content_.begin() + static_cast<ptrdiff_t>(offset));
    return {};
  }
  Status write_zeroes(ByteRange range, bool, bool) override {
    require(!is_read_only_ && fits(range, kDiskBytes));
    const std::lock_guard lock(mutex_);
    std::fill_n(content_.begin() + static_cast<ptrdiff_t>(range.offset), range.length,
                std::byte{0});
    return {};
  }
  Status trim(ByteRange range, bool fua) override { return write_zeroes(range, true, fua); }
  Status flush() override { return {}; }
  Status block_status(ByteRange range, size_t extents_max,
                      std::vector<disk::StatusExtent>& out) override {
    require(range.length > 0 && fits(range, kDiskBytes) && extents_max > 0);
    for (size_t i = 0; i < extents_max && range.length > 0; ++i) {
      const uint64_t length = std::min<uint64_t>(range.length, 1000);
      out.push_back({.length = length, .is_hole = i % 2 == 0});
      range = {range.offset + length, range.length - length};
    }
    return {};
  }

 private:
  const bool is_read_only_;
  const uint32_t waits_, fails_;  // bits by the number of the read
  std::atomic<uint32_t> calls_{0};
  std::mutex mutex_;
  Buffer content_ = Buffer(kDiskBytes);
};

uint64_t make_offset(FuzzedDataProvider& input) {
  switch (input.ConsumeIntegralInRange(0, 3)) {
    case 0:
      return input.ConsumeIntegral<uint64_t>();
    case 1:
      return UINT64_MAX - input.ConsumeIntegral<uint16_t>();
    default:
      return input.ConsumeIntegralInRange<uint64_t>(0, kDiskBytes + 10);
  }
}

uint32_t make_length(FuzzedDataProvider& input) {
  switch (input.ConsumeIntegralInRange(0, 5)) {
    case 0:
      return input.ConsumeIntegral<uint32_t>();
    case 1:
      return UINT32_MAX - input.ConsumeIntegral<uint16_t>();
    default:
      return input.ConsumeIntegralInRange<uint32_t>(0, 5000);
  }
}

// Appends a request and returns whether requests behind it can still be understood.
bool append_request(FuzzedDataProvider& input, std::string& bytes, uint64_t cookie) {
  const bool odd = input.ConsumeIntegralInRange(0, 19) == 0;
  const uint16_t command =
      odd ? input.ConsumeIntegral<uint16_t>()
          : input.PickValueInArray<uint16_t>({kCmdRead, kCmdWrite, kCmdFlush, kCmdTrim, kCmdCache,
                                              kCmdWriteZeroes, kCmdBlockStatus});
  const uint16_t flags = input.ConsumeBool() ? 0 : input.ConsumeIntegral<uint8_t>();
  uint32_t length = make_length(input);
  if (command == kCmdWrite && length > 200'000 && input.ConsumeBool()) length %= 200'000;
  append_be(bytes, kRequestMagic);
  append_be(bytes, flags);
  append_be(bytes, command);
  append_be(bytes, cookie);
  append_be(bytes, make_offset(input));
  append_be(bytes, length);
  if (command == kCmdDisconnect) return false;
  if (command != kCmdWrite) return true;
  if (length > 200'000) return false;  // its payload does not come
  bytes.append(length, static_cast<char>(cookie));
  return true;
}

// Returns how many replies there are. Each request's cookie is below `requests`, and is answered
// once.
size_t check_replies(ByteView output, size_t requests) {
  std::vector<bool> answered(requests);
  size_t count = 0;
  const auto answer = [&](uint64_t cookie) {
    require(cookie < requests && !answered[cookie]);
    answered[cookie] = true;
    ++count;
  };
  while (!output.empty()) {
    require(take_be<uint32_t>(output) == kStructuredReplyMagic);
    require(take_be<uint16_t>(output) == kChunkDone);
    take_be<uint16_t>(output);
    answer(take_be<uint64_t>(output));
    const auto size = take_be<uint32_t>(output);
    require(size <= output.size() && size <= kDiskBytes + 8);
    output = output.subspan(size);
    // Simple replies, to commands without data, may follow.
    while (output.size() >= kSimpleReplyBytes &&
           load_be<uint32_t>(output.data()) == kSimpleReplyMagic) {
      answer(load_be<uint64_t>(output.data() + 8));
      output = output.subspan(kSimpleReplyBytes);
    }
  }
  return count;
}

void run(FuzzedDataProvider& input) {
  static WorkerPool pool({.threads_max = 2, .threads_per_key_max = 2});
  TransmissionOptions options{.receive_bytes = 8192,
                              .write_piece_bytes = 4096,
                              .waiting_requests_max = 4,
                              .waiting_bytes_max = 9000,
                              .refused_payload_bytes_max = 200'000};
  const bool some_wait = input.ConsumeIntegralInRange(0, 7) == 0;  // slower: threads
  const auto device = std::make_shared<FuzzDevice>(
      input.ConsumeIntegralInRange(0, 7) == 0, some_wait ? input.ConsumeIntegral<uint32_t>() : 0,
      input.ConsumeBool() ? 0 : input.ConsumeIntegral<uint32_t>());
  const Negotiated negotiated{.structured_replies = true, .base_allocation = input.ConsumeBool()};
  const size_t part =
      input.ConsumeBool() ? SIZE_MAX : input.ConsumeIntegralInRange<size_t>(1, 5000);

  // A first structured reply, so that the check of the replies begins with one.
  std::string bytes;
  append_be(bytes, kRequestMagic);
  append_be(bytes, uint32_t{kCmdRead});
  append_be(bytes, uint64_t{0});
  append_be(bytes, uint64_t{0});
  append_be(bytes, uint32_t{0});
  size_t requests = 1;
  bool goes_on = true;
  while (goes_on && requests < 60 && input.remaining_bytes() > 0)
    goes_on = append_request(input, bytes, requests++);
  const bool ends_well = goes_on;
  if (ends_well) {
    append_be(bytes, kRequestMagic);
    append_be(bytes, uint32_t{kCmdDisconnect});
    bytes.append(20, '\0');
  } else {
    bytes += input.ConsumeRemainingBytesAsString();
  }

  FuzzStream stream(std::move(bytes), part);
  Transmission transmission(options, stream, device, negotiated, pool);
  const Status served = transmission.run({});
  if (!ends_well) return;
  require(served.has_value());
  require(check_replies(as_bytes(stream.output), requests) == requests);
}

}  // namespace
}  // namespace forerun::nbd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  forerun::nbd::run(input);
  return 0;
}
