// One function per noun: it adds its commands to the command line and sets `chosen` to the one that
// is asked for.
#pragma once

#include "cli/context.h"

namespace CLI {
class App;
}

namespace forerun::cli {

void add_image_commands(CLI::App& app, const Context& context, Command& chosen);
void add_component_commands(CLI::App& app, const Context& context, Command& chosen);
void add_repository_commands(CLI::App& app, const Context& context, Command& chosen);
// Adds to `repository`: export, tags, sign, key.
void add_tag_commands(CLI::App& repository, const Context& context, Command& chosen);
void add_operation_commands(CLI::App& app, const Context& context, Command& chosen);
void add_vm_commands(CLI::App& app, const Context& context, Command& chosen);
// Adds to `vm`: checkpoint, restore.
void add_checkpoint_commands(CLI::App& vm, const Context& context, Command& chosen);
// Adds to `vm`: history.
void add_history_commands(CLI::App& vm, const Context& context, Command& chosen);
// Adds to `vm`: migrate.
void add_migrate_command(CLI::App& vm, const Context& context, Command& chosen);
// Adds to `explain`: migration.
void add_explain_migration(CLI::App& explain, const Context& context, Command& chosen);
void add_host_commands(CLI::App& app, const Context& context, Command& chosen);   // host, cluster
void add_stats_commands(CLI::App& app, const Context& context, Command& chosen);  // stats, explain
void add_launch_commands(CLI::App& app, const Context& context, Command& chosen);
void add_explain_launch(CLI::App& explain, const Context& context, Command& chosen);
void add_replay_commands(CLI::App& app, const Context& context, Command& chosen);
// Adds to `replay`: block.
void add_replay_block(CLI::App& replay, const Context& context, Command& chosen);
void add_simulate_command(CLI::App& app, const Context& context, Command& chosen);
void add_record_command(CLI::App& app, const Context& context, Command& chosen);
void add_model_commands(CLI::App& app, const Context& context, Command& chosen);
void add_migration_commands(CLI::App& app, const Context& context, Command& chosen);
void add_lab_commands(CLI::App& app, const Context& context, Command& chosen);
void add_usage_commands(CLI::App& app, const Context& context, Command& chosen);  // usage, top
void add_doctor_command(CLI::App& app, const Context& context, Command& chosen);

}  // namespace forerun::cli
