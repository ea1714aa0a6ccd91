#!/usr/bin/python3
"""What the benchmarks' helpers compute: the picture, medians, the trace of a log, and a replay over real NBD."""

import os
import socket
import struct
import sys
import tempfile
import threading
import time
import tomllib
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lib import boots, children, components, composed, picture, probes, replay, report, workloads  # noqa: E402

LOG = """\
2026-11-21 03:17:15.000000 Ready thread_model=3
2026-11-21 03:17:15.100000 connection=1 Read id=1 offset=0x0 count=0x200 ...
2026-11-21 03:17:15.100000 connection=2 Read id=1 offset=0x1000 count=0x2000 ...
2026-11-21 03:17:15.150000 connection=2 ...Read id=1 return=0
2026-11-21 03:17:15.200000 connection=1 ...Read id=1 return=0
2026-11-21 03:17:15.300000 connection=2 Read id=2 offset=0x8000 count=0x1000 ...
2026-11-21 03:17:17.500000 connection=2 Read id=3 offset=0x9000 count=0x1000 ...
"""


class Picture(unittest.TestCase):
    def test_a_bin_is_spread_over_the_cells_it_covers(self):
        shares = picture.cells(0.1, [100, 100, 100, 0, 0], 0.5)
        self.assertAlmostEqual(shares[0], 1.0)
        self.assertAlmostEqual(shares[1], 0.2)

    def test_stall_after_the_answer_is_not_shown(self):
        self.assertEqual(picture.cells(0.1, [0] * 20 + [100] * 20, 1.0), [0.0] * 4)

    def test_a_line_shows_copy_stall_and_answer(self):
        figures = {"service_s": 1.5, "copy_s": 0.5, "stall_bin_s": 0.1, "stall_bin_ms": [100] * 5 + [0] * 5}
        self.assertEqual(picture.line(figures, True), "==##--|")
        self.assertEqual(picture.line(figures, False), "░░██··▏")

    def test_a_short_stall_shows(self):
        figures = {"service_s": 0.5, "stall_bin_s": 0.1, "stall_bin_ms": [0, 0, 20, 0, 0]}
        self.assertEqual(picture.line(figures, True), "..|")


class Report(unittest.TestCase):
    def test_medians_and_spread_of_numbers_only(self):
        runs = {"link": {"mode": [{"s": 3, "bins": [1]}, {"s": 1, "bins": [2]}, {"s": 2, "bins": []}]}}
        middle, spread = report.medians(runs)
        self.assertEqual(middle, {"link": {"mode": {"s": 2}}})
        self.assertEqual(spread, {"link": {"mode": {"s": [1, 3]}}})


class Composed(unittest.TestCase):
    def test_a_composed_image_adds_its_modes_beside_the_single_guests(self):
        single = {"medians": {"l": {"on_demand": 1}}, "spread": {}}
        other = dict.fromkeys(["with", "trained_on", "base_from", "boots", "guest", "image", "definitions", "training",
                               "runs"], None)
        other.update(medians={"l": {"on_demand": 2, "forerun_unseen": 3}}, spread={"l": {"image_trace": 4}})
        composed.add_to(single, other)
        self.assertEqual(single["medians"], {"l": {"on_demand": 1, "composed_on_demand": 2, "forerun_unseen": 3}})
        self.assertEqual(single["spread"], {"l": {"image_trace": 4}})
        self.assertEqual(single["composed"]["medians"], other["medians"])


class Figures(unittest.TestCase):
    def test_what_is_undecided_at_the_end_counts_as_wasted(self):
        ready = {"stall_seconds": 1.5, "demand_p99_seconds": 0.02, "demand_p50_seconds": 0.01, "demand_reads": 7,
                 "reads": 9, "stall_bin_seconds": 0.1, "stall_bin_ms": [5]}
        end = {"undecided_chunks": 10, "issued_chunks": 100, "hit_chunks": 80, "late_chunks": 5, "wasted_chunks": 5,
               "demand_fetched_bytes": 1, "prefetch_fetched_bytes": 1000, "wasted_bytes": 50}
        figures = boots._figures(12.0, ready, end, 1234)
        self.assertEqual(figures["wasted"], 15)
        self.assertEqual(figures["wasted_bytes"], 150)
        self.assertEqual(figures["wasted_ratio"], 0.15)


