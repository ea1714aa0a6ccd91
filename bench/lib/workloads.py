"""What guests of composed images run: a catalogue of services, any other Debian package, and when each is ready."""

import dataclasses
import re

from . import children


@dataclasses.dataclass(frozen=True)
class Probe:
    """A question to a port of the guest (a protocol of `probes`), or to its console."""
    protocol: str
    guest_port: int = 0


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    packages: tuple
    probes: tuple
    files: tuple = ()  # (path, content) of the manifest: services bind to localhost unless told otherwise
    enable: tuple = ()  # units of those files

    @property
    def component(self):
        return "bench-" + re.sub(r"[^a-zA-Z0-9._-]", "_", self.name)


def _started_with(unit, command):
    return (f"/etc/systemd/system/{unit}.d/bench.conf", f"[Service]\nExecStart=\nExecStart={command}\n")


def _service(name, command):
    return (f"/etc/systemd/system/{name}.service",
            f"[Unit]\nDescription={name}\nAfter=network.target\n[Service]\nExecStart={command}\n"
            "[Install]\nWantedBy=multi-user.target\n")


_FLASK_APP = """from flask import Flask
from waitress import serve
app = Flask(__name__)
@app.route("/")
def hello():
    return "a page by Flask\\n"
serve(app, host="0.0.0.0", port=8000)
"""
_NODE_APP = """require("http").createServer((request, answer) => answer.end("a page by Node.js\\n")).listen(3000, "0.0.0.0");
"""

CATALOGUE = {workload.name: workload for workload in (
    Workload("nginx", ("nginx-light",), (Probe("http", 80),)),
    Workload("redis", ("redis-server",), (Probe("redis", 6379),), (
        _started_with("redis-server.service", "/usr/bin/redis-server /etc/redis/redis.conf --supervised systemd "
                      "--daemonize no --bind 0.0.0.0 --protected-mode no"),)),
    Workload("memcached", ("memcached",), (Probe("memcached", 11211),), (
        _started_with("memcached.service", "/usr/bin/memcached -m 64 -p 11211 -u memcache -l 0.0.0.0"),)),
    Workload("python-flask", ("python3-flask", "python3-waitress"), (Probe("http", 8000),), (
        ("/opt/bench/app.py", _FLASK_APP), _service("bench-python", "/usr/bin/python3 /opt/bench/app.py")),
        ("bench-python.service",)),
    Workload("postgresql", ("postgresql",), (Probe("postgresql", 5432),), (
        ("/etc/postgresql/15/main/conf.d/bench.conf", "listen_addresses = '*'\n"),)),
    Workload("mariadb", ("mariadb-server",), (Probe("mariadb", 3306),), (
        ("/etc/mysql/mariadb.conf.d/99-bench.cnf", "[mysqld]\nbind-address = 0.0.0.0\nskip-name-resolve\n"),)),
    Workload("nodejs", ("nodejs",), (Probe("http", 3000),), (
        ("/opt/bench/app.js", _NODE_APP), _service("bench-node", "/usr/bin/node /opt/bench/app.js")),
        ("bench-node.service",)),
)}
_ALSO_CALLED = {"python": "python-flask", "node": "nodejs", "postgres": "postgresql", "nginx-light": "nginx",
                "redis-server": "redis", "mariadb-server": "mariadb"}

READY_MARK = "bench-ready:"

# Says on the console when the default target and all that it wants have been started, and which enabled units of the
# packages do not run: a oneshot that succeeded does.
_READY_SCRIPT = """#!/bin/sh
systemctl is-system-running --wait >/dev/null
broken=
for package in PACKAGES; do
  list=/var/lib/dpkg/info/$package.list
  for unit in $(sed -n 's,.*/systemd/system/\\([^/@]*\\.\\(service\\|socket\\|timer\\)\\)$,\\1,p' "$list" 2>/dev/null); do
    systemctl -q is-enabled "$unit" 2>/dev/null || continue
    systemctl -q is-failed "$unit" && broken="$broken $unit"
    case $(systemctl show -p Type -p ConditionResult "$unit") in
    *Type=oneshot* | *ConditionResult=no*) ;;
    *) systemctl -q is-active "$unit" || broken="$broken $unit" ;;
    esac
  done
done
echo "READY_MARK$broken" >/dev/console
"""


def workload(name):
    """Returns the catalogue's workload of this name, or the Debian package of this name."""
    name = _ALSO_CALLED.get(name, name)
    if name in CATALOGUE:
        return CATALOGUE[name]
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
        raise children.Failure(f"'{name}' can name neither a workload nor a Debian package")
    return Workload(name, (name,), (Probe("console"),))


def parse_sets(text):
    """Returns the images of a list like "nginx,redis+memcached": a tuple of workload names each."""
    return [tuple(workload(name).name for name in part.split("+")) for part in text.split(",") if part]


def manifest(base, kernel, workloads):
    """Returns the manifest (docs/format_manifest.md) of an image of these workloads, as text."""
    files = [file for one in workloads for file in one.files]
    enable = ["systemd-networkd.service"] + [unit for one in workloads for unit in one.enable]
    plain = [package for one in workloads if one.probes[0].protocol == "console" for package in one.packages]
    if plain:
        script = _READY_SCRIPT.replace("PACKAGES", " ".join(plain)).replace("READY_MARK", READY_MARK)
        files += [("/opt/bench/ready", script),
                  ("/etc/systemd/system/bench-ready.service",
                   "[Unit]\nDescription=Tells when the guest is ready\n[Service]\n"
                   "ExecStart=/bin/sh /opt/bench/ready\n[Install]\nWantedBy=multi-user.target\n")]
        enable.append("bench-ready.service")
    parts = [kernel] + [one.component for one in workloads]
    lines = ["version = 1", f"base = {_quoted(base)}", f"components = [{', '.join(map(_quoted, parts))}]",
             # What several packages may leave behind, and no guest needs.
             'rank = ["/var/cache/", "/var/log/"]', 'hostname = "bench"', f"enable = [{', '.join(map(_quoted, enable))}]",
             "mask = [" + ", ".join(map(_quoted, _MASKED)) + "]",
             '[network]\nmatch = "e*"\naddress = "10.0.2.15/24"\ngateway = "10.0.2.2"\ndns = ["10.0.2.3"]']
    lines += [f"[[file]]\npath = {_quoted(path)}\ncontent = {_quoted(content)}" for path, content in files]
    return "\n".join(lines) + "\n"


# Nothing of this belongs to a guest that lives for minutes; each would read or write the disk behind the service.
_MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
           "e2scrub_reap.service", "fstrim.timer", "logrotate.timer", "systemd-timesyncd.service",
           "serial-getty@ttyS0.service")


def _quoted(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
