// What a systemd unit file says of the boot. SOURCE: systemd.unit(5), systemd.service(5).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace forerun::image {

struct UnitCondition {
  std::string kind;  // "PathExists", "Virtualization", …
  std::string argument;
  bool is_negated = false;
  bool is_trigger = false;  // with '|': one of these must hold, not each
};

struct UnitCommand {
  std::string directive;               // "ExecStart", …
  std::string program;                 // the first word, without marks
  std::vector<std::string> arguments;  // absolute paths among the other words
};

// Of one unit: its file and its drop-ins, read into the same object.
struct SystemdUnit {
  std::vector<std::string> pulls_in;      // Wants=, Requires=, BindsTo=, Requisite=, Upholds=
  std::vector<std::string> mentions;      // other units named in [Unit]: systemd loads those too
  std::vector<std::string> sockets;       // Sockets=
  std::vector<UnitCommand> commands;      // ExecCondition=, ExecStart…=
  std::vector<std::string> files;         // EnvironmentFile=
  std::vector<UnitCondition> conditions;  // Condition…= and Assert…=
};

inline constexpr size_t kUnitBytesMax = 256 * 1024;

// Adds what `text`, a unit file or drop-in, says; an empty command takes back those of its kind.
// `name` is the unit's, for %i, %p, %n. Lines that
// are no directives are passed over, as systemd does.
void read_systemd_unit(std::string_view text, std::string_view name, SystemdUnit& unit);

// Returns the template of an instance: "getty@.service" for "getty@tty1.service"; empty if it is
// none.
std::string template_of(std::string_view name);
// Returns whether `name` ends like a unit's.
bool is_unit_name(std::string_view name);

}  // namespace forerun::image
