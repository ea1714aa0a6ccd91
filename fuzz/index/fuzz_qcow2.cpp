// Fuzzes the qcow2 reader: builds a right file, then spoils fields of its header and tables with
// values that hurt.
#include <fuzzer/FuzzedDataProvider.h>

#include "image/memory_file.h"
#include "image/qcow2.h"
#include "image/qcow2_builder.h"

using namespace forerun;
using image::Qcow2Builder;

namespace {

constexpr size_t kClustersMax = 32;
constexpr image::Qcow2Limits kLimits{.disk_size_max = 2 * kMiB, .cache_bytes_max = 64 * kKiB};

void require(bool condition) {
  if (!condition) __builtin_trap();
}

Qcow2Builder build(FuzzedDataProvider& input) {
  Qcow2Builder builder({.version = input.ConsumeBool() ? 3u : 2u,
                        .cluster_bits = input.ConsumeIntegralInRange<uint32_t>(9, 12),
                        .is_zstd = false});
  for (size_t count = input.ConsumeIntegralInRange<size_t>(1, kClustersMax); count > 0; --count) {
    auto kind =
        input.PickValueInArray({Qcow2Builder::Kind::kUnallocated, Qcow2Builder::Kind::kPlain,
                                Qcow2Builder::Kind::kCompressed});
    builder.add(kind, Buffer(builder.cluster_size(), std::byte{input.ConsumeIntegral<uint8_t>()}));
  }
  return builder;
}

uint64_t hurtful(FuzzedDataProvider& input, size_t file_size) {
  switch (input.ConsumeIntegralInRange<int>(0, 6)) {
    case 0:
      return input.ConsumeIntegralInRange<uint64_t>(0, 64);
    case 1:
      return input.ConsumeIntegralInRange<uint64_t>(0, file_size + 512) & ~uint64_t{511};
    case 2:
      return uint64_t{1} << input.ConsumeIntegralInRange<int>(0, 63);
    case 3:
      return uint64_t{1} << 62 | input.ConsumeIntegralInRange<uint64_t>(0, file_size);
    case 4:
      return UINT64_MAX - input.ConsumeIntegralInRange<uint64_t>(0, 65536);
    case 5:
      return file_size;
    default:
      return input.ConsumeIntegral<uint64_t>();
  }
}

// Returns whether anything was spoilt.
bool spoil(Buffer& file, const Qcow2Builder& builder, FuzzedDataProvider& input) {
  constexpr size_t kFields32[] = {4, 20, 32, 36, 96, 100, 104};
  constexpr size_t kFields64[] = {8, 24, 40, 72};
  const int count = input.ConsumeIntegralInRange<int>(0, 4);
  for (int i = 0; i < count; ++i) {
    const uint64_t value = hurtful(input, file.size());
    const size_t table_entries = (file.size() - builder.l1_offset) / 8;
    switch (input.ConsumeIntegralInRange<int>(0, 3)) {
      case 0:
        Qcow2Builder::put_be32(file, input.PickValueInArray(kFields32),
                               static_cast<uint32_t>(value));
        break;
      case 1:
        Qcow2Builder::put_be64(file, input.PickValueInArray(kFields64), value);
        break;
      case 2:
        Qcow2Builder::put_be64(file,
                               builder.entry_offset(input.ConsumeIntegralInRange<size_t>(
                                   0, builder.clusters().size() - 1)),
                               value);
        break;
      default:
        Qcow2Builder::put_be64(
            file,
            builder.l1_offset + 8 * input.ConsumeIntegralInRange<size_t>(0, table_entries - 1),
            value);
    }
  }
  if (count == 0 || !input.ConsumeBool()) return count > 0;
  file.resize(input.ConsumeIntegralInRange<size_t>(0, file.size()));
  return true;
}

// Reads the disk in pieces; returns what it is, or nothing if the reader refuses.
std::optional<Buffer> read(const Buffer& bytes, FuzzedDataProvider& input) {
  image::MemoryFile file(bytes);
  const auto disk = image::Qcow2Reader::open(file, kLimits);
  if (!disk) {
    require(!disk.error().message.empty());
    return std::nullopt;
  }
  Buffer content((*disk)->size_bytes());
  require(content.size() <= kLimits.disk_size_max && !content.empty());
  const size_t step = input.ConsumeIntegralInRange<size_t>(1, 4) * 4096 +
                      input.ConsumeIntegralInRange<size_t>(0, 700);
  for (size_t at = 0; at < content.size(); at += step) {
    const MutableByteView piece =
        MutableByteView(content).subspan(at, std::min(step, content.size() - at));
    const bool zero = (*disk)->known_zero({at, piece.size()});
    if (!(*disk)->read(at, piece)) return std::nullopt;
    if (zero)
      require(std::ranges::all_of(piece, [](std::byte byte) { return byte == std::byte{0}; }));
  }
  return content;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  if (input.ConsumeIntegralInRange<int>(0, 15) ==
      0) {  // raw bytes, for what a builder would never write
    const Buffer file = input.ConsumeRemainingBytes<std::byte>();
    FuzzedDataProvider none(nullptr, 0);
    read(file, none);
    return 0;
  }
  Qcow2Builder builder = build(input);
  Buffer file = builder.file();
  const bool spoilt = spoil(file, builder, input);
  const auto content = read(file, input);
  if (!spoilt) require(content && *content == builder.disk());
  return 0;
}
