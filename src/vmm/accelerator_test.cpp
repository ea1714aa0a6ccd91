#include "vmm/accelerator.h"

#include <gtest/gtest.h>

namespace forerun::vmm {
namespace {

constexpr std::string_view kIntel = "processor\t: 0\nflags\t\t: fpu vme vmx est\nbugs\t\t: none\n";
constexpr std::string_view kAmd = "processor\t: 0\nflags\t\t: fpu svm\n";
constexpr std::string_view kNested = "processor\t: 0\nflags\t\t: fpu vme hypervisor\n";

TEST(Accelerator, KvmNeedsFlagAndDevice) {
  EXPECT_EQ(choose_accelerator(kIntel, true).accelerator, Accelerator::kKvm);
  EXPECT_EQ(choose_accelerator(kAmd, true).accelerator, Accelerator::kKvm);
}

TEST(Accelerator, DeviceWithoutFlagIsTcg) {
  const auto probe = choose_accelerator(kNested, true);
  EXPECT_EQ(probe.accelerator, Accelerator::kTcg);
  EXPECT_EQ(probe.reason, "the CPU has no vmx or svm flag");
}

TEST(Accelerator, FlagWithoutDeviceIsTcg) {
  EXPECT_EQ(choose_accelerator(kIntel, false).accelerator, Accelerator::kTcg);
}

TEST(Accelerator, OnlyWholeWordsOfTheFlagsLineCount) {
  EXPECT_EQ(
      choose_accelerator("flags\t: vmxnet svm_lock\nvmx flags\t: vnmi vmx\n", true).accelerator,
      Accelerator::kTcg);
  EXPECT_EQ(choose_accelerator("model name\t: svm\n", true).accelerator, Accelerator::kTcg);
  EXPECT_EQ(choose_accelerator("flags", true).accelerator, Accelerator::kTcg);
  EXPECT_EQ(choose_accelerator("", true).accelerator, Accelerator::kTcg);
}

TEST(Accelerator, LastWordWithoutNewlineCounts) {
  EXPECT_EQ(choose_accelerator("flags\t: fpu svm", true).accelerator, Accelerator::kKvm);
}

TEST(Accelerator, MissingFilesAreTcg) {
  EXPECT_EQ(probe_accelerator("/nonexistent/cpuinfo", "/nonexistent/kvm").accelerator,
            Accelerator::kTcg);
}

}  // namespace
}  // namespace forerun::vmm
