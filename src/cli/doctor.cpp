#include "cli/doctor.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "cli/commands.h"
#include "cli/fields.h"
#include "core/bytes.h"
#include "os/file.h"
#include "os/process.h"
#include "vmm/accelerator.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

std::string_view word(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass:
      return "PASS";
    case Verdict::kWarn:
      return "WARN";
    case Verdict::kFail:
      return "FAIL";
  }
  return "FAIL";
}

Result<std::string> version_of(const std::string& program) {
  FR_TRY(const os::RunResult result, os::run({program, "--version"}, 10s));
  if (result.exit_code != 0) {
    return fail(ErrorCode::kIo,
                fmt::format("{} --version ended with {}", program, result.exit_code));
  }
  return result.output;
}

Finding judge_accelerator() {
  const vmm::AcceleratorProbe probe = vmm::probe_accelerator();
  if (probe.accelerator == vmm::Accelerator::kKvm)
    return {"accelerator", Verdict::kPass, "kvm: " + probe.reason, ""};
  return {"accelerator", Verdict::kWarn, "tcg, software emulation: " + probe.reason,
          "use a host (or allow nested virtualization) whose CPU shows vmx or svm, and load "
          "kvm_intel or kvm_amd"};
}

Finding judge_qemu_img() {
  if (version_of("qemu-img")) return {"qemu-img", Verdict::kPass, "found", ""};
  return {"qemu-img", Verdict::kWarn, "not found: qcow2 disks cannot be imported",
          "apt install qemu-utils"};
}

// Appends what the daemon finds; it judges this host's accelerator as we do, so that one is left
// out.
void add_daemon_findings(const Context& context, std::vector<Finding>& findings) {
  const auto body = context.get("/api/v1/checks");
  if (!body) {
    findings.push_back(
        {"daemon", Verdict::kFail, body.error().message,
         "start it: systemctl start forerund, or forerund & ; another socket: --socket PATH"});
    return;
  }
  findings.push_back({"daemon", Verdict::kPass, "answers on " + context.socket, ""});
  const auto found = findings_of(*body);
  if (!found) {
    findings.push_back({"daemon", Verdict::kFail, found.error().message,
                        "forerun and forerund differ: update both"});
    return;
  }
  for (const Finding& finding : *found) {
    if (finding.name != "accelerator") findings.push_back(finding);
  }
}

Result<int> run_doctor(const Context& context) {
  std::vector<Finding> findings;
  findings.push_back(judge_qemu(version_of("qemu-system-x86_64")));
  findings.push_back(judge_qemu_img());
  findings.push_back(judge_accelerator());
  const auto cpuinfo = os::read_file("/proc/cpuinfo", 16 << 20);
  findings.push_back(judge_sha(cpuinfo ? as_text(*cpuinfo) : std::string_view{}));
  add_daemon_findings(context, findings);
  print(context.output == Output::kTable
            ? findings_text(findings)
            : findings_json(findings, context.output == Output::kJsonLines));
  return findings_exit_code(findings);
}

}  // namespace

Finding judge_qemu(const Result<std::string>& version_output) {
  constexpr int kMajorMin = 7;
  const std::string fix = "apt install qemu-system-x86";
  if (!version_output) return {"qemu", Verdict::kFail, version_output.error().message, fix};
  constexpr std::string_view kBefore = "QEMU emulator version ";
  const std::string_view output = *version_output;
  const size_t at = output.find(kBefore);
  const std::string_view version =
      at == std::string_view::npos ? "" : output.substr(at + kBefore.size());
  const int major = std::atoi(std::string(version.substr(0, 8)).c_str());
  const std::string shown = fmt::format("QEMU {}", version.substr(0, version.find_first_of(" \n")));
  if (major == 0)
    return {"qemu", Verdict::kFail, "qemu-system-x86_64 --version says nothing known", fix};
  if (major < kMajorMin) {
    return {"qemu", Verdict::kFail, shown + " is too old",
            fmt::format("install QEMU {} or later", kMajorMin)};
  }
  return {"qemu", Verdict::kPass, shown, ""};
}

Finding judge_sha(std::string_view cpuinfo) {
  if (cpuinfo.find(" sha_ni") != std::string_view::npos) {
    return {"sha", Verdict::kPass, "the CPU computes SHA-256 itself (sha_ni)", ""};
  }
  return {"sha", Verdict::kWarn, "no sha_ni: verifying chunks takes several times the CPU time",
          "nothing to do but another CPU; everything works"};
}

Result<std::vector<Finding>> findings_of(std::string_view checks_answer) {
  FR_TRY(const json::object answer, parse_answer(checks_answer));
  std::vector<Finding> findings;
  for (const json::value& item : list_of(answer, "items")) {
    if (!item.is_object()) continue;
    const json::object& check = item.as_object();
    const std::string status = text_of(check, "status");
    const Verdict verdict = status == "pass"   ? Verdict::kPass
                            : status == "fail" ? Verdict::kFail
                                               : Verdict::kWarn;
    findings.push_back(
        {text_of(check, "name"), verdict, text_of(check, "detail"), text_of(check, "fix")});
  }
  return findings;
}

std::string findings_text(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{}  {}: {}\n", word(finding.verdict), finding.name, finding.detail);
    if (!finding.fix.empty()) text += fmt::format("      fix: {}\n", finding.fix);
  }
  return text;
}

std::string findings_json(const std::vector<Finding>& findings, bool lines) {
  json::array items;
  std::string text;
  for (const Finding& finding : findings) {
    std::string status(word(finding.verdict));
    std::transform(status.begin(), status.end(), status.begin(),
                   [](char c) { return static_cast<char>(c | 0x20); });
    json::value item{{"name", finding.name},
                     {"status", status},
                     {"detail", finding.detail},
                     {"fix", finding.fix}};
    if (lines) {
      text += json::serialize(item) + "\n";
    } else {
      items.push_back(std::move(item));
    }
  }
  return lines ? text : json::serialize(json::value{{"items", std::move(items)}}) + "\n";
}

int findings_exit_code(const std::vector<Finding>& findings) {
  int code = 0;
  for (const Finding& finding : findings) code = std::max(code, static_cast<int>(finding.verdict));
  return code;
}

void add_doctor_command(CLI::App& app, const Context& context, Command& chosen) {
  app.add_subcommand("doctor",
                     "Check that this host is fit; exit code 0 fine, 1 warnings, 2 failures")
      ->callback([&] { chosen = [&context] { return run_doctor(context); }; });
}

}  // namespace forerun::cli
