#include "vmm/vm_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/bytes.h"
#include "os/file.h"

namespace forerun::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

VmRecord full() {
  VmRecord record;
  record.disk_bytes = 3ull << 30;
  record.tenant = "red";
  record.name = "web-1";
  record.image = "debian \"12\"\n";
  record.image_digest = std::string(64, 'a');
  record.prefetch = "observe";
  record.profile = {500, telemetry::Metrics{0b101}};
  record.share = {300, 1e6, 2.5e6};
  record.checkpoints = {true, 0.05, 4, {3, 7}};
  record.should_run = true;
  record.boot_id = "0f0f";
  record.process = {4242, 18446744073709551615ull};
  record.created_unix_seconds = 1790000000;
  record.started_unix_seconds = 1790000001;
  record.ownership = 7;
  record.moved_to = "b";
  record.migration = {MigrationRecord::Role::kSource, "m-1", "b", true, true};
  record.qemu.name = "web-1";
  record.qemu.accelerator = Accelerator::kKvm;
  record.qemu.memory_bytes = 1ull << 40;
  record.qemu.cpus = 7;
  record.qemu.nbd_socket = "/run/a,b";
  record.qemu.export_name = "web-1";
  record.qemu.disk_bus = DiskBus::kNvme;
  record.qemu.kernel = "/k";
  record.qemu.initrd = "/i";
  record.qemu.append = "quiet";
  record.qemu.forwards = {{"127.0.0.1", 65535, 80}};
  record.qemu.pmem = {{"libs", "/p/a.raw", 2 << 20}};
  record.qemu.qmp_socket = "/q";
  record.qemu.console_socket = "/c";
  record.qemu.console_log = "/l";
  record.qemu.no_reboot = true;
  return record;
}

class VmRecordFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/vm_record_XXXXXX";
    path_ = mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  std::string path_;
};

TEST(VmRecord, SurvivesARoundTrip) {
  const auto decoded = decode_vm_record(encode_vm_record(full()));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(*decoded, full());
}

TEST(VmRecord, EveryTruncationIsRefused) {
  const std::string text = encode_vm_record(full());
  for (size_t length = 0; length + 2 < text.size(); ++length) {
    EXPECT_FALSE(decode_vm_record(std::string_view(text).substr(0, length))) << length;
  }
}

TEST(VmRecord, WrongTypeNamesTheMember) {
  std::string text = encode_vm_record(full());
  text.replace(text.find("\"cpus\":7"), 8, "\"cpus\":-7");
  const auto decoded = decode_vm_record(text);
  ASSERT_FALSE(decoded);
  EXPECT_THAT(decoded.error().message, HasSubstr("'cpus'"));
}

TEST(VmRecord, PortThatDoesNotFitIsRefused) {
  std::string text = encode_vm_record(full());
  text.replace(text.find("65535"), 5, "65536");
  EXPECT_FALSE(decode_vm_record(text));
}

TEST(VmRecord, OtherVersionIsUnsupported) {
  std::string text = encode_vm_record(full());
  text.replace(text.find("\"version\":1"), 11, "\"version\":2");
  EXPECT_EQ(decode_vm_record(text).error().code, ErrorCode::kUnsupported);
}

TEST_F(VmRecordFolder, SavedRecordsAreListedLoadedAndRemoved) {
  VmRecord other = full();
  other.name = other.qemu.name = "a";
  ASSERT_TRUE(save_vm_record(path_, full()));
  ASSERT_TRUE(save_vm_record(path_, other));
  ASSERT_TRUE(os::write_file_atomic(path_ + "/notes.txt", as_bytes("x")));
  EXPECT_THAT(*list_vm_records(path_), ElementsAre("a", "web-1"));
  EXPECT_EQ(*load_vm_record(path_, "web-1"), full());
  ASSERT_TRUE(remove_vm_record(path_, "a"));
  EXPECT_EQ(load_vm_record(path_, "a").error().code, ErrorCode::kNotFound);
}

TEST_F(VmRecordFolder, RecordUnderAnotherNameIsRefused) {
  ASSERT_TRUE(os::write_file_atomic(path_ + "/b.json", as_bytes(encode_vm_record(full()))));
  EXPECT_EQ(load_vm_record(path_, "b").error().code, ErrorCode::kCorrupt);
}

TEST_F(VmRecordFolder, HostileNamesNeverReachTheFileSystem) {
  EXPECT_EQ(load_vm_record(path_, "../x").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(remove_vm_record(path_, "../x").error().code, ErrorCode::kInvalid);
  VmRecord record = full();
  record.name = "../x";
  EXPECT_EQ(save_vm_record(path_, record).error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace forerun::vmm
