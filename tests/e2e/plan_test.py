"""Plans move real guests between hosts, which are daemons on this machine: a host that is drained gives its VM away. What
comes of a load that rises is bench/ramp's."""
import json
import os
import shutil
import tempfile
import unittest

import lab
from checker import APPEND
from migrate_test import free_port, make_certificates
from two_hosts import wait_for

TICK = 10

# Works a little, then sleeps.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
echo GUEST-UP
i=0
while true; do
  i=$((i+1))
  dd if=/dev/zero bs=64k count=40 2>/dev/null | md5sum >/dev/null
  usleep 900000
  echo GUEST-BEAT $i
done
"""


def build_disk(folder):
    root = os.path.join(folder, "root")
    for name in ("bin", "sbin", "proc", "sys", "dev", "m"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    for name in ("sh", "dd", "md5sum", "usleep", "mount"):
        os.symlink("busybox", os.path.join(root, "bin", name))
    with open(os.path.join(root, "sbin/init"), "w", encoding="utf-8") as out:
        out.write(INIT)
    os.chmod(os.path.join(root, "sbin/init"), 0o755)
    disk = os.path.join(folder, "disk.raw")
    lab.run("truncate", "-s", "32M", disk)
    lab.run("mkfs.ext4", "-q", "-d", root, disk)
    return disk


def text_of(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as text:
        return text.read()


class PlanTest(unittest.TestCase):
    names = "abc"

    @classmethod
    def setUpClass(cls):
        lab.build_guest()
        cls.shared = tempfile.mkdtemp(prefix="forerun-plan-")
        make_certificates(cls.shared, cls.names)
        cls.disk = build_disk(cls.shared)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared)

    def setUp(self):
        self.hosts = {name: lab.Daemon() for name in self.names}
        self.ports = {name: free_port() for name in self.names}
        repository = os.path.join(self.hosts["a"].folder, "repository")
        for name, daemon in self.hosts.items():
            daemon.config = (
                f'[[repository]]\npath = "{repository}"\n[tier]\nmemory_bytes = 16777216\nfile_bytes = 67108864\n'
                f'[migration]\nlisten = "127.0.0.1:{self.ports[name]}"\ncertificate = "{self.shared}/{name}.pem"\n'
                f'key = "{self.shared}/{name}.key"\nca = "{self.shared}/ca.pem"\n')
            for other in self.names.replace(name, ""):
                daemon.config += f'[hosts.{other}]\naddress = "127.0.0.1:{self.ports[other]}"\n'
            self.addCleanup(daemon.close)
            daemon.start()
        self.hosts["a"].import_image(self.disk, "worker")

    def run_guest(self, host, vm):
        self.hosts[host].cli("vm", "run", vm, "--image", "worker", "--memory", "96M", "--kernel", f"{lab.GUEST}/vmlinuz",
                             "--initrd", f"{lab.GUEST}/initrd.img", "--append", APPEND)
        log = self.hosts[host].get(f"/api/v1/vms/{vm}")["log_path"]
        wait_for(lambda: "GUEST-UP" in text_of(log), "the guest to be up", 120)

    def load_rules(self, host, rules):
        path = os.path.join(self.shared, "rules.json")
        with open(path, "w", encoding="utf-8") as out:
            json.dump(rules, out)
        return self.hosts[host].cli("policy", "load", path, check=False)

    def plan(self, host, *questions):
        flags = [word for question in questions for word in ("--if", question)]
        return json.loads(self.hosts[host].cli("plan", "show", "-o", "json", *flags).stdout)

    def state(self, host, vm):
        return self.hosts[host].get(f"/api/v1/vms/{vm}")["state"]


class DrainTest(PlanTest):
    def test_a_drained_host_gives_its_vm_away(self):
        a, c = self.hosts["a"], self.hosts["c"]
        self.run_guest("b", "web")
        # More cores than any guest here asks for, busy as the machine may be: memory is the limit.
        size = {"hosts": ["*"], "cores": 100, "memory_bytes": 1 << 30}
        self.assertEqual(self.load_rules("a", {"tick_seconds": TICK, "horizon_seconds": 60, "host_settings": [size]}).returncode, 0)
        shown = self.plan("a")
        self.assertEqual([host["name"] for host in shown["hosts"]], ["a", "b", "c"])
        self.assertEqual(shown["moves"], [])
        supposed = self.plan("a", "host b drained", "host c lost")
        self.assertEqual([(move["vm"], move["from"], move["to"]) for move in supposed["moves"]], [("web", "b", "a")])
        placed = self.plan("a", "+30 VMs like web")
        self.assertEqual(len(placed["moves"]) + 1, 3 * ((1 << 30) // (96 << 20)))  # memory is never over
        self.assertEqual(placed["unrelieved"][-1]["rejected"][0]["reason"], "memory")

        wrong = self.load_rules("a", {"rules": [{"kind": "near", "vms": ["web"]}]})
        self.assertIn("rules[0].kind must be one of", wrong.stderr)
        # The rule leaves one host only; the order to move goes from a to b.
        self.load_rules("a", {"tick_seconds": TICK, "horizon_seconds": 60, "rules": [
            {"kind": "never", "name": "not on a", "vms": ["w*"], "hosts": ["a"]}],
            "host_settings": [size, {"hosts": ["b"], "drained": True}]})
        text = a.cli("plan", "show").stdout
        self.assertIn("web: b -> c (drain)", text)
        self.assertIn('would break the rule "not on a"', text)
        fleet = os.path.join(self.shared, "fleet.json")
        with open(fleet, "w", encoding="utf-8") as out:
            out.write(a.cli("plan", "fleet").stdout)
        offline = lab.run(os.path.join(lab.BIN_DIR, "forerun"), "plan", "show", "--fleet", fleet).stdout
        self.assertIn("web: b -> c (drain)", offline)
        self.assertIn("1 of 1 moves made", a.cli("plan", "apply").stdout)
        self.assertEqual(self.state("b", "web"), "moved")
        self.assertEqual(self.state("c", "web"), "running")
        told = a.cli("explain", "vm", "web").stdout
        self.assertIn("b -> c (drain): done", told)
        # A restart plans the same, and moves nothing.
        before = self.plan("a")
        a.kill()
        a.start()
        after = self.plan("a")
        self.assertEqual((before["moves"], after["moves"]), ([], []))
        self.assertIn("b -> c (drain): done", a.cli("explain", "vm", "web").stdout)
        # A host that does not answer is left out, and that is said.
        c.kill()
        self.assertIn("host c is left out", " ".join(self.plan("a")["notes"]))
        c.start()

    def test_a_move_that_fails_leaves_the_vm_and_says_why(self):
        self.run_guest("a", "web")
        self.hosts["c"].cli("vm", "run", "web", "--image", "worker", "--disk-only")
        self.load_rules("a", {"tick_seconds": TICK, "horizon_seconds": 60, "host_settings": [
            {"hosts": ["*"], "cores": 4, "memory_bytes": 1 << 30}, {"hosts": ["a"], "drained": True}],
            "rules": [{"kind": "never", "vms": ["web"], "hosts": ["b"]}]})
        self.assertIn("0 of 1 moves made", self.hosts["a"].cli("plan", "apply").stdout)
        self.assertEqual(self.state("a", "web"), "running")
        self.assertIn("there is a VM web already", self.hosts["a"].cli("explain", "vm", "web").stdout)


if __name__ == "__main__":
    unittest.main()
