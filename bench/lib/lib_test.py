#!/usr/bin/python3
"""What the benchmarks' helpers compute: the picture, medians, the trace of a log, and a replay over real NBD."""

import os
import struct
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lib import boots, children, picture, replay, report  # noqa: E402

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
