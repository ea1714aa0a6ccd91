// Commands about plans: plan, policy, and explain vm.
#pragma once

#include "cli/context.h"

namespace CLI {
class App;
}

namespace forerun::cli {

void add_plan_commands(CLI::App& app, const Context& context, Command& chosen);
void add_policy_commands(CLI::App& app, const Context& context, Command& chosen);
void add_explain_vm(CLI::App& explain, const Context& context, Command& chosen);

}  // namespace forerun::cli
