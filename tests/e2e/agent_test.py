"""forerun-agent in a real guest: what it says is what the schema says it is, the daemon takes all of it, shows it, and
takes it again after it was killed. TCG only.

The guest is Debian's kernel and an initial file system made here: busybox, the modules, the agent, and dd as the busy
process. What the agent costs is no matter here: an emulated CPU's time is no measure.
"""
import json
import os
import re
import time
import unittest

import lab
import pmem_test

MODULES = ("virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_modern_dev", "virtio/virtio_pci_legacy_dev",
           "virtio/virtio_pci", "char/virtio_console")
INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for m in MODULES; do $b insmod /modules/$m.ko || echo GUEST-ERROR insmod $m; done
$b dd if=/dev/zero of=/dev/null bs=16M &
/bin/forerun-agent --period-ms 500 --cpu-budget 20 || echo GUEST-ERROR agent
"""


def faults(schema, value, where="profile"):
    """Returns where `value` differs from `schema`: the part of JSON Schema that the profile's uses."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    if not isinstance(value, kinds[schema["type"]]):
        return [f"{where} is no {schema['type']}"]
    found = []
    if isinstance(value, (int, float)) and not schema["minimum"] <= value <= schema["maximum"]:
        found.append(f"{where} is {value}")
    if isinstance(value, str) and not (len(value) <= schema["maxLength"] and re.match(schema["pattern"], value)):
        found.append(f"{where} is {value!r}")
    if isinstance(value, list):
        if len(value) > schema["maxItems"]:
            found.append(f"{where} has {len(value)} entries")
        for entry in value:
            found += faults(schema["items"], entry, where + "[]")
    if isinstance(value, dict):
        found += [f"{where}.{name} is missing" for name in schema["required"] if name not in value]
        for name, member in value.items():
            rule = schema["properties"].get(name)
            found += faults(rule, member, f"{where}.{name}") if rule else [f"{where}.{name} is not known"]
    return found


class AgentTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lab.build_guest()

    def setUp(self):
        self.daemon = lab.Daemon().start()

    def tearDown(self):
        self.daemon.close()

    def wait_for(self, what, done, seconds=240):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            said = self.daemon.get("/api/v1/vms/watched/profile")
            if done(said):
                return said
            time.sleep(0.1)
        with open(self.daemon.get("/api/v1/vms/watched")["log_path"], encoding="utf-8", errors="replace") as console:
            raise AssertionError(f"{what}: not in {seconds} s; last {said}; the console ends: {console.read()[-800:]}")

    def test_a_real_guest_is_known_by_its_agent(self):
        folder = self.daemon.folder
        with open(os.path.join(lab.ROOT, "docs/profile.schema.json"), encoding="utf-8") as text:
            schema = json.load(text)
        self.daemon.import_image(lab.random_disk(os.path.join(folder, "root.raw"), 1), "root")
        agent = os.path.join(lab.BIN_DIR, "forerun-agent")
        initrd = pmem_test.build_initrd(folder, MODULES, INIT, {agent: "bin/forerun-agent"})
        self.daemon.cli("vm", "run", "watched", "--image", "root", "--memory", "256M", "--kernel", f"{lab.GUEST}/vmlinuz",
                        "--initrd", initrd, "--append", pmem_test.APPEND)
        seen = []

        def check(said):
            if said["profile"] and (not seen or said["profile"]["sequence"] != seen[-1]["sequence"]):
                seen.append(said["profile"])
                self.assertEqual(faults(schema, said["profile"]), [])
            # The guest's own start is over when nothing computes more than the busy process.
            is_at_work = bool(seen) and [one["name"] for one in seen[-1]["cpu"].get("top", [])][:1] == ["busybox"]
            return len(seen) >= 3 and any("working_set" in profile for profile in seen) and is_at_work

        said = self.wait_for("three profiles, one with a working set, busybox the busiest at last", check)
        self.assertEqual(said["refused"], [], said["last_refusal"])
        self.assertEqual(said["instances"], 1)
        newest = seen[-1]
        self.assertEqual(newest["cpu"]["cores"], 1)
        self.assertGreater(newest["memory"]["total_bytes"], 100 << 20)
        self.assertLessEqual(newest["agent"]["rss_bytes"], 4 << 20)
        self.assertEqual([one["working_set"]["name"] for one in seen if "working_set" in one][0], "busybox")
        # Debian's kernel has soft-dirty bits: where a window was, there is a pattern.
        self.assertTrue(all("pattern" in profile for profile in seen if "working_set" in profile))
        self.assertIn("cpu_busy", [value["name"] for value in said["window"]])
        self.assertIn("busybox ", self.daemon.cli("vm", "profile", "watched").stdout)

        self.daemon.cli("vm", "profile", "watched", "--period", "2s", "--metrics", "memory,pressure")

        def does_as_asked(now):
            return now["profile"] and now["profile"]["period_ms"] >= 2000 and "cpu" not in now["profile"]
        said = self.wait_for("profiles as asked", does_as_asked)
        self.assertEqual(said["asked"], {"period_ms": 2000, "metrics": ["memory", "pressure"]})
        self.assertEqual({"memory", "disks", "pattern"} & set(said["profile"]), {"memory"})
        wrong = self.daemon.cli("vm", "profile", "watched", "--period", "1ms", check=False)
        self.assertEqual((wrong.returncode, "from 100 ms to" in wrong.stderr), (2, True), wrong.stderr)
        self.daemon.cli("vm", "profile", "watched", "--period", "300ms", "--metrics", "all")
        newest = self.wait_for("profiles as before", lambda now: "cpu" in now["profile"])["profile"]

        self.daemon.kill()
        self.daemon.start()
        again = self.wait_for("a profile after the daemon was killed", lambda now: now["taken"] >= 2)
        self.assertEqual(again["profile"]["instance"], newest["instance"])
        self.assertGreater(again["profile"]["sequence"], newest["sequence"])
        self.assertEqual(again["asked"]["period_ms"], 300)


if __name__ == "__main__":
    unittest.main()
