# shellcheck shell=sh disable=SC2034,SC2154  # what one file sets, another uses
# Read by the scripts beside it. What they are given: docs/building.md. They run in mount, process, host name and IPC
# namespaces of their own, in an empty folder, with an empty environment but for what is named there.
set -eu
umask 022
here=$(cd "$(dirname "$0")" && pwd)
export LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

say() { echo "forerun: $*"; }
die() { echo "$*"; exit 1; }

need() {
  for tool; do
    command -v "$tool" >/dev/null || die "$tool is missing"
  done
}

# The machine's package sources of one release, and how its apt reaches them, as folders and settings below apt/.
take_sources() { # SUITE
  mkdir -p apt/sources apt/lists/partial apt/cache/archives/partial apt/none
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    if [ -f "$file" ] && grep -qw "$1" "$file" && grep -qi debian "$file"; then cp "$file" apt/sources/; fi
  done
  [ -n "$(ls apt/sources)" ] || die "no Debian sources of $1 in /etc/apt: components are built from the machine's own"
  apt-config dump --no-empty --format '%f "%v";%n' |
    grep -E '^Acquire::(Check-|Retries|https?::|ForceIP)' >apt/reach.conf || true
}

# Settings of apt for a root folder: nothing of the machine's own but its sources and keys.
apt_settings() { # ROOT WHERE_APT_IS
  cat "apt/reach.conf"
  cat <<CONF
Dir::Etc::main "$2/none/main";
Dir::Etc::parts "$2/none";
Dir::Etc::sourcelist "$2/none/list";
Dir::Etc::sourceparts "$2/sources";
Dir::Etc::preferencesparts "$2/none";
Dir::State::lists "$2/lists";
Dir::State::status "$1/var/lib/dpkg/status";
Dir::State::extended_states "$1/var/lib/apt/extended_states";
Dir::Cache "$2/cache";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
APT::Install-Recommends "false";
DPkg::Options { "--force-confdef"; "--force-confold"; "--force-unsafe-io"; };
Dpkg::Use-Pty "false";
quiet "1";
CONF
}
