// The qcow2 reader against files written by the real qemu-img.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "child.h"
#include "image/disk_reader.h"
#include "repository/memory_store.h"

namespace forerun {
namespace {

using namespace testing_support;

struct Variant {
  const char* name;
  std::vector<std::string> arguments;  // of qemu-img convert
};

struct QemuImg : testing::TestWithParam<Variant> {
  void SetUp() override {
    if (!has_program("qemu-img"))
      GTEST_SKIP() << "qemu-img is not installed (packaging/packages.txt lists qemu-utils)";
    disk = make_disk(9 * kMiB + 1536, 3);
    write_file(folder / "disk.raw", disk);
  }
  void convert(std::vector<std::string> arguments) const {
    std::vector<std::string> argv{"qemu-img", "convert", "-f", "raw", "-O", "qcow2"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    argv.push_back(folder / "disk.raw");
    argv.push_back(folder / "disk.qcow2");
    run_or_fail(argv);
  }
  Error import_error(const std::string& file) const {
    repository::MemoryStore store;
    const auto result = import_file(folder / file, store, "one");
    return result ? Error{} : result.error();
  }

  ScratchFolder folder;
  Buffer disk;
};

TEST_P(QemuImg, WritesWhatTheReaderReads) {
  convert(GetParam().arguments);
  repository::MemoryStore store;
  const auto result = import_file(folder / "disk.qcow2", store, "one");
  ASSERT_TRUE(result) << result.error().message;
  const auto back = read_back(store, "one");
  ASSERT_TRUE(back);
  ASSERT_EQ(back->size(), disk.size());
  EXPECT_EQ(sha256(*back), sha256(disk));
}

INSTANTIATE_TEST_SUITE_P(
    Variants, QemuImg,
    testing::Values(Variant{"plain", {}}, Variant{"zlib", {"-c"}},
                    Variant{"zstd", {"-c", "-o", "compression_type=zstd"}},
                    Variant{"v2", {"-o", "compat=0.10"}},
                    Variant{"v2_zlib", {"-c", "-o", "compat=0.10"}},
                    Variant{"small", {"-o", "cluster_size=512"}},
                    Variant{"small_zlib", {"-c", "-o", "cluster_size=512"}},
                    Variant{"large", {"-o", "cluster_size=2M"}},
                    Variant{"large_zlib", {"-c", "-o", "cluster_size=2M"}},
                    Variant{"large_zstd", {"-c", "-o", "cluster_size=2M,compression_type=zstd"}},
                    Variant{"lazy", {"-o", "lazy_refcounts=on"}},
                    Variant{"wide", {"-o", "refcount_bits=64"}},
                    Variant{"preallocated", {"-S", "0", "-o", "preallocation=metadata"}},
                    Variant{"full", {"-o", "preallocation=full"}}),
    [](const auto& variant) { return std::string(variant.param.name); });

using QemuImgOnce = QemuImg;
INSTANTIATE_TEST_SUITE_P(Once, QemuImgOnce, testing::Values(Variant{"once", {}}),
                         [](const auto& variant) { return std::string(variant.param.name); });

TEST_P(QemuImgOnce, ZeroesAndDiscardsOfAGuestAreRead) {
  convert({});
  run_or_fail({"qemu-io", "-f", "qcow2", "-c", "write -z 1M 1M", "-c", "discard 3M 1M", "-c",
               "write -P 85 5000 70000", "-c", "write -z -u 5M 64k", folder / "disk.qcow2"});
  run_or_fail({"qemu-img", "convert", "-f", "qcow2", "-O", "raw", folder / "disk.qcow2",
               folder / "expected.raw"});
  repository::MemoryStore store;
  ASSERT_TRUE(import_file(folder / "disk.qcow2", store, "one"));
  const auto expected = os::read_file(folder / "expected.raw", 64 * kMiB);
  EXPECT_EQ(sha256(*read_back(store, "one")), sha256(*expected));
}

TEST_P(QemuImgOnce, AnInternalSnapshotIsNotInTheWay) {
  convert({});
  run_or_fail({"qemu-img", "snapshot", "-c", "before", folder / "disk.qcow2"});
  run_or_fail({"qemu-io", "-f", "qcow2", "-c", "write -P 85 0 1M", folder / "disk.qcow2"});
  std::fill_n(disk.begin(), kMiB, std::byte{85});
  repository::MemoryStore store;
  const auto result = import_file(folder / "disk.qcow2", store, "one");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(sha256(*read_back(store, "one")), sha256(disk));
}

TEST_P(QemuImgOnce, WhatCannotBeReadExactlyIsRefused) {
  using testing::HasSubstr;
  convert({});
  run_or_fail({"qemu-img", "create", "-q", "-f", "qcow2", "-b", folder / "disk.raw", "-F", "raw",
               folder / "over.qcow2"});
  EXPECT_THAT(import_error("over.qcow2").message, HasSubstr("backing file"));
  run_or_fail({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on",
               folder / "sub.qcow2", "8M"});
  EXPECT_THAT(import_error("sub.qcow2").message, HasSubstr("extended L2"));
  run_or_fail({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=" + (folder / "data"),
               folder / "ext.qcow2", "8M"});
  EXPECT_THAT(import_error("ext.qcow2").message, HasSubstr("another file"));
  write_file(folder / "plain.qcow2", disk);
  EXPECT_THAT(import_error("plain.qcow2").message, HasSubstr("not qcow2"));
}

}  // namespace
}  // namespace forerun
