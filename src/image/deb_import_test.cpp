#include "image/deb_import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/ar_builder.h"
#include "image/component_fixture.h"
#include "image/packed_text.h"

namespace forerun::image {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct DebImportTest : testing::Test {
  Result<BuiltComponent> import(const std::string& bytes, DebLimits limits = {}) {
    FR_TRY(const auto reader, DebReader::open(stream_of(as_bytes(bytes)), limits));
    BuildOptions options = build_options("tool");
    options.info = describe_deb(reader->control(), "tool");
    FR_TRY(const auto builder, ComponentBuilder::create(store, scratch, options));
    FR_CHECK(reader->add_to(*builder));
    return builder->publish();
  }
  std::string file(const BuiltComponent& built, std::string_view path) {
    return read_file(store, built.index, path).value_or("?");
  }

  repository::MemoryStore store;
  MemoryFile scratch;
};

TarBuilder tool_data() {
  TarBuilder data;
  data.directory("./").directory("./usr/").directory("./usr/bin/");
  data.file("./usr/bin/tool", "program").hard_link("./usr/bin/tool2", "./usr/bin/tool");
  data.directory("./etc/").file("./etc/tool.conf", "a = 1\n").symlink("./usr/bin/t", "tool");
  return data;
}

TEST_F(DebImportTest, FilesAndDatabaseOfAPackage) {
  const std::string control = TarBuilder()
                                  .directory("./")
                                  .file("./control", std::string(kDebControl))
                                  .file("./md5sums", "x  usr/bin/tool\n")
                                  .file("./conffiles", "/etc/tool.conf\n")
                                  .end()
                                  .bytes();
  const auto built = import(ArBuilder()
                                .add("debian-binary", "2.0\n")
                                .add("control.tar.gz", gzip(control))
                                .add("_sign", "anything")
                                .add("data.tar.zst", zstd(tool_data().end().bytes()))
                                .add("_gpgorigin", "odd")
                                .bytes());
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_EQ(file(*built, "/usr/bin/tool2"), "program");
  EXPECT_EQ(file(*built, "/var/lib/dpkg/info/tool.md5sums"), "x  usr/bin/tool\n");
  EXPECT_EQ(
      file(*built, "/var/lib/dpkg/info/tool.list"),
      "/.\n/usr\n/usr/bin\n/usr/bin/tool\n/usr/bin/tool2\n/etc\n/etc/tool.conf\n/usr/bin/t\n");
  const std::string stanza = file(*built, "/var/lib/dpkg/status.d/tool");
  EXPECT_THAT(stanza, AllOf(HasSubstr("Status: install ok installed\nVersion: 1:2.0-3+b1\n"),
                            HasSubstr("Description: a tool\n that does\n .\n things\n"),
                            HasSubstr("Conffiles:\n /etc/tool.conf "
                                      "9358f2568f3316fe7e78a4fa7707c414\n")))
      << stanza;
  EXPECT_EQ(built->index.info.version, "1:2.0-3+b1");
  EXPECT_THAT(built->index.info.provides, testing::ElementsAre("editor", "virtual-tool"));
  const auto usr = built->index.tree.find("/usr");
  ASSERT_TRUE(usr);
  EXPECT_TRUE(built->index.tree.inodes[built->index.tree.names[*usr].inode].gives_way);
}

TEST_F(DebImportTest, ScriptsAreKeptAndNotSaidToHaveRun) {
  const std::string control =
      TarBuilder()
          .file("./control", std::string(kDebControl) + "Multi-Arch: same\n")
          .add({.name = "./postinst", .content = "#!/bin/sh\n", .mode = 0755})
          .end()
          .bytes();
  const auto built = import(deb_of(control, tool_data().end().bytes()));
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_THAT(file(*built, "/var/lib/dpkg/status.d/tool:amd64"),
              HasSubstr("Status: install ok unpacked\n"));
  EXPECT_EQ(file(*built, "/var/lib/dpkg/info/tool:amd64.postinst"), "#!/bin/sh\n");
  // As dpkg does, sums are made where the package has none.
  EXPECT_EQ(file(*built, "/var/lib/dpkg/info/tool:amd64.md5sums"),
            "9358f2568f3316fe7e78a4fa7707c414  etc/tool.conf\n"
            "a9c449d4fa44e9e5a41c574ae55ce4d9  usr/bin/tool\n"
            "a9c449d4fa44e9e5a41c574ae55ce4d9  usr/bin/tool2\n");
}

TEST_F(DebImportTest, TellsWhatCannotBeMadeUpFor) {
  const auto state = [](std::string file, std::string content) {
    const std::string bytes = deb_of(TarBuilder()
                                         .file("control", std::string(kDebControl))
                                         .file(std::move(file), std::move(content))
                                         .end()
                                         .bytes(),
                                     "");
    return DebReader::open(stream_of(as_bytes(bytes))).value()->state();
  };
  EXPECT_EQ(state("preinst", "x"), DebState::kUnpacked);
  EXPECT_EQ(state("triggers", "# x\n\ninterest /usr/share/x\n"), DebState::kUnpacked);
  EXPECT_EQ(state("triggers", "# x\n\nactivate-noawait ldconfig\n"), DebState::kInstalled);
  EXPECT_EQ(state("prerm", "x"), DebState::kInstalled);
  EXPECT_EQ(state("shlibs", "x"), DebState::kInstalled);
}

TEST_F(DebImportTest, LimitsHold) {
  DebLimits limits;
  limits.data.content_bytes_max = 100;
  const std::string data = TarBuilder().file("a", std::string(101, 'x')).end().bytes();
  EXPECT_EQ(import(deb_of(deb_control_tar(), data), limits).error().code, ErrorCode::kTooLarge);
  limits = {};
  limits.unpack = {.bytes_free = 4096, .ratio_max = 10};
  const std::string bomb = ArBuilder()
                               .add("debian-binary", "2.0\n")
                               .add("control.tar", deb_control_tar())
                               .add("data.tar.gz", gzip(std::string(kMiB, '\0')))
                               .bytes();
  EXPECT_THAT(import(bomb, limits).error().message, HasSubstr("bomb"));
  limits = {};
  limits.control_files_max = 2;
  TarBuilder control;
  control.file("control", std::string(kDebControl)).file("a", "").file("b", "");
  EXPECT_THAT(import(deb_of(control.end().bytes(), ""), limits).error().message,
              HasSubstr("'b' is one file or byte too many"));
}

struct Wrong {
  std::string name, bytes, why;
};
void PrintTo(const Wrong& wrong, std::ostream* out) { *out << wrong.name; }

std::string controlled(TarBuilder control) {
  return deb_of(control.end().bytes(), tool_data().end().bytes());
}
std::string with_data(TarBuilder data) { return deb_of(deb_control_tar(), data.end().bytes()); }
std::string with_conffiles(std::string list) {
  return controlled(
      TarBuilder().file("control", std::string(kDebControl)).file("conffiles", std::move(list)));
}
ArBuilder begun() {
  ArBuilder deb;
  deb.add("debian-binary", "2.0\n");
  return deb;
}
ArBuilder half() { return begun().add("control.tar", deb_control_tar()); }

std::vector<Wrong> wrong_archives() {
  const std::string right = with_data(tool_data());
  return {
      {"empty", "", "this is no ar archive"},
      {"short_magic", "!<ar", "this is no ar archive"},
      {"thin", "!<thin>\n", "this is no ar archive"},
      {"nothing", "!<arch>\n", "not 'debian-binary'"},
      {"header_cut", right.substr(0, 40), "cut off within a header"},
      {"version_cut", right.substr(0, 69), "cut off within a member"},
      {"control_cut", right.substr(0, 800), "cut off"},
      {"data_cut", right.substr(0, right.size() - 2000), "cut off"},
      {"header_end", ArBuilder().header("debian-binary", "4", "xx").bytes(), "does not end"},
      {"size_negative", ArBuilder().header("debian-binary", "-4").bytes(), "the size '-4'"},
      {"size_huge", half().header("data.tar", "9999999999").raw("x").bytes(), "cut off"},
      {"size_hex", ArBuilder().header("debian-binary", "0x4").bytes(), "the size '0x4'"},
      {"size_empty", ArBuilder().header("debian-binary", "").bytes(), "the size ''"},
      {"size_spaced", ArBuilder().header("debian-binary", "4 4").bytes(), "the size '4 4'"},
      {"name_empty", ArBuilder().header("", "4").bytes(), "cannot name a member"},
      {"name_path", ArBuilder().header("../etc/passwd", "4").bytes(), "cannot name a member"},
      {"name_table", ArBuilder().header("//", "4").bytes(), "cannot name a member"},
      {"name_space", ArBuilder().header("a b", "4").bytes(), "cannot name a member"},
      {"name_control", ArBuilder().header("a\x01", "4").bytes(), "cannot name a member"},
      {"padding", begun().header("_a", "1").raw("xy").bytes(), "is no line feed"},
      {"format_3", ArBuilder().add("debian-binary", "3.0\n").bytes(), "format '3.0'"},
      {"format_none", ArBuilder().add("debian-binary", "").bytes(), "format ''"},
      {"format_word", ArBuilder().add("debian-binary", "2.x\n").bytes(), "format '2.x'"},
      {"format_long", ArBuilder().add("debian-binary", std::string(99, '2')).bytes(), "no version"},
  };
}

std::vector<Wrong> wrong_members() {
  const std::string data = tool_data().end().bytes();
  return {
      {"no_control", begun().bytes(), "has no control.tar"},
      {"data_first", begun().add("data.tar", data).bytes(), "'data.tar' where control.tar"},
      {"no_data", half().bytes(), "has no data.tar"},
      {"two_controls", half().add("control.tar", deb_control_tar()).bytes(), "where data.tar"},
      {"two_data", half().add("data.tar", data).add("data.tar", data).bytes(), "behind its data"},
      {"two_packings", half().add("data.tar", data).add("data.tar.gz", "").bytes(), "behind"},
      {"bzip2", half().add("data.tar.bz2", "BZh").bytes(), "packed in a way not known"},
      {"lzma", half().add("data.tar.lzma", "").bytes(), "packed in a way not known"},
      {"other_end", half().add("data.tarx", data).bytes(), "packed in a way not known"},
      {"not_gzip", half().add("data.tar.gz", data).bytes(), "not packed as its name says"},
      {"gzip_as_zstd", half().add("data.tar.zst", gzip(data)).bytes(), "not packed as its name"},
      {"gzip_as_plain", half().add("data.tar", gzip(data)).bytes(), "not packed as its name"},
      {"gzip_cut", half().add("data.tar.gz", gzip(data).substr(0, 60)).bytes(), "cut off"},
  };
}

std::vector<Wrong> wrong_control() {
  return {
      {"control_absent", controlled(TarBuilder().file("md5sums", "")), "no control file"},
      {"control_twice", controlled(TarBuilder().file("control", "x").file("./control", "x")),
       "there twice"},
      {"control_folder", controlled(TarBuilder().directory("a")), "'a' is no file"},
      {"control_path", controlled(TarBuilder().file("a/control", "")), "'a/control' is no file"},
      {"control_up", controlled(TarBuilder().file("../control", "")), ".."},
      {"control_link", controlled(TarBuilder().symlink("control", "/etc/passwd")), "is no file"},
      {"control_hard_link", controlled(TarBuilder().file("a", "").hard_link("control", "a")),
       "is no file"},
      {"control_list", controlled(TarBuilder().file("list", "/etc/shadow\n")), "'list' is no file"},
      {"control_long", controlled(TarBuilder().file(std::string(51, 'a'), "")), "is no file"},
      {"control_words", controlled(TarBuilder().file("control", "no field\n")),
       "no field in line 1"},
      {"conffile_relative", with_conffiles("etc/tool.conf\n"), "no plain path"},
      {"conffile_up", with_conffiles("/../etc/tool.conf\n"), "no plain path"},
      {"conffile_root", with_conffiles("/\n"), "no plain path"},
      {"conffile_odd", with_conffiles("/etc//tool.conf\n"), "no plain path"},
      {"conffile_twice", with_conffiles("/etc/tool.conf\n/etc/tool.conf\n"), "twice"},
      {"conffile_absent", with_conffiles("/etc/absent\n"), "is no file of the package"},
      {"conffile_link", with_conffiles("/usr/bin/t\n"), "is no file of the package"},
  };
}

std::vector<Wrong> wrong_data() {
  const std::string data = tool_data().end().bytes();
  return {
      {"data_up", with_data(TarBuilder().file("./../../etc/passwd", "x")), ".."},
      {"data_absolute", with_data(TarBuilder().file("/etc/passwd", "x")), "absolute"},
      {"data_through_link", with_data(TarBuilder().symlink("a", "/etc").file("a/passwd", "x")),
       "no directory"},
      {"data_link_out", with_data(TarBuilder().hard_link("a", "../etc/shadow")), "hard link"},
      {"data_link_nowhere", with_data(TarBuilder().hard_link("a", "b")), "not there"},
      {"data_device", with_data(TarBuilder().add({.name = "d", .type = '3', .major = 8})),
       "device"},
      {"data_database", with_data(TarBuilder().file("var/lib/dpkg/status", "Package: x\n")),
       "own database"},
      {"data_info", with_data(TarBuilder().file("./var/lib/dpkg/info/x.postinst", "")),
       "own database"},
      {"data_line_feed", with_data(TarBuilder().file("a\nb", "")), "line feed"},
      {"data_file_then_folder", with_data(TarBuilder().file("a", "").directory("a")),
       "cannot become a directory"},
      {"data_no_end", half().add("data.tar", TarBuilder().file("a", "x").bytes()).bytes(),
       "no end"},
      {"data_after_end", half().add("data.tar", data + std::string(512, 'x')).bytes(), "follows"},
      {"database_as_link", with_data(TarBuilder().symlink("var/lib/dpkg", "/etc")), "no directory"},
  };
}

class DebRefused : public testing::TestWithParam<Wrong> {};

TEST_P(DebRefused, IsSaidWhy) {
  repository::MemoryStore store;
  MemoryFile scratch;
  const auto import = [&]() -> Status {
    FR_TRY(const auto reader, DebReader::open(stream_of(as_bytes(GetParam().bytes))));
    FR_TRY(const auto builder, ComponentBuilder::create(store, scratch, build_options()));
    FR_CHECK(reader->add_to(*builder));
    return {};
  };
  const Status status = import();
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr(GetParam().why));
}

std::string name_of(const testing::TestParamInfo<Wrong>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Archives, DebRefused, testing::ValuesIn(wrong_archives()), name_of);
INSTANTIATE_TEST_SUITE_P(Members, DebRefused, testing::ValuesIn(wrong_members()), name_of);
INSTANTIATE_TEST_SUITE_P(Control, DebRefused, testing::ValuesIn(wrong_control()), name_of);
INSTANTIATE_TEST_SUITE_P(Data, DebRefused, testing::ValuesIn(wrong_data()), name_of);

}  // namespace
}  // namespace forerun::image
