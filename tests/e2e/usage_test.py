"""How the host and its VMs were used: kept by a real daemon, through restarts and kills, and told."""
import json
import os
import time
import unittest

import lab

MIB = 6


class UsageTest(unittest.TestCase):
    def setUp(self):
        self.daemon = lab.daemon_with_disk(self, MIB)
        self.daemon.cli("vm", "run", "web", "--image", "disk", "--disk-only")

    def points(self, path):
        return self.daemon.get(f"/api/v1/usage/{path}?resolution=10s")["points"]

    def wait_for(self, metric):
        """Returns the first points of a series; a round takes 10 s."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            known = self.daemon.get("/api/v1/usage")["items"]
            if any(f"{one['entity']}/{one['metric']}" == metric for one in known):
                return self.points(metric)
            time.sleep(0.5)
        self.fail(f"no {metric} was kept")

    def test_use_is_kept_and_told(self):
        self.daemon.cli("usage", "push", "web", "queue=3", "rate=1.5")
        for metric, value in (("queue=long", "is not METRIC=NUMBER"), ("cpu_cores=1", "is measured by the host")):
            refused = self.daemon.cli("usage", "push", "web", metric, check=False)
            self.assertIn(value, refused.stderr)
        refused = self.daemon.cli("usage", "push", "absent", "queue=1", check=False)
        self.assertIn("no VM absent", refused.stderr)
        cpu = self.wait_for("host/cpu_cores")
        self.assertGreater(cpu[0][1], 0)
        self.assertLessEqual(cpu[0][1], 2 * os.cpu_count())
        self.assertAlmostEqual(self.wait_for("vm/web/queue")[0][1], 3, delta=0.01)
        self.wait_for("vm/web/disk_read_bytes_per_s")
        lab.run("qemu-io", "-r", "-f", "raw", self.daemon.uri("web"), "-c", "read 0 2M")
        end = time.monotonic() + 60
        while sum(point[1] for point in self.points("vm/web/disk_read_bytes_per_s")) < 100_000:
            self.assertLess(time.monotonic(), end, "2 MiB that were read are in no round")
            time.sleep(0.5)
        shown = self.daemon.cli("usage", "show", "web", "disk_read_bytes_per_s").stdout
        self.assertIn("disk_read_bytes_per_s of web", shown)
        self.assertIn("vm/web", self.daemon.cli("top").stdout)

        # A daemon that is killed loses nothing that it kept.
        before = self.points("host/cpu_cores")
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(self.points("host/cpu_cores")[:len(before)], before)
        csv = os.path.join(self.daemon.folder, "usage.csv")
        self.daemon.cli("usage", "export", csv, "--resolution", "10s")
        with open(csv, encoding="utf-8") as lines:
            rows = [line.strip().split(",") for line in lines]
        self.assertEqual(rows[0], ["unix_seconds", "entity", "metric", "mean", "max"])
        self.assertIn(["vm/web", "queue", "3", "3"], [row[1:] for row in rows])
        asked = json.loads(self.daemon.cli("usage", "show", "web", "queue", "--last", "10m", "-o", "json").stdout)
        self.assertEqual(asked["points"][0][1:], [3, 3])
        young = self.daemon.cli("usage", "forecast", "web", "queue", check=False)
        self.assertIn("fewer than two points", young.stderr)

    def test_what_is_not_kept_is_refused(self):
        absent = self.daemon.cli("usage", "show", "web", "mood", check=False)
        self.assertIn("no mood of vm/web", absent.stderr)
        wrong = self.daemon.cli("usage", "show", "../x", "mood", check=False)
        self.assertNotEqual(wrong.returncode, 0)


if __name__ == "__main__":
    unittest.main()
