#include "image/qcow2.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"
#include "image/memory_file.h"
#include "image/qcow2_builder.h"

namespace forerun::image {
namespace {

using Kind = Qcow2Builder::Kind;
using testing::HasSubstr;

Buffer text_bytes(size_t size, uint64_t seed) {
  Rng rng(seed);
  Buffer bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>('a' + rng.below(3));
  return bytes;
}

// One cluster of each kind, in an order that mixes them, and a few more.
Qcow2Builder mixed(Qcow2Builder::Options options, size_t count = 9) {
  Qcow2Builder builder(options);
  constexpr Kind kOrder[] = {Kind::kPlain, Kind::kUnallocated, Kind::kCompressed, Kind::kCompressed,
                             Kind::kZero};
  for (size_t i = 0; i < count; ++i) {
    Kind kind = kOrder[i % 5];
    if (options.version < 3 && kind == Kind::kZero) kind = Kind::kUnallocated;
    builder.add(kind, text_bytes(builder.cluster_size(), i));
  }
  return builder;
}

Result<Buffer> read_all(const Buffer& file) {
  MemoryFile memory(file);
  FR_TRY(const auto reader, Qcow2Reader::open(memory));
  Buffer disk(reader->size_bytes());
  FR_CHECK(reader->read(0, disk));
  return disk;
}

Error error_of(const Buffer& file) {
  const auto disk = read_all(file);
  return disk ? Error{} : disk.error();
}

struct Qcow2Formats : testing::TestWithParam<Qcow2Builder::Options> {};

TEST_P(Qcow2Formats, ReadsEveryKindOfCluster) {
  Qcow2Builder builder = mixed(GetParam());
  const auto disk = read_all(builder.file());
  ASSERT_TRUE(disk) << disk.error().message;
  EXPECT_EQ(*disk, builder.disk());
}

TEST_P(Qcow2Formats, ReadsAnyRange) {
  Qcow2Builder builder = mixed(GetParam());
  MemoryFile file(builder.file());
  const auto reader = Qcow2Reader::open(file);
  ASSERT_TRUE(reader);
  const Buffer disk = builder.disk();
  Rng rng(1);
  for (int i = 0; i < 50; ++i) {
    const size_t offset = rng.below(disk.size());
    Buffer out(rng.below(std::min<size_t>(disk.size() - offset, 100'000)) + 1);
    ASSERT_TRUE((*reader)->read(offset, out));
    ASSERT_TRUE(std::equal(out.begin(), out.end(), disk.begin() + static_cast<ptrdiff_t>(offset)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Variants, Qcow2Formats,
    testing::Values(Qcow2Builder::Options{3, 16, false}, Qcow2Builder::Options{3, 16, true},
                    Qcow2Builder::Options{2, 16, false}, Qcow2Builder::Options{3, 9, false},
                    Qcow2Builder::Options{2, 12, false}, Qcow2Builder::Options{3, 18, true}));

TEST(Qcow2, ReadsThroughSeveralL2Tables) {
  Qcow2Builder builder = mixed({3, 9, false}, 200);  // 64 clusters a table
  const auto disk = read_all(builder.file());
  ASSERT_TRUE(disk) << disk.error().message;
  EXPECT_EQ(*disk, builder.disk());
}

TEST(Qcow2, KnowsZeroesWithoutReading) {
  Qcow2Builder builder({});
  for (const Kind kind : {Kind::kUnallocated, Kind::kZero, Kind::kPlain}) builder.add(kind);
  MemoryFile file(builder.file());
  const auto reader = Qcow2Reader::open(file);
  ASSERT_TRUE(reader);
  EXPECT_TRUE((*reader)->known_zero({0, 2 * 65536}));
  EXPECT_FALSE((*reader)->known_zero({65536, 65537}));
  EXPECT_FALSE((*reader)->known_zero({2 * 65536 + 5, 1}));
}

TEST(Qcow2, ReadsALastClusterThatTheFileCutsOff) {
  Qcow2Builder builder({});
  Buffer content = text_bytes(1000, 1);
  builder.add(Kind::kPlain, content);
  Buffer file = builder.file();
  file.resize(file.size() - 65536 + 1000);
  const auto disk = read_all(file);
  ASSERT_TRUE(disk) << disk.error().message;
  EXPECT_EQ(*disk, builder.disk());
}

// A field of a good file set to something else must be refused, for the stated reason.
struct Refusal {
  const char* name;
  size_t offset;
  size_t width;
  uint64_t value;
  ErrorCode code;
  const char* reason;
};
struct Qcow2Header : testing::TestWithParam<Refusal> {};

TEST_P(Qcow2Header, IsRefusedAndSaysWhy) {
  Qcow2Builder builder = mixed({});
  Buffer file = builder.file();
  if (GetParam().width == 8)
    Qcow2Builder::put_be64(file, GetParam().offset, GetParam().value);
  else
    Qcow2Builder::put_be32(file, GetParam().offset, static_cast<uint32_t>(GetParam().value));
  const Error error = error_of(file);
  EXPECT_EQ(error.code, GetParam().code);
  EXPECT_THAT(error.message, HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(
    Hostile, Qcow2Header,
    testing::Values(
        Refusal{"magic", 0, 4, 0x514649fa, ErrorCode::kInvalid, "not qcow2"},
        Refusal{"version", 4, 4, 4, ErrorCode::kUnsupported, "version 4"},
        Refusal{"backing", 8, 8, 200, ErrorCode::kUnsupported, "backing file"},
        Refusal{"small_clusters", 20, 4, 8, ErrorCode::kCorrupt, "clusters of 2^8"},
        Refusal{"large_clusters", 20, 4, 22, ErrorCode::kCorrupt, "clusters of 2^22"},
        Refusal{"huge_clusters", 20, 4, 0xffffffff, ErrorCode::kCorrupt, "clusters of"},
        Refusal{"empty", 24, 8, 0, ErrorCode::kCorrupt, "empty"},
        Refusal{"huge", 24, 8, UINT64_MAX, ErrorCode::kTooLarge, "limit"},
        Refusal{"larger_than_l1", 24, 8, 600 * kMiB, ErrorCode::kCorrupt, "too short"},
        Refusal{"encrypted", 32, 4, 1, ErrorCode::kUnsupported, "encrypted"},
        Refusal{"luks", 32, 4, 2, ErrorCode::kUnsupported, "encrypted"},
        Refusal{"no_l1", 36, 4, 0, ErrorCode::kCorrupt, "too short"},
        Refusal{"huge_l1", 36, 4, 0xffffffff, ErrorCode::kTooLarge, "over the limit"},
        Refusal{"long_l1", 36, 4, 1 << 20, ErrorCode::kCorrupt, "not in the file"},
        Refusal{"l1_past_end", 40, 8, uint64_t{1} << 40, ErrorCode::kCorrupt, "not in the file"},
        Refusal{"l1_wraps", 40, 8, UINT64_MAX - 65535, ErrorCode::kCorrupt, "not in the file"},
        Refusal{"l1_unaligned", 40, 8, 65537, ErrorCode::kCorrupt, "not in the file"},
        Refusal{"l1_nowhere", 40, 8, 0, ErrorCode::kCorrupt, "not in the file"},
        Refusal{"dirty", 72, 8, 1, ErrorCode::kUnsupported, "dirty"},
        Refusal{"corrupt", 72, 8, 2, ErrorCode::kUnsupported, "corrupt"},
        Refusal{"data_file", 72, 8, 4, ErrorCode::kUnsupported, "another file"},
        Refusal{"compression", 72, 8, 8, ErrorCode::kCorrupt, "contradicts"},
        Refusal{"extended_l2", 72, 8, 16, ErrorCode::kUnsupported, "extended L2"},
        Refusal{"unknown", 72, 8, uint64_t{1} << 63, ErrorCode::kUnsupported, "bit 63"},
        Refusal{"refcounts", 96, 4, 7, ErrorCode::kCorrupt, "refcounts"},
        Refusal{"short_header", 100, 4, 96, ErrorCode::kCorrupt, "header has 96"},
        Refusal{"odd_header", 100, 4, 105, ErrorCode::kCorrupt, "header has 105"},
        Refusal{"long_header", 100, 4, 0x7ffffff8, ErrorCode::kCorrupt, "header has"},
        Refusal{"unknown_compression", 104, 4, 0x02000000, ErrorCode::kUnsupported, "unknown way"},
        Refusal{"silent_compression", 104, 4, 0x01000000, ErrorCode::kCorrupt, "contradicts"}),
    [](const auto& refusal) { return std::string(refusal.param.name); });

// The same for table entries; the value may use the places of the file's tables.
struct TableRefusal {
  const char* name;
  bool in_l1;
  std::function<uint64_t(const Qcow2Builder&, const Buffer&)> value;
  const char* reason;
};
struct Qcow2Table : testing::TestWithParam<TableRefusal> {};

TEST_P(Qcow2Table, IsRefusedAndSaysWhy) {
  Qcow2Builder builder = mixed({});
  Buffer file = builder.file();
  const size_t at = GetParam().in_l1 ? builder.l1_offset : builder.entry_offset(1);
  Qcow2Builder::put_be64(file, at, GetParam().value(builder, file));
  const Error error = error_of(file);
  EXPECT_EQ(error.code, ErrorCode::kCorrupt);
  EXPECT_THAT(error.message, HasSubstr(GetParam().reason));
}

uint64_t compressed_at(uint64_t offset) { return uint64_t{1} << 62 | offset; }

INSTANTIATE_TEST_SUITE_P(
    Hostile, Qcow2Table,
    testing::Values(
        TableRefusal{"l2_past_end", true, [](auto&, auto&) { return uint64_t{1} << 40; },
                     "not in the file"},
        TableRefusal{"l2_unaligned", true, [](auto&, auto&) { return 131072 + 512; },
                     "does not begin"},
        TableRefusal{"l1_reserved", true, [](auto& b, auto&) { return b.l2_offset | 1; },
                     "reserved"},
        TableRefusal{"l2_is_the_l1", true, [](auto& b, auto&) { return b.l1_offset; },
                     "over another table"},
        TableRefusal{"data_past_end", false, [](auto&, auto&) { return uint64_t{1} << 40; },
                     "not in the file"},
        TableRefusal{"data_unaligned", false, [](auto&, auto&) { return 131072 + 512; },
                     "not aligned"},
        TableRefusal{"data_reserved", false, [](auto& b, auto&) { return b.l2_offset | 2; },
                     "reserved"},
        TableRefusal{"data_is_the_header", false, [](auto& b, auto&) { return b.l1_offset; },
                     "over a table"},
        TableRefusal{"data_is_its_table", false, [](auto& b, auto&) { return b.l2_offset; },
                     "over a table"},
        TableRefusal{"data_twice", false, [](auto& b, auto&) { return b.l2_offset + 65536; },
                     "another cluster"},
        TableRefusal{"packed_past_end", false,
                     [](auto&, auto& f) { return compressed_at(f.size()); }, "not in the file"},
        TableRefusal{"packed_in_header", false, [](auto&, auto&) { return compressed_at(0); },
                     "not in the file"},
        TableRefusal{"packed_is_junk", false,
                     [](auto& b, auto&) { return compressed_at(b.l2_offset); }, "does not unpack"}),
    [](const auto& refusal) { return std::string(refusal.param.name); });

TEST(Qcow2, RefusesTwoL1EntriesForOneTable) {
  Qcow2Builder builder = mixed({3, 9, false}, 200);
  Buffer file = builder.file();
  Qcow2Builder::put_be64(file, builder.l1_offset + 8, builder.l2_offset);
  EXPECT_THAT(error_of(file).message, HasSubstr("over another table"));
}

TEST(Qcow2, RefusesAL1TableOverTheHeader) {
  Qcow2Builder builder = mixed({3, 9, false}, 4);
  Buffer file = builder.file();
  Qcow2Builder::put_be32(file, 36,
                         64);  // one table needed, a cluster of them claimed: over the L2 table
  EXPECT_TRUE(read_all(file));
  Qcow2Builder::put_be32(file, 36, 65);
  EXPECT_THAT(error_of(file).message, HasSubstr("over another table"));
}

TEST(Qcow2, TakesTheZeroFlagOfVersion2ForNonsense) {
  Qcow2Builder builder = mixed({2, 16, false});
  Buffer file = builder.file();
  Qcow2Builder::put_be64(file, builder.entry_offset(1), 1);
  EXPECT_THAT(error_of(file).message, HasSubstr("reserved"));
}

TEST(Qcow2, RefusesEveryTruncationOfItsHeadAndTables) {
  Qcow2Builder builder({3, 9, false});
  builder.add(Kind::kPlain, text_bytes(512, 1));
  const Buffer file = builder.file();
  for (size_t size = 0; size <= builder.l2_offset + 511; ++size) {
    EXPECT_NE(error_of(Buffer(file.begin(), file.begin() + static_cast<ptrdiff_t>(size))).message,
              "")
        << size;
  }
}

TEST(Qcow2, SurvivesEveryFlippedBitOfHeadAndTables) {
  Qcow2Builder builder({3, 9, false});
  builder.add(Kind::kPlain, text_bytes(512, 1));
  builder.add(Kind::kCompressed, text_bytes(512, 2));
  Buffer file = builder.file();
  const Qcow2Limits small{.disk_size_max = kMiB};
  for (size_t bit = 0; bit < (builder.l2_offset + 16) * 8; ++bit) {
    file[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    MemoryFile memory(file);
    if (const auto reader = Qcow2Reader::open(memory, small)) {
      Buffer out((*reader)->size_bytes());
      EXPECT_LE(out.size(), small.disk_size_max);
      if (const Status status = (*reader)->read(0, out); !status)
        EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
    }
    file[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

TEST(Qcow2, UnpacksABombNoFurtherThanItsCluster) {
  Qcow2Builder builder({});
  builder.add(Kind::kCompressed, Buffer(65536));
  Buffer file = builder.file();
  Qcow2Builder::put_be32(file, 20, 9);  // the packed 64 KiB now stand for a cluster of 512 bytes
  Qcow2Builder::put_be64(file, 24, 512);
  const auto disk = read_all(file);
  ASSERT_TRUE(disk) << disk.error().message;
  EXPECT_EQ(*disk, Buffer(512));
}

TEST(OpenDisk, GoesByTheNameNotByTheContent) {
  MemoryFile raw(text_bytes(1000, 1));
  const auto disk = open_disk(raw, "a.raw", std::nullopt);
  ASSERT_TRUE(disk);
  EXPECT_EQ((*disk)->size_bytes(), 1024u);
  EXPECT_EQ(open_disk(raw, "a.qcow2", std::nullopt).error().code, ErrorCode::kInvalid);
}

TEST(OpenDisk, NeverTakesAGuestsBytesForAFormat) {
  Qcow2Builder builder = mixed({});
  MemoryFile file(builder.file());
  EXPECT_EQ(open_disk(file, "disk.img", std::nullopt).error().code, ErrorCode::kInvalid);
  const auto raw = open_disk(file, "disk.img", DiskFormat::kRaw);
  ASSERT_TRUE(raw);
  EXPECT_EQ((*raw)->size_bytes(), round_up(file.bytes.size(), 512));
  const auto qcow2 = open_disk(file, "disk.img", DiskFormat::kQcow2);
  ASSERT_TRUE(qcow2);
  EXPECT_EQ((*qcow2)->size_bytes(), builder.disk().size());
}

TEST(OpenDisk, RefusesAnEmptyFile) {
  MemoryFile file;
  EXPECT_EQ(open_disk(file, "a", std::nullopt).error().code, ErrorCode::kInvalid);
}

TEST(DiskFormats, HaveNames) {
  EXPECT_EQ(*parse_disk_format("raw"), DiskFormat::kRaw);
  EXPECT_EQ(*parse_disk_format(disk_format_name(DiskFormat::kQcow2)), DiskFormat::kQcow2);
  EXPECT_EQ(parse_disk_format("vmdk").error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace forerun::image
