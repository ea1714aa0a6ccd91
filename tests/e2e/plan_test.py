"""Plans move real guests between hosts: a host that is drained gives its VM away; a load that rises is met by a move
before guests wait for CPUs, beside hosts where a move follows once they do (figures are printed, not asserted).

Hosts are daemons on this machine. What a host has is a CPU quota (cgroup v1) that its QEMUs share, where there is one.
"""
import json
import os
import shutil
import tempfile
import time
import unittest

import lab
from checker import APPEND
from migrate_test import free_port, make_certificates
from two_hosts import wait_for

CORES = 1.2
TICK = 10
QUOTAS = "/sys/fs/cgroup/cpu"

# Works for `work` rounds, then sleeps; "ramp=SECONDS" makes the sleep shorter until there is none.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
ramp=$(sed -n 's/.*ramp=\\([0-9]*\\).*/\\1/p' /proc/cmdline)
begin=$(cut -d. -f1 /proc/uptime)
echo GUEST-UP
i=0
while true; do
  i=$((i+1))
  now=$(cut -d. -f1 /proc/uptime)
  pause=900000
  [ "$ramp" = 0 ] || pause=$((900000 - 900000 * (now - begin) / ramp))
  [ $pause -lt 0 ] && pause=0
  dd if=/dev/zero bs=64k count=40 2>/dev/null | md5sum >/dev/null
  usleep $pause
  echo GUEST-BEAT $i
done
"""


def build_disk(folder):
    root = os.path.join(folder, "root")
    for name in ("bin", "sbin", "proc", "sys", "dev", "m"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    for name in ("sh", "dd", "md5sum", "sed", "cut", "usleep", "mount"):
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


class Quota:
    """A group of processes that have CORES together; a host's QEMUs are put into it as they appear."""

    def __init__(self, name):
        self.path = f"{QUOTAS}/forerun-plan-{os.getpid()}-{name}"
        self.is_there = os.access(f"{QUOTAS}/cpu.cfs_quota_us", os.W_OK)
        if self.is_there:
            os.mkdir(self.path)
            self.write("cpu.cfs_period_us", 100_000)
            self.write("cpu.cfs_quota_us", int(CORES * 100_000))

    def write(self, name, value):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as out:
            out.write(str(value))

    def take(self, daemon):
        if not self.is_there:
            return
        for vm in daemon.get("/api/v1/vms")["items"]:
            if vm["pid"]:
                try:
                    self.write("cgroup.procs", vm["pid"])
                except ProcessLookupError:
                    pass  # it ended meanwhile

    def remove(self):
        if self.is_there:
            wait_for(lambda: not text_of(f"{self.path}/cgroup.procs"), "a group to be empty")
            os.rmdir(self.path)


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
            for other in self.peers_of(name):
                daemon.config += f'[hosts.{other}]\naddress = "127.0.0.1:{self.ports[other]}"\n'
            self.addCleanup(daemon.close)
            daemon.start()
        self.hosts["a"].import_image(self.disk, "worker")

    def peers_of(self, name):
        return [other for other in self.names if other != name]

    def run_guest(self, host, vm, ramp=0):
        self.hosts[host].cli("vm", "run", vm, "--image", "worker", "--memory", "96M", "--kernel", f"{lab.GUEST}/vmlinuz",
                             "--initrd", f"{lab.GUEST}/initrd.img", "--append", f"{APPEND} ramp={ramp}")
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


@unittest.skipUnless(os.environ.get("FORERUN_BENCH"), "a benchmark of six minutes: FORERUN_BENCH=1, on an idle machine")
class RampTest(PlanTest):
    """a and b are Forerun's, c and d wait until guests wait."""
    names = "abcd"

    def peers_of(self, name):
        return {"a": "b", "b": "a", "c": "d", "d": "c"}[name]

    def waits(self, host, vm):
        """Returns what was waited for a CPU in each tick, by its time, in cores."""
        try:
            points = self.hosts[host].get(f"/api/v1/usage/vm/{vm}/cpu_wait_cores?resolution=10s")["points"]
        except lab.Failed:
            return {}
        return {int(point[0]): point[1] for point in points}

    def test_a_rising_load_is_met_before_it_hurts(self):
        quotas = {name: Quota(name) for name in self.names}
        for quota in quotas.values():
            self.addCleanup(quota.remove)
        self.addCleanup(self.stop_all)
        for side in ("ab", "cd"):
            self.run_guest(side[0], f"calm-{side}")
        for side in ("ab", "cd"):
            self.run_guest(side[0], f"ramp-{side}", ramp=240)
        rules = {"tick_seconds": TICK, "horizon_seconds": 60, "link_bytes_per_s": 100_000_000,
                 "host_settings": [{"hosts": ["*"], "cores": CORES, "memory_bytes": 1 << 30}]}
        self.assertEqual(self.load_rules("a", rules).returncode, 0)
        self.hosts["a"].cli("policy", "set", "auto")
        began, moved = time.time(), {}
        while time.time() - began < 330:
            for name, daemon in self.hosts.items():
                quotas[name].take(daemon)
            if "forerun" not in moved and any(self.state("a", vm) == "moved" for vm in ("calm-ab", "ramp-ab")):
                moved["forerun"] = time.time()
            recent = sorted(self.waits("c", "calm-cd").items())[-2:] if "reactive" not in moved else []
            if len(recent) == 2 and all(wait > 0.1 for _, wait in recent):
                self.hosts["c"].cli("vm", "migrate", "ramp-cd", "--to", "d", check=False)
                moved["reactive"] = time.time()
            if len(moved) == 2 and time.time() - max(moved.values()) > 45:
                break
            time.sleep(1)
        figures = {}
        for policy, side in (("forerun", "ab"), ("reactive", "cd")):
            waited = sum(TICK * wait for host in side for vm in ("calm", "ramp")
                         for at, wait in self.waits(host, f"{vm}-{side}").items() if at > began)
            figures[policy] = {"moved_after_s": round(moved[policy] - began, 1) if policy in moved else None,
                               "waited_core_s": round(waited, 2)}
        figures["quotas"] = quotas["a"].is_there
        print(json.dumps(figures), flush=True)
        print(self.hosts["a"].cli("explain", "vm", "ramp-ab").stdout, self.hosts["a"].cli("explain", "vm", "calm-ab").stdout,
              self.hosts["a"].cli("policy", "get").stdout, flush=True)
        made = [move for move in self.hosts["a"].get("/api/v1/plan/moves")["items"] if move["state"] == "done"]
        self.assertTrue(made, self.hosts["a"].log()[-3000:] + json.dumps(self.plan("a"))[:4000])
        self.assertEqual({(move["from"], move["to"], move["reason"]) for move in made[-1:]}, {("a", "b", "relief")})

    def stop_all(self):
        self.hosts["a"].cli("policy", "set", "off", check=False)
        for daemon in self.hosts.values():
            for vm in daemon.get("/api/v1/vms")["items"]:
                daemon.cli("vm", "stop", vm["name"], "--force", check=False)


if __name__ == "__main__":
    unittest.main()
