"""What a migration will take is told before it, without moving anything; it comes about as told; what figures were off by corrects
the next forecast; and what was learned of the VM travels with it."""
import os
import re
import unittest

import migrate_test

MODES = ("precopy", "postcopy", "hybrid")
FIGURES = ("total_s", "downtime_s", "blocked_s", "bytes")


class MigrateForecastTest(migrate_test.MigrateTest):
    def forecast(self, daemon, to, **more):
        return daemon.post("/api/v1/vms/m/migrate/forecast", {"to": to, **more})

    def of_mode(self, told, mode):
        return next(one for one in told["modes"] if one["mode"] == mode)

    def check_forecast(self, told):
        self.assertEqual({one["mode"] for one in told["modes"]}, set(MODES))
        self.assertGreaterEqual(told["memory_bytes"], 128 << 20)
        self.assertGreater(told["written_bytes"], 0)
        self.assertGreater(told["link_bytes_per_s"], 1e6)
        self.assertGreater(told["round_trip_s"], 0)
        for mode in told["modes"]:
            for figure in FIGURES:
                self.assertLessEqual(mode[figure]["low"], mode[figure]["expected"], (mode["mode"], figure))
                self.assertLessEqual(mode[figure]["expected"], mode[figure]["high"], (mode["mode"], figure))
            self.assertGreater(mode["total_s"]["expected"], 0)
            # The guest's random data alone does not pack.
            self.assertGreater(mode["bytes"]["expected"], 16 << 20)
        self.assertEqual(self.of_mode(told, "precopy")["blocked_s"]["high"], 0)

    def test_told_before_and_compared_after(self):
        self.run_guest(self.a)
        before = self.beats(self.a)
        said = self.a.cli("vm", "migrate", "m", "--to", "b", "--dry-run").stdout
        print(said, flush=True)
        self.assertRegex(said, r"nothing was moved")
        for mode in MODES:
            self.assertRegex(said, rf"(?m)^{mode} +.+ to .+\)")
        self.assertRegex(said, r"(?m)^mode +(precopy|postcopy|hybrid): ")
        self.assertEqual(self.state(self.a), "running")
        self.assertEqual(self.b.get("/api/v1/vms")["items"], [])
        self.wait_for_beat(self.a, before + 3)
        self.assertEqual(self.a.get("/api/v1/migrations")["items"], [])

        # A link of 2 MiB/s is too slow for any short downtime but a switch: pre-copy is not chosen.
        told = self.forecast(self.a, "b")
        self.check_forecast(told)
        slow = self.forecast(self.a, "b", rate_bytes_per_s_max=2 << 20, downtime_ms_max=100)
        self.assertEqual(slow["link_bytes_per_s"], 2 << 20)
        self.assertGreater(self.of_mode(slow, "hybrid")["total_s"]["expected"],
                           2 * self.of_mode(told, "hybrid")["total_s"]["expected"])
        hurried = self.forecast(self.a, "b", rate_bytes_per_s_max=2 << 20, switch_within_ms=1000, degradation_percent_max=100)
        self.assertEqual(hurried["mode"], "postcopy")

        self.move(self.a, self.b, "b", "hybrid")
        report = self.a.get("/api/v1/migrations")
        (one,) = report["items"]
        self.assertEqual((one["state"], one["is_mode_asked"], one["forecast"]["mode"]), ("moved", True, "hybrid"))
        for figure in FIGURES[:2] + FIGURES[3:]:
            self.assertGreater(one["actual"][figure], 0, figure)
        # The steps are the downtime, in the order in which they happened.
        steps = re.findall(r"(\w+) ([\d.]+)", re.search(r"it stood still, in ms, for ([^;]+)", one["detail"]).group(1))[:8]
        self.assertEqual([step for step, _ in steps], ["stop", "notice", "freeze", "load", "disk", "ready", "decide", "run"])
        self.assertAlmostEqual(sum(float(took) for _, took in steps), 1000 * one["actual"]["downtime_s"], delta=1)
        # Bytes are no matter of the machine's load.
        expected = self.of_mode(one["forecast"], "hybrid")["bytes"]["expected"]
        self.assertLess(abs(one["actual"]["bytes"] - expected), 0.5 * expected)
        self.assertEqual({(score["mode"], score["figure"], score["count"]) for score in report["scores"]},
                         {("hybrid", figure, 1) for figure in FIGURES})
        explained = self.a.cli("explain", "migration", "m").stdout
        print(explained, flush=True)
        self.assertRegex(explained, r"(?m)^total +.*\) +\S+ \S+ +(yes|no)")
        self.assertRegex(explained, r"hybrid +bytes +1 ")

        # The factor that was learned outlives the daemon.
        factor = {score["figure"]: score["factor"] for score in report["scores"]}
        self.a.stop()
        self.a.start()
        again = {score["figure"]: score["factor"] for score in self.a.get("/api/v1/migrations")["scores"]}
        for figure in FIGURES:
            self.assertAlmostEqual(factor[figure], again[figure])

        # And back by what is chosen there: told, taken, and kept there, too.
        self.move(self.b, self.a, "a", "auto")
        (back,) = self.b.get("/api/v1/migrations")["items"]
        self.assertFalse(back["is_mode_asked"])
        self.assertEqual(back["state"], "moved")
        self.assertIn(back["forecast"]["mode"], MODES)

    def test_a_forecast_that_cannot_be_had_changes_nothing(self):
        self.run_guest(self.a)
        self.b.stop()
        before = self.beats(self.a)
        done = self.a.cli("vm", "migrate", "m", "--to", "b", "--dry-run", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("too little is known", done.stderr)
        unknown = self.a.cli("vm", "migrate", "nobody", "--to", "b", "--dry-run", check=False)
        self.assertEqual(unknown.returncode, 4)
        self.assertEqual(self.state(self.a), "running")
        self.wait_for_beat(self.a, before + 3)
        # A migration that fails is kept as such.
        self.b.start()
        self.b.cli("vm", "run", "m", "--image", "checker", "--disk-only")
        self.refused("b", "there is a VM m already")
        (one,) = self.a.get("/api/v1/migrations")["items"]
        self.assertEqual((one["state"], one["actual"]), ("failed", None))
        self.assertIn("there is a VM m already", one["detail"])

    def test_what_was_learned_travels(self):
        self.run_guest(self.a)
        self.a.cli("vm", "stop", "m", "--force")  # now the boot of its image is known
        self.a.cli("vm", "rm", "m")
        self.run_guest(self.a)
        history = os.path.join(self.a.folder, "m.history")
        known = self.a.post("/api/v1/vms/m/history/export", {"path": history})
        self.assertGreater(known["size_bytes"], 0)
        self.move(self.a, self.b, "b", "precopy", "--max-downtime", "3s")
        self.assertRegex(self.b.log(), r"VM m: took up \d+ models and histories of \d+ components from host a")
        there = self.b.post("/api/v1/vms/m/history/export", {"path": os.path.join(self.b.folder, "m.history")})
        self.assertGreaterEqual(there["histories"], known["histories"])
        self.assertLessEqual(set(known["models"]), set(there["models"]))


# The cases of the class this one builds on run in their own test.
for name in dir(migrate_test.MigrateTest):
    if name.startswith("test_"):
        setattr(MigrateForecastTest, name, None)

if __name__ == "__main__":
    unittest.main(verbosity=2)
