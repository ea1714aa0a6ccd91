#include "cli/doctor.h"

#include <gtest/gtest.h>

namespace forerun::cli {
namespace {

TEST(Doctor, Qemu) {
  EXPECT_EQ(judge_qemu("QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright").verdict,
            Verdict::kPass);
  EXPECT_EQ(judge_qemu("QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright").detail,
            "QEMU 7.2.22");
  EXPECT_EQ(judge_qemu("QEMU emulator version 6.2.0\n").verdict, Verdict::kFail);
  EXPECT_EQ(judge_qemu("something else").verdict, Verdict::kFail);
  const Finding missing = judge_qemu(fail(ErrorCode::kNotFound, "no program"));
  EXPECT_EQ(missing.verdict, Verdict::kFail);
  EXPECT_EQ(missing.fix, "apt install qemu-system-x86");
}

TEST(Doctor, Sha) {
  EXPECT_EQ(judge_sha("flags : fpu sha_ni avx\n").verdict, Verdict::kPass);
  EXPECT_EQ(judge_sha("flags : fpu avx\n").verdict, Verdict::kWarn);
}

TEST(Doctor, TheWorstFindingIsTheExitCode) {
  EXPECT_EQ(findings_exit_code({}), 0);
  EXPECT_EQ(findings_exit_code({{"a", Verdict::kPass}, {"b", Verdict::kWarn}}), 1);
  EXPECT_EQ(findings_exit_code({{"a", Verdict::kFail}, {"b", Verdict::kWarn}}), 2);
}

TEST(Doctor, FindingsOfTheDaemonAndHowTheyLook) {
  const auto findings = findings_of(
      R"({"items":[{"name":"repository","status":"fail","detail":"no answer","fix":"look"},
                   {"name":"space","status":"pass","detail":"9 GiB","fix":null},
                   {"name":"new","status":"odd","detail":""}, 7]})");
  ASSERT_TRUE(findings);
  EXPECT_EQ(findings_text(*findings),
            "FAIL  repository: no answer\n"
            "      fix: look\n"
            "PASS  space: 9 GiB\n"
            "WARN  new: \n");
  EXPECT_EQ(findings_json({{"a", Verdict::kPass, "d", ""}}, true),
            "{\"name\":\"a\",\"status\":\"pass\",\"detail\":\"d\",\"fix\":\"\"}\n");
}

}  // namespace
}  // namespace forerun::cli
