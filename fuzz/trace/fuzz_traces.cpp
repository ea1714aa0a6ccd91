// Fuzzes what users give to replays: traces of block requests and of launches, plain or compressed,
// and saved networks.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstring>

#include "predict/rnn.h"
#include "trace/block_trace.h"
#include "trace/launch_trace.h"

using namespace forerun;

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

class InputFile final : public StorageFile {
 public:
  explicit InputFile(ByteView data) : data_(data) {}
  Status read(uint64_t offset, MutableByteView out) override {
    require(offset + out.size() <= data_.size());
    std::memcpy(out.data(), data_.data() + offset, out.size());
    return {};
  }
  Status write(uint64_t, ByteView) override { return refuse(); }
  Status flush() override { return refuse(); }
  Status punch(ByteRange) override { return refuse(); }
  Status resize(uint64_t) override { return refuse(); }
  Result<uint64_t> size() override { return data_.size(); }

 private:
  static Status refuse() { return fail(ErrorCode::kUnsupported, "read only"); }
  ByteView data_;
};

void read_blocks(ByteView data) {
  InputFile file(data);
  const trace::BlockTraceReader::Limits limits;
  trace::BlockTraceReader reader(file, "input");
  uint64_t last = 0;
  for (trace::BlockRequest request;;) {
    const auto more = reader.next(request);
    if (!more) {
      require(more.error().message.starts_with("cannot read block requests of input"));
      return;
    }
    if (!*more) return;
    require(request.at_us >= last && request.at_us <= limits.at_us_max);
    require(request.sectors >= 1 && request.sectors <= limits.sectors_max);
    require(request.first_sector <= limits.sector_max);
    last = request.at_us;
  }
}

// What was read is written and read again as it was.
void read_launches(ByteView data) {
  InputFile file(data);
  trace::LaunchNames names;
  trace::LaunchTraceReader reader(file, "input", names, {.text_bytes_max = 1 << 20});
  std::string written;
  std::vector<trace::LaunchBin> bins;
  for (trace::LaunchBin bin;;) {
    const auto more = reader.next(bin);
    if (!more) {
      require(more.error().message.starts_with("cannot read launches of input"));
      if (!reader.can_go_on()) return;
      continue;
    }
    if (!*more) break;
    written += trace::launch_line(bin, names);
    bins.push_back(bin);
  }
  InputFile again(as_bytes(written));
  trace::LaunchTraceReader rereader(again, "written", names, {});
  for (const trace::LaunchBin& bin : bins) {
    trace::LaunchBin same;
    const auto more = rereader.next(same);
    require(more && *more && same == bin);
  }
}

constexpr std::string_view kPieces[] = {"0",   "1",   "9",   ",",     ",R,",
                                        ",W,", "\n",  " ",   "|",     "b,",
                                        "@h,", "%t,", "~g,", "65536", "4503599627370496",
                                        "\r"};

// Lines that are nearly those of a trace.
std::string build_text(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  std::string text;
  while (input.remaining_bytes() > 0 && text.size() < 4096)
    text += input.ConsumeIntegralInRange<int>(0, 15) == 0
                ? input.ConsumeRandomLengthString(8)
                : std::string(input.PickValueInArray(kPieces));
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  read_blocks(input);
  read_launches(input);
  const std::string text = build_text(data, size);
  read_blocks(as_bytes(text));
  read_launches(as_bytes(text));
  if (const auto net = predict::parse_rnn(input))
    require(predict::serialize(**net) == Buffer(input.begin(), input.end()));
  return 0;
}
