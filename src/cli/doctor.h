// forerun doctor: is this host fit to run Forerun? A line for each check, with what to do about it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace forerun::cli {

enum class Verdict { kPass, kWarn, kFail };

struct Finding {
  std::string name;
  Verdict verdict = Verdict::kPass;
  std::string detail;
  std::string fix;  // empty if it passes
};

// Pure parts, for tests.
Finding judge_qemu(
    const Result<std::string>& version_output);  // what qemu-system-x86_64 --version printed
Finding judge_sha(std::string_view cpuinfo);
Result<std::vector<Finding>> findings_of(std::string_view checks_answer);  // of /api/v1/checks
std::string findings_text(const std::vector<Finding>& findings);
std::string findings_json(const std::vector<Finding>& findings, bool lines);
int findings_exit_code(
    const std::vector<Finding>& findings);  // 0 all pass, 1 a warning, 2 a failure

}  // namespace forerun::cli
