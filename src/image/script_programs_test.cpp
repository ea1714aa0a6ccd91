#include "image/script_programs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/elf_builder.h"
#include "image/memory_file_system.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST(PerlModulesOf, ReadsWhatIsUsedRequiredAndInherited) {
  EXPECT_THAT(perl_modules("use strict;\n  use IPC::Open3 qw(open3);\nno warnings;\n"
                           "require Carp;\nuse parent -norequire, qw(A::B C);\n"),
              ElementsAre("strict", "IPC::Open3", "warnings", "Carp", "parent", "A::B", "C"));
}

TEST(PerlModulesOf, PassesOverVersionsManualsAndWhatFollowsTheEnd) {
  EXPECT_THAT(perl_modules("use 5.010;\nuse v5.36;\n=head1 NAME\nuse No;\n=cut\nprint 'use No';\n"
                           "__END__\nuse No;\n"),
              IsEmpty());
  EXPECT_THAT(perl_modules("require 'file.pl';\nrequire $name;\nuser x;\n"), IsEmpty());
}

TEST(QuotedWords, AreThoseThatCouldNameAProgram) {
  EXPECT_THAT(quoted_words("get('pg_ctl', \"post-gres\", 'two words', '', 'open"),
              UnorderedElementsAre("pg_ctl", "post-gres"));
}

TEST(NamedUnits, StandInPathsAndAlone) {
  EXPECT_THAT(named_units("a=/lib/systemd/system/db@.service\nb=web.service c=db@.service .service "
                          "x.services\n"),
              ElementsAre("db@.service", "web.service"));
}

struct ScriptProgramsTest : testing::Test {
  ScriptProgramsTest() {
    files.add_link("/usr/share/perl/5.36", "5.36.0");
    files.add_file("/usr/share/perl/5.36.0/Getopt/Long.pm", "use Carp;\nuse missing;\n");
    files.add_file("/usr/share/perl/5.36.0/Unused.pm", "1;\n");
    files.add_file("/usr/share/perl5/PgCommon.pm", "use Socket;\nuse PgCommon;\n");
    files.add_file("/usr/lib/x86_64-linux-gnu/perl-base/Carp.pm", "1;\n");
    files.add_file("/usr/lib/x86_64-linux-gnu/perl-base/Socket.pm", "1;\n");
    files.add_file("/usr/lib/x86_64-linux-gnu/perl-base/auto/Socket/Socket.so",
                   ElfBuilder{}.build());
    files.add_file("/usr/bin/wrapper", "#!/usr/bin/perl\nuse Getopt::Long;\nuse PgCommon;\n");
    for (const std::string_view program : {"server", "control", "other"})
      files.add_file(fmt::format("/usr/lib/database/15/bin/{}", program), ElfBuilder{}.build());
    files.add_file("/usr/lib/elsewhere/1/bin/server", ElfBuilder{}.build());
  }
  // Returns how likely the content of a file is read; 0: it is not.
  float probability_of(const BootReads& reads, std::string_view path) {
    const uint64_t offset = MemoryFileSystem::content_offset(files.id_of(path));
    for (const BootRead& read : reads.reads())
      if (read.range.offset == offset) return read.probability;
    return 0;
  }

  MemoryFileSystem files;
};

TEST_F(ScriptProgramsTest, PerlModulesAreFollowedToTheirLibraries) {
  BootReads reads(files, {});
  ScriptPrograms(reads).add_perl("/usr/bin/wrapper", 0.9f);
  for (const std::string_view path : {"/usr/bin/wrapper", "/usr/share/perl/5.36.0/Getopt/Long.pm",
                                      "/usr/share/perl5/PgCommon.pm"})
    EXPECT_FLOAT_EQ(probability_of(reads, path), 0.9f) << path;
  for (const std::string_view path : {"/usr/lib/x86_64-linux-gnu/perl-base/Carp.pm",
                                      "/usr/lib/x86_64-linux-gnu/perl-base/auto/Socket/Socket.so"})
    EXPECT_FLOAT_EQ(probability_of(reads, path), 0.81f) << path;
  EXPECT_EQ(probability_of(reads, "/usr/share/perl/5.36.0/Unused.pm"), 0);
}

TEST_F(ScriptProgramsTest, NamedProgramsOfANamedPackageAreLikely) {
  BootReads reads(files, {});
  ScriptPrograms(reads).add_named("dir=/usr/lib/database/$v; run('server', \"control\")", 1);
  EXPECT_FLOAT_EQ(probability_of(reads, "/usr/lib/database/15/bin/server"), 0.7f);
  EXPECT_FLOAT_EQ(probability_of(reads, "/usr/lib/database/15/bin/control"), 0.7f);
  EXPECT_EQ(probability_of(reads, "/usr/lib/database/15/bin/other"), 0);
  EXPECT_EQ(probability_of(reads, "/usr/lib/elsewhere/1/bin/server"), 0);
}

TEST_F(ScriptProgramsTest, WhatIsNotThereIsPassedOver) {
  MemoryFileSystem empty;
  BootReads reads(empty, {});
  ScriptPrograms scripts(reads);
  scripts.add_perl("/usr/bin/wrapper", 0.9f);
  scripts.add_named("'server' of database", 1);
  EXPECT_THAT(reads.reads(), IsEmpty());
}

}  // namespace
}  // namespace forerun::image
