// Fuzzes what a repository sends: index, tag, list, stored chunk. Mostly builds an index that is
// almost right, as random bytes rarely get past the magic.
#include <fuzzer/FuzzedDataProvider.h>

#include "core/codec.h"
#include "repository/chunk.h"
#include "repository/delta.h"
#include "repository/image_index.h"

using namespace forerun;
using repository::kChunkSize;

namespace {

constexpr uint64_t kImageMax = 512ull * kChunkSize;

void require(bool condition) {
  if (!condition) __builtin_trap();
}

Buffer build_index(FuzzedDataProvider& input) {
  ByteWriter out;
  const bool foreign = input.ConsumeProbability<float>() < 0.03f;
  out.bytes(as_bytes(foreign ? "FRINDEX\r" : "FRINDEX\n"));
  out.u16(input.ConsumeProbability<float>() < 0.03f ? input.ConsumeIntegral<uint16_t>() : 1);
  out.u16(0);
  out.u32(input.ConsumeProbability<float>() < 0.03f ? input.ConsumeIntegral<uint32_t>()
                                                    : kChunkSize);
  const uint64_t size = input.ConsumeProbability<float>() < 0.05f
                            ? input.ConsumeIntegral<uint64_t>()
                            : input.ConsumeIntegralInRange<uint64_t>(1, kImageMax);
  out.u64(size);
  uint64_t left = size <= kImageMax ? repository::chunk_count(size) : 8;
  bool stored = input.ConsumeBool();
  while (left > 0 && input.remaining_bytes() > 0) {
    const uint64_t run = input.ConsumeIntegralInRange<uint64_t>(1, std::min<uint64_t>(left, 24));
    const bool last = input.ConsumeBool();
    const uint64_t claimed = input.ConsumeProbability<float>() < 0.05f
                                 ? input.ConsumeIntegral<uint32_t>()
                             : last ? left
                                    : run;
    const uint64_t count = stored ? run : (last ? left : run);
    out.u32(static_cast<uint32_t>(stored ? (1u << 31 | run) : count) ^
            (claimed > left ? static_cast<uint32_t>(claimed) : 0));
    for (uint64_t i = 0; stored && i < run; ++i) {
      Buffer id(32, std::byte{input.ConsumeIntegral<uint8_t>()});
      out.bytes(id);
      out.u32(input.ConsumeIntegralInRange<uint32_t>(0, 4096));
    }
    left -= std::min(left, count);
    stored = !stored;
  }
  return out.take();
}

// Cuts, extends or overwrites a little.
void spoil(Buffer& data, FuzzedDataProvider& input) {
  for (int i = input.ConsumeIntegralInRange<int>(0, 3); i > 0 && !data.empty(); --i) {
    const size_t at = input.ConsumeIntegralInRange<size_t>(0, data.size() - 1);
    data[at] = std::byte{input.ConsumeIntegral<uint8_t>()};
  }
  if (input.ConsumeProbability<float>() < 0.2f)
    data.resize(input.ConsumeIntegralInRange<size_t>(0, data.size() + 8));
}

void check_index(ByteView data) {
  const auto index = repository::parse_index(data, kImageMax);
  if (!index) return require(!index.error().message.empty());
  require(index->chunks.size() == repository::chunk_count(index->size_bytes));
  uint64_t total = 0;
  for (const auto& ref : index->chunks) {
    total += ref.size;
    require(ref.is_zero() ? ref.id == ChunkId{} : ref.id != ChunkId{});
  }
  require(total == index->size_bytes);
  require(std::ranges::equal(repository::serialize(*index), data));  // one image, one name
}

void check_tag(std::string_view text) {
  if (const auto tag = repository::parse_tag(text))
    require(*repository::parse_tag(repository::serialize(*tag)) == *tag);
}

void check_list(std::string_view text) {
  const auto names = repository::parse_image_list(text);
  if (!names) return;
  for (const std::string& name : *names) require(is_valid_name(name));
}

void check_chunk(FuzzedDataProvider& input) {
  const bool right = input.ConsumeBool();
  const auto size = input.ConsumeIntegralInRange<uint32_t>(0, 2 * kChunkSize);
  const Buffer content =
      input.ConsumeBytes<std::byte>(input.ConsumeIntegralInRange<size_t>(1, 600));
  if (content.empty()) return;
  auto encoded = repository::encode_chunk(content);
  if (encoded.ref.is_zero()) return;
  if (!right) spoil(encoded.stored, input);
  repository::ChunkRef ref = encoded.ref;
  if (!right && input.ConsumeBool()) ref.size = size;
  const auto chunk = repository::decode_chunk(ref, encoded.stored);
  require(chunk || !right);
  if (chunk) require((*chunk)->content == content);
}

// A delta of two chunks, spoiled or not: told right, or refused.
void check_delta(FuzzedDataProvider& input) {
  const bool right = input.ConsumeBool();
  std::vector<repository::ChunkPtr> bases;
  for (int i = 0; i < 2; ++i) {
    auto basis = std::make_shared<repository::Chunk>();
    basis->content = input.ConsumeBytes<std::byte>(input.ConsumeIntegralInRange<size_t>(1, 400));
    basis->content.push_back(static_cast<std::byte>(i + 1));
    basis->id = sha256(basis->content);
    bases.push_back(std::move(basis));
  }
  if (bases[0]->id == bases[1]->id) return;
  Buffer content = input.ConsumeBytes<std::byte>(input.ConsumeIntegralInRange<size_t>(0, 400));
  const auto& copied = bases[input.ConsumeBool()]->content;
  content.insert(content.end(), copied.begin(), copied.end());
  content.push_back(std::byte(3));
  const ChunkId id = sha256(content);
  if (id == bases[0]->id || id == bases[1]->id) return;
  auto stored = repository::pack_delta(content, bases, repository::kStoredSizeMax);
  require(stored.has_value());
  if (!right) spoil(*stored, input);
  const repository::ChunkRef ref{id, static_cast<uint32_t>(content.size()), 99, true};
  if (const auto named = repository::read_bases(ref, *stored))
    require(!named->empty() && named->size() <= repository::kBasesMax);
  const auto chunk = repository::decode_delta(ref, *stored, bases);
  require(chunk || !right);
  if (chunk) require((*chunk)->content == content);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  switch (input.ConsumeIntegralInRange<int>(0, 9)) {
    case 0:
      check_index(input.ConsumeRemainingBytes<std::byte>());
      break;
    case 1:
      check_tag(input.ConsumeRemainingBytesAsString());
      break;
    case 2:
      check_list(input.ConsumeRemainingBytesAsString());
      break;
    case 3:
      check_chunk(input);
      break;
    case 4:
    case 5: {
      Buffer index = build_index(input);
      spoil(index, input);
      check_index(index);
      break;
    }
    case 6:
      check_delta(input);
      break;
    default:
      check_index(build_index(input));
  }
  return 0;
}
