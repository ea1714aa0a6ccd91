#include "image/elf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"
#include "image/elf_builder.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Result<ElfNeeds> needs_of(const std::string& file) {
  return read_elf_needs([&](uint64_t offset, size_t size) -> Result<Buffer> {
    const auto part = as_bytes(file).subspan(std::min<uint64_t>(offset, file.size()));
    const auto taken = part.first(std::min(size, part.size()));
    return Buffer(taken.begin(), taken.end());
  });
}

TEST(Elf, ReadsInterpreterLibrariesAndSearchPath) {
  const auto needs = needs_of(ElfBuilder{.interpreter = "/lib64/ld.so",
                                         .libraries = {"libc.so.6", "libm.so.6"},
                                         .run_path = "$ORIGIN/../lib:/opt/lib"}
                                  .build());
  ASSERT_TRUE(needs) << needs.error().message;
  EXPECT_EQ(needs->interpreter, "/lib64/ld.so");
  EXPECT_THAT(needs->libraries, ElementsAre("libc.so.6", "libm.so.6"));
  EXPECT_THAT(needs->search_path, ElementsAre("$ORIGIN/../lib", "/opt/lib"));
}

TEST(Elf, StaticProgramNeedsNothing) {
  const auto needs = needs_of(ElfBuilder{}.build());
  ASSERT_TRUE(needs) << needs.error().message;
  EXPECT_THAT(needs->interpreter, IsEmpty());
  EXPECT_THAT(needs->libraries, IsEmpty());
}

TEST(Elf, OtherFilesAreUnsupported) {
  EXPECT_EQ(needs_of("#!/bin/sh\n").error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(needs_of("").error().code, ErrorCode::kUnsupported);
}

TEST(Elf, RefusesTablesThatLeadOut) {
  const ElfBuilder lost{.libraries = {"libc.so.6"}, .strings_address = 0x9000000};
  EXPECT_EQ(needs_of(lost.build()).error().code, ErrorCode::kCorrupt);
  const ElfBuilder odd{.libraries = {"libc.so.6"}, .segment_bytes = 8};
  EXPECT_EQ(needs_of(odd.build()).error().code, ErrorCode::kCorrupt);
  const std::string whole = ElfBuilder{.libraries = {"libc.so.6"}}.build();
  EXPECT_EQ(needs_of(whole.substr(0, whole.size() - 8)).error().code, ErrorCode::kCorrupt);
}

TEST(Elf, RefusesMoreLibrariesThanTheLimit) {
  ElfBuilder many;
  many.libraries.assign(kElfLibrariesMax, "a.so");
  EXPECT_TRUE(needs_of(many.build()));
  many.libraries.push_back("b.so");
  EXPECT_EQ(needs_of(many.build()).error().code, ErrorCode::kTooLarge);
}

TEST(Elf, SpoiledFilesNeverLeadAstray) {
  const std::string whole =
      ElfBuilder{.interpreter = "/lib64/ld.so", .libraries = {"libc.so.6"}, .run_path = "/opt"}
          .build();
  Rng rng(7);
  for (int round = 0; round < 2000; ++round) {
    std::string spoiled = whole;
    for (int i = 0; i < 3; ++i)
      spoiled[rng.below(spoiled.size())] = static_cast<char>(rng.below(256));
    const auto needs = needs_of(spoiled);
    if (needs) {
      EXPECT_LE(needs->libraries.size(), kElfLibrariesMax);
    }
  }
}

}  // namespace
}  // namespace forerun::image