class Workloads(unittest.TestCase):
    def test_what_the_catalogue_does_not_know_is_a_package_ready_with_the_default_target(self):
        one = workloads.workload("g++")
        self.assertEqual((one.packages, one.component), (("g++",), "bench-g__"))
        self.assertEqual([probe.protocol for probe in one.probes], ["console"])
        self.assertIs(workloads.workload("python"), workloads.CATALOGUE["python-flask"])
        with self.assertRaises(children.Failure):
            workloads.workload("No Package")

    def test_images_to_learn_from_are_lists_of_lists(self):
        self.assertEqual(workloads.parse_sets("nginx,redis+node"), [("nginx",), ("redis", "nodejs")])
        self.assertEqual(components.image_name(("nginx", "g++")), "bench.nginx.g__")
        many = [components.image_name(("nginx", "redis", "postgresql", "mariadb", "python", "nodejs", last))
                for last in ("memcached", "memcache")]
        self.assertEqual([len(name) for name in many], [64, 64])
        self.assertNotEqual(*many)

    def test_a_manifest_holds_the_files_of_all_and_asks_for_the_console_only_if_it_must(self):
        both = tomllib.loads(workloads.manifest("b", "k", [workloads.workload("postgresql"), workloads.workload("node")]))
        self.assertEqual(both["components"], ["k", "bench-postgresql", "bench-nodejs"])
        self.assertEqual(both["enable"], ["systemd-networkd.service", "bench-node.service"])
        self.assertIn("/etc/postgresql/15/main/conf.d/bench.conf", [file["path"] for file in both["file"]])
        plain = tomllib.loads(workloads.manifest("b", "k", [workloads.workload("cron")]))
        script = next(file["content"] for file in plain["file"] if file["path"] == "/opt/bench/ready")
        self.assertIn("for package in cron; do", script)
        self.assertIn("bench-ready.service", plain["enable"])


class Probes(unittest.TestCase):
    def test_ready_is_when_the_last_service_answers(self):
        server = socket.create_server(("127.0.0.1", 0))

        def serve():
            silent, _ = server.accept()  # as QEMU's network does for a guest without one
            talking, _ = server.accept()
            talking.recv(100)
            talking.sendall(b"+PO")
            talking.sendall(b"NG\r\n")
            silent.close()
            talking.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with tempfile.NamedTemporaryFile("w", suffix=".log") as console:
            console.write("starting\n[ 3.1] bench-ready:\n")
            console.flush()
            questions = [probes.TcpQuestion("redis", server.getsockname()[1]),
                         probes.ConsoleQuestion(console.name, "bench-ready:")]
            self.assertGreater(probes.wait_for_all(questions, time.monotonic(), lambda: None, 20), 0)
        thread.join()
        server.close()

    def test_a_unit_that_does_not_run_is_named(self):
        with tempfile.NamedTemporaryFile("w", suffix=".log") as console:
            console.write("bench-ready: cron.service\n")
            console.flush()
            with self.assertRaisesRegex(children.Failure, "cron.service"):
                probes.wait_for_all([probes.ConsoleQuestion(console.name, "bench-ready:")], time.monotonic(),
                                    lambda: None, 20)

    def test_answers_of_the_protocols(self):
        for protocol, answer, other in (("http", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 502 Bad\r\n"),
                                        ("memcached", b"VERSION 1.6\r\n", b"ERROR\r\n"),
                                        ("postgresql", b"N", b"E"),
                                        ("mariadb", b"\x6c\0\0\0\x0a5.5", b"\x6c\0\0\0\xff5.5")):
            self.assertTrue(probes.PROTOCOLS[protocol][1](answer))
            self.assertFalse(probes.PROTOCOLS[protocol][1](other))


class Replay(unittest.TestCase):
    def test_a_log_becomes_reads_with_their_completions(self):
        with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
            log.write(LOG)
            log.flush()
            begin = 1795231035.0  # 2026-11-21 03:17:15 UTC
            reads = replay._parse_log(log.name, begin, begin + 2.0)
        self.assertEqual(reads, [[100000, 200000, 0, 512], [100000, 150000, 4096, 8192],
                                 [300000, 2000000, 32768, 4096]])

    def test_reads_keep_their_dependence_and_think_time_and_are_checked(self):
        trace = [(0, 100, 0, 4096), (50, 200, 65536, 512), (200_000, 200_100, 4096, 8192), (400_000, 400_100, 0, 512)]
        seen = []

        def check(offset, data):
            seen.append(offset)
            expected = b"".join(struct.pack(">Q", at) for at in range(offset, offset + len(data), 8))
            self.assertEqual(bytes(data), expected)

        with tempfile.TemporaryDirectory() as work:
            path = os.path.join(work, "s")
            try:
                nbdkit = children.program("nbdkit", "nbdkit")
            except children.Failure as failure:
                self.skipTest(str(failure))
            server = children.start([nbdkit, "-f", "-U", path, "pattern", "1M"], os.path.join(work, "log"))
            try:
                boots.wait_for_path(path, server)
                span = replay.replay(path, "", trace, 0.1, time.monotonic(), check)
            finally:
                children.stop(server)
        self.assertEqual(seen, [0, 65536, 4096, 0])
        self.assertGreaterEqual(span, 0.039)  # two pauses of 200 ms, a tenth of each


if __name__ == "__main__":
    unittest.main()
