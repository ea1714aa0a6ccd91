"""How the host and its VMs were used: kept by a real daemon, through restarts and kills, and told."""
import json
import os
import time
import unittest

import lab
import remote_read

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

    def test_history_is_filled_from_a_prometheus(self):
        end = int(time.time()) // 60 * 60
        times = range(end - 3 * 3600, end + 60, 60)
        queue = {"__name__": "queue_length", "vm": "web"}
        keeper = remote_read.Server([
            (queue, [(at, 5) for at in times]),
            ({"__name__": "node_memory_MemTotal_bytes"}, [(at, 100e6) for at in times]),
            ({"__name__": "node_memory_MemAvailable_bytes"}, [(at, 30e6) for at in times]),
            ({"__name__": "node_cpu_seconds_total", "mode": "user"}, [(at, 2 * (at - times[0])) for at in times]),
            ({"__name__": "node_cpu_seconds_total", "mode": "idle"}, [(at, 0) for at in times])])
        self.addCleanup(keeper.close)
        refused = self.daemon.cli("usage", "import", check=False)
        self.assertIn("prometheus_url is not set", refused.stderr)
        done = self.daemon.cli("usage", "import", "--prometheus", keeper.url, "--last", "3h")
        self.assertIn("points of", done.stdout)
        # What this host measures itself begins later than this.
        begin = end - 2 * 3600
        for metric, value in (("host/memory_bytes", 70e6), ("host/cpu_cores", 2)):
            points = self.daemon.get(f"/api/v1/usage/{metric}?resolution=5m&last_seconds=14400")["points"]
            past = [point[1] for point in points if begin <= point[0] < begin + 3600]
            self.assertEqual(len(past), 12)
            self.assertAlmostEqual(past[0], value, delta=value / 1000)
        queries = os.path.join(self.daemon.folder, "queries.json")
        with open(queries, "w", encoding="utf-8") as out:
            json.dump({"queries": [{"metric": "queue", "select": "queue_length", "vm_label": "vm"}]}, out)
        self.daemon.cli("usage", "import", "--prometheus", keeper.url, "--last", "3h", "--queries", queries)
        self.assertIn("5", self.daemon.cli("usage", "show", "web", "queue", "--last", "2h").stdout)
        forecast = self.daemon.cli("usage", "forecast", "web", "queue").stdout
        self.assertIn("90 % are expected", forecast)
        contention = json.loads(self.daemon.cli("usage", "forecast", "host", "contention", "-o", "json").stdout)
        self.assertEqual([each["minutes"] for each in contention["ahead"]], [5, 15, 30, 60, 360, 720])
        self.assertIn("IF ONE FAILS", self.daemon.cli("usage", "forecast", "--zones").stdout)
        with open(queries, "w", encoding="utf-8") as out:
            out.write('{"queries": [{"metric": "queue", "select": "rate(x)"}]}')
        wrong = self.daemon.cli("usage", "import", "--queries", queries, check=False)
        self.assertIn("queries[0]: selector goes on", wrong.stderr)

        # Its answers are judged, and none of it kills the daemon.
        for status, body, why in ((200, b"<html>", "not an answer to remote read"),
                                  (400, b"too many samples\nx", "400: too many samples"),
                                  (503, b"", "answers 503"), (200, b"\xff\xff\xff\xff\x0f", "read at most")):
            keeper.status, keeper.body = status, body
            failed = self.daemon.cli("usage", "import", "--prometheus", keeper.url, "--last", "1h", check=False)
            self.assertNotEqual(failed.returncode, 0)
            self.assertIn(why, failed.stderr)

    def test_history_is_filled_without_being_asked(self):
        end = int(time.time()) // 60 * 60
        keeper = remote_read.Server([({"__name__": "node_memory_MemTotal_bytes"},
                                      [(at, 100e6) for at in range(end - 86400, end, 300)])])
        self.addCleanup(keeper.close)
        token = os.path.join(self.daemon.folder, "token")
        with open(token, "w", encoding="utf-8") as out:
            out.write("secret\n")
        self.daemon.stop()
        queries = os.path.join(self.daemon.folder, "queries.json")
        with open(queries, "w", encoding="utf-8") as out:
            json.dump({"queries": [{"metric": "memory_total_bytes", "select": "node_memory_MemTotal_bytes"}]}, out)
        self.daemon.config += (f'[history]\nprometheus_url = "{keeper.url}"\nprometheus_token_file = "{token}"\n'
                               f'prometheus_queries = "{queries}"\n')
        self.daemon.start()
        state = os.path.join(self.daemon.state_dir, "usage_import")
        deadline = time.monotonic() + 60
        while not os.path.exists(state):
            self.assertLess(time.monotonic(), deadline, self.daemon.log())
            time.sleep(0.1)
        points = self.daemon.get("/api/v1/usage/host/memory_total_bytes?resolution=1h&last_seconds=86400")["points"]
        self.assertGreater(len(points), 20)
        self.assertEqual(keeper.headers[0]["Authorization"], "Bearer secret")
        # Another server is not told the secret.
        other = remote_read.Server([])
        self.addCleanup(other.close)
        self.daemon.cli("usage", "import", "--prometheus", other.url, "--last", "1h")
        self.assertNotIn("Authorization", other.headers[0])

    def test_what_is_not_kept_is_refused(self):
        absent = self.daemon.cli("usage", "show", "web", "mood", check=False)
        self.assertIn("no mood of vm/web", absent.stderr)
        wrong = self.daemon.cli("usage", "show", "../x", "mood", check=False)
        self.assertNotEqual(wrong.returncode, 0)


if __name__ == "__main__":
    unittest.main()
