"""Launches foreseen by a real daemon: an image that is launched regularly is fetched before its launch."""
import json
import os
import shutil
import time
import unittest

import lab
from compose_test import PASSWD, archive, service

PERIOD, HORIZON = 1, 16


def config(*more):
    return ("[tier]\nmemory_bytes = 67108864\nfile_bytes = 134217728\n"
            f"[launches]\nperiod_seconds = {PERIOD}\nhorizon_seconds = {HORIZON}\n" + "".join(more))


class LaunchTest(unittest.TestCase):
    def setUp(self):
        self.daemon = lab.Daemon(config())
        self.daemon.start()

    def tearDown(self):
        self.daemon.close()

    def report(self):
        return self.daemon.get("/api/v1/launches")

    def wait_for(self, what, condition, seconds=90):
        deadline = time.monotonic() + seconds
        while not condition(self.report()):
            self.assertLess(time.monotonic(), deadline, f"never: {what}\n{json.dumps(self.report(), indent=1)[:4000]}\n"
                                                        f"{self.daemon.log()[-2000:]}")
            time.sleep(0.2)
        return self.report()

    def boot(self, name):
        """A guest's boot: half of the disk is read; returns the VM's figures."""
        self.daemon.cli("vm", "run", name, "--image", "disk", "--disk-only", "--tenant", "red")
        lab.run("qemu-io", "-f", "raw", "-c", "read 0 1M", "-c", "read 1M 1M", self.daemon.uri(name))
        stats = self.daemon.get(f"/api/v1/vms/{name}/stats")
        self.daemon.cli("vm", "stop", name, "--force")
        return stats

    def fetched(self, io_class):
        for line in self.daemon.get("/metrics").splitlines():
            if line.startswith(f'forerun_fetched_bytes_total{{class="{io_class}"}}'):
                return int(line.split()[-1])
        return 0

    def past(self, image, every, span=900):
        """A file of launches of `image` until now; returns its path."""
        path = os.path.join(self.daemon.folder, "past.txt")
        now = int(time.time())
        with open(path, "w", encoding="ascii") as out:
            for second in range(now - span, now - 1, every):
                out.write(f"{second} {image},|\n")
        return path

    def forget_tier(self):
        self.daemon.stop()
        shutil.rmtree(os.path.join(self.daemon.state_dir, "tier"))

    def test_image_is_fetched_before_its_launch_and_the_launch_needs_no_link(self):
        disk = lab.random_disk(os.path.join(self.daemon.folder, "disk.raw"), 6)
        self.daemon.import_image(disk, "disk")
        first = self.boot("first")
        self.assertGreater(first["demand_fetched_bytes"] + first["prefetch_fetched_bytes"], 2 << 20)
        self.forget_tier()
        history = self.past("disk", every=5)
        self.daemon.config = config(f'history = ["{history}"]\n')
        self.daemon.start()
        report = self.wait_for("the image is foreseen and here", lambda r: r["items"] and r["items"][0]["window_open"]
                               and r["items"][0]["foreseen_here_bytes"] == r["items"][0]["foreseen_bytes"] > 0)
        best = report["items"][0]
        self.assertEqual(best["image"], "disk")
        self.assertGreaterEqual(best["foreseen_bytes"], 2 << 20)
        self.assertGreater(best["probability"], 0.3)
        self.assertIn("recency", [piece["name"] for piece in best["pieces"]])
        self.assertEqual(self.fetched("background"), best["foreseen_bytes"])
        critical, ahead = self.fetched("critical"), self.fetched("prefetch")

        second = self.boot("second")
        self.assertEqual(second["demand_fetched_bytes"], 0)
        self.assertEqual(second["demand_reads"], 0)
        self.assertEqual((self.fetched("critical"), self.fetched("prefetch")), (critical, ahead))

        report = self.wait_for("the launch is scored", lambda r: r["total"]["used_bytes"] == best["foreseen_bytes"])
        self.assertEqual(report["total"]["launches"], 1)
        self.assertEqual(report["total"]["methods"][0]["launches_ready"], 1)
        self.assertIn("hit", [window["outcome"] for window in report["windows"]])
        text = self.daemon.cli("explain", "launch").stdout
        self.assertRegex(text, r"disk +(> )?\d+ % ")
        self.assertRegex(text, r"forerun +100 %")
        self.assertIn('forerun_launch_windows_total{outcome="hit"} 1', self.daemon.get("/metrics"))

    def test_disks_of_the_same_components_are_one_image_whatever_their_vms_are_called(self):
        base = {"etc/passwd": PASSWD, "sbin/init": "#!/bin/sh\n", "bin/sh": os.urandom(300_000)}
        for name, files in (("base", base), ("redis", service("redis", 101))):
            path = os.path.join(self.daemon.folder, name + ".tar.gz")
            archive(path, files)
            self.daemon.cli("component", "import", "tar", path, "--name", name, "--version", "1")

        def boot(name):
            self.daemon.cli("vm", "run", name, "--base", "base", "--with", "redis", "--disk-only")
            lab.run("nbdcopy", self.daemon.uri(name), os.path.join(self.daemon.folder, name + ".raw"))
            stats = self.daemon.get(f"/api/v1/vms/{name}/stats")
            self.daemon.cli("vm", "stop", name, "--force")
            self.daemon.cli("vm", "rm", name)
            return stats

        first = boot("one")
        self.assertGreater(first["demand_fetched_bytes"] + first["prefetch_fetched_bytes"], 300_000)
        self.wait_for("the launch is noted", lambda r: [item["image"] for item in r["items"]] == ["base+redis"])
        self.assertEqual([item["component"] for item in self.report()["components"]], ["base", "redis"])
        self.forget_tier()
        self.daemon.config = config(f'history = ["{self.past("base+redis", every=5)}"]\n')
        self.daemon.start()
        self.wait_for("the disk is foreseen and here", lambda r: r["items"] and r["items"][0]["window_open"]
                      and r["items"][0]["foreseen_here_bytes"] == r["items"][0]["foreseen_bytes"] > 300_000)
        self.assertEqual(boot("two")["demand_fetched_bytes"], 0)

    def test_history_survives_restarts_and_kills(self):
        disk = lab.random_disk(os.path.join(self.daemon.folder, "disk.raw"), 3)
        self.daemon.import_image(disk, "disk")
        self.boot("v")
        lines = self.wait_for("launch and stop are noted", lambda r: r["history"]["lines"] >= 2)["history"]["lines"]
        for end in (self.daemon.kill, self.daemon.stop):
            end()
            self.daemon.start()
            report = self.wait_for("the history is learned", lambda r: r["state"] == "on")
            self.assertGreaterEqual(report["history"]["lines"], lines)
            self.assertEqual(report["history"]["refused_lines"], 0)
            self.assertEqual([item["image"] for item in report["items"]], ["disk"])
        with open(os.path.join(self.daemon.state_dir, "launches"), encoding="ascii") as history:
            text = history.read()
        self.assertRegex(text, r"(?m)^\d+ disk,@[\w.+:-]+,%red,\|$")
        self.assertRegex(text, r"(?m)^\d+ ~disk,@[\w.+:-]+,\|$")
        replayed = self.daemon.cli("replay", "launches", os.path.join(self.daemon.state_dir, "launches"), "--hosts", "1",
                                   "--tick", "60s", "-o", "json")
        self.assertEqual(json.loads(replayed.stdout)["manifests"], 1)

    def test_damaged_history_is_refused_line_by_line(self):
        self.daemon.stop()
        path = os.path.join(self.daemon.state_dir, "launches")
        with open(self.past("web", every=60), encoding="ascii") as past:
            good = past.read().splitlines()
        damaged = [good[0], "\x07 rubbish", good[1], good[2][:-2], good[3], "99999999999 web,|", *good[4:], good[5][:7]]
        with open(path, "w", encoding="ascii") as out:
            out.write("\n".join(damaged))        # the last line without its end: cut off by a crash
        self.daemon.start()
        report = self.wait_for("the history is learned", lambda r: r["state"] == "on")
        self.assertEqual(report["history"]["refused_lines"], 3)
        self.assertIn("line 2: expected seconds", report["history"]["first_refusal"])
        self.assertIn("line 4: the last batch is not ended", self.daemon.log())
        self.assertIn("line 6: second 99999999999 is over", self.daemon.log())
        self.assertTrue(os.path.exists(path + ".damaged"))
        self.assertEqual([item["image"] for item in report["items"]], ["web"])
        self.daemon.stop()
        self.daemon.start()
        self.assertEqual(self.wait_for("again", lambda r: r["state"] == "on")["history"]["refused_lines"], 0)

    def test_history_is_imported_once_and_a_wrong_file_not_at_all(self):
        past = self.past("web", every=60)
        first = json.loads(self.daemon.cli("launch", "import", past, "-o", "json").stdout)
        again = json.loads(self.daemon.cli("launch", "import", past, "-o", "json").stdout)
        self.assertEqual((first["added_lines"], first["known_lines"]), (15, 0))
        self.assertEqual((again["added_lines"], again["known_lines"]), (0, 15))
        with open(past, "a", encoding="ascii") as out:
            out.write("tomorrow web,|\n")
        done = self.daemon.cli("launch", "import", past, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("line 16: expected seconds", done.stderr)
        done = self.daemon.cli("launch", "import", past + ".none", check=False)
        self.assertEqual(done.returncode, 4)
        self.daemon.stop()
        self.daemon.config = config(f'history = ["{past}"]\n')   # a wrong file does not keep the daemon from starting
        self.daemon.start()
        self.wait_for("what was imported is known", lambda r: r["state"] == "on" and len(r["items"]) == 1)
        self.assertIn("is not learned from", self.daemon.log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
