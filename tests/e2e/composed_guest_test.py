"""A guest on a disk of components that were built apart: it boots, its packages and users are right, both services
answer, its agent reports and does as it is asked, what is written survives a restart, and the file system is clean
afterwards."""
import os
import re
import socket
import sys
import time
import unittest

import lab

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
sys.path.insert(0, os.path.join(ROOT, "bench"))
from lib import children, components, workloads  # noqa: E402

SERVICES = ("redis", "memcached")  # built apart, both take the first free user id
MARK = "composed-report:"
REPORT = f"""#!/bin/sh
systemctl is-system-running --wait >/dev/null
say() {{ echo "{MARK}$*" >/dev/console; }}
say audit=[$(dpkg --audit 2>&1)]
say packages=[$(dpkg-query -W -f='${{Package}}:${{Status}} ' redis-server memcached)]
say users=[$(getent passwd redis memcache | cut -d: -f1,3 | tr '\\n' ' ')]
say owners=[$(stat -c '%n:%U' /var/lib/redis /var/log/redis)]
say processes=[$(ps -o user= -C redis-server,memcached | sort | tr '\\n' ' ')]
say failed=[$(systemctl --failed --plain --no-legend | cut -d' ' -f1)]
say end=[]
"""
UNIT = """[Unit]
Description=What this guest says of itself
[Service]
ExecStart=/bin/sh /opt/report
[Install]
WantedBy=multi-user.target
"""


def ask(port, request, timeout=5):
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(request)
        return connection.recv(4096)


class ComposedGuestTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            print("skipped: building components needs root", file=sys.stderr)
            sys.exit(77)
        cls.library = components.Library(lab.BIN_DIR, os.path.join(ROOT, "build/components"),
                                         lambda text: print(text, file=sys.stderr))
        cls.library.build_components(SERVICES)
        cls.package = os.path.join(ROOT, "build/components/forerun-agent.deb")
        lab.run(os.path.join(ROOT, "packaging/agent/build-deb"), os.path.join(lab.BIN_DIR, "forerun-agent"), cls.package)

    def setUp(self):
        self.daemon = lab.Daemon(f'[[repository]]\npath = "{self.library.repository}"\n')
        self.daemon.start()
        self.daemon.cli("component", "import", "deb", self.package, "--name", "forerun-agent")
        self.ports = [children.free_port() for _ in SERVICES]

    def tearDown(self):
        self.daemon.close()

    def manifest(self):
        text = workloads.manifest(components.BASE, components.KERNEL, [workloads.workload(name) for name in SERVICES])
        text = text.replace("enable = [", 'enable = ["report.service", ')
        text = text.replace("components = [", 'components = ["forerun-agent", ')
        for path, content in (("/opt/report", REPORT), ("/etc/systemd/system/report.service", UNIT)):
            text += f"[[file]]\npath = \"{path}\"\ncontent = '''\n{content}'''\n"
        path = os.path.join(self.daemon.folder, "pair.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self, *what):
        probes = [probe for name in SERVICES for probe in workloads.workload(name).probes]
        forwards = [word for port, probe in zip(self.ports, probes)
                    for word in ("--forward", f"tcp:{port}:{probe.guest_port}")]
        self.daemon.cli("vm", "run", "pair", *what, *forwards, "--memory", "512M",
                        "--append", components.APPEND)
        self.console = self.daemon.get("/api/v1/vms/pair")["log_path"]

    def wait_for(self, what, done, seconds=400):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                found = done()
            except OSError:
                found = None
            if found:
                return found
            self.assertEqual(self.daemon.get("/api/v1/vms/pair")["state"], "running", self.said()[-2000:])
            time.sleep(0.3)
        raise AssertionError(f"{what}: not within {seconds} s; the console ends:\n{self.said()[-2000:]}")

    def said(self):
        with open(self.console, encoding="utf-8", errors="replace") as text:
            return text.read()

    def check_agent(self):
        """Waits for a profile of the metrics that were asked for; returns the agent's instance."""
        def as_asked():
            said = self.daemon.get("/api/v1/vms/pair/profile")
            return said if said["profile"] and "cpu" not in said["profile"] else None
        said = self.wait_for("a profile as asked", as_asked)
        self.assertEqual(said["refused"], [], said["last_refusal"])
        self.assertEqual(said["asked"], {"period_ms": 1500, "metrics": ["memory", "pressure"]})
        self.assertIn("memory", said["profile"])
        return said["profile"]["instance"]

    def test_two_services_built_apart(self):
        self.start("--manifest", self.manifest())
        text = self.wait_for("the guest's report", lambda: self.said() if MARK + "end" in self.said() else None)
        report = dict(re.findall(MARK + r"(\w+)=\[([^\]]*)\]", text))
        self.assertEqual(report["audit"], "")
        self.assertEqual(report["failed"], "")
        self.assertEqual(report["packages"].split(),
                         "memcached:install ok installed redis-server:install ok installed".split())
        users = dict(word.split(":") for word in report["users"].split())
        self.assertEqual(set(users), {"redis", "memcache"})
        self.assertNotEqual(users["redis"], users["memcache"])
        self.assertEqual(set(re.findall(r":(\w+)", report["owners"])), {"redis"})
        self.assertEqual(report["processes"].split(), ["memcache", "redis"])
        self.daemon.cli("vm", "profile", "pair", "--period", "1500ms", "--metrics", "memory,pressure")
        instance = self.check_agent()

        redis, memcached = self.ports
        self.wait_for("redis", lambda: ask(redis, b"PING\r\n").startswith(b"+PONG"))
        self.wait_for("memcached", lambda: ask(memcached, b"version\r\n").startswith(b"VERSION"))
        self.assertEqual(ask(redis, b"SET kept 42\r\n"), b"+OK\r\n")
        self.assertEqual(ask(redis, b"SAVE\r\n", 60), b"+OK\r\n")
        self.daemon.cli("vm", "stop", "pair", "--timeout", "120s")

        self.start()
        self.assertNotEqual(self.check_agent(), instance)  # it was started by itself, and told again
        self.assertEqual(self.wait_for("redis", lambda: ask(redis, b"GET kept\r\n")), b"$2\r\n42\r\n")
        self.daemon.cli("vm", "stop", "pair", "--timeout", "120s")
        self.daemon.cli("vm", "run", "pair", "--disk-only")
        disk = os.path.join(self.daemon.folder, "used.raw")
        lab.run("nbdcopy", self.daemon.uri("pair"), disk)
        lab.run("e2fsck", "-fn", disk)


if __name__ == "__main__":
    unittest.main()
