"""forerun record with a real daemon and a real NBD client: what the client asks is what stands in the trace, to the sector
and in order; the trace replays; a recording ends with its time, its VM, its client or its daemon, and says so."""
import json
import os
import signal
import subprocess
import time
import unittest

import lab

CLIENT = """
import nbd, sys
h = nbd.NBD()
h.set_request_structured_replies(False)
h.connect_uri(sys.argv[1])
for line in open(sys.argv[2]):
    op, offset, length = line.split(",")
    offset, length = int(offset), int(length)
    if op == "R": h.pread(length, offset)
    elif op == "W": h.pwrite(b"x" * length, offset)
    elif op == "Z": h.zero(length, offset)
    elif op == "T": h.trim(length, offset)
h.flush()
h.shutdown()
"""


def requests(seed, count, disk_bytes):
    """Reads and writes of a client: (op, offset, length) in bytes; most of them whole sectors."""
    import random
    choose = random.Random(seed)
    asked = []
    for _ in range(count):
        length = choose.choice([512, 4096, 65536, 131072])
        offset = choose.randrange((disk_bytes - length) // 512) * 512
        asked.append((choose.choice("RRRW"), offset, length))
    # One over a chunk's border, one of many pieces for the server, and one of parts of sectors.
    return asked + [("R", 65536 - 512, 1024), ("W", 512, 3 << 20), ("R", 1000, 100), ("Z", 8192, 65536), ("T", 0, 4096)]


def as_traced(asked):
    """What the trace has of each: sectors; discards are no reads or writes."""
    return [("R" if op == "R" else "W", offset // 512, (offset + length + 511) // 512 - offset // 512)
            for op, offset, length in asked if op != "T"]


class RecordTest(unittest.TestCase):
    def setUp(self):
        self.daemon = lab.Daemon().start()
        self.folder = self.daemon.folder
        self.disk_bytes = 16 << 20
        self.daemon.import_image(lab.random_disk(os.path.join(self.folder, "disk.raw"), 16), "disk")
        self.daemon.cli("vm", "run", "vm", "--image", "disk", "--disk-only")
        self.processes = []

    def tearDown(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.daemon.close()

    def record(self, *arguments):
        """Begins a recording, and waits until requests are noted."""
        known = self.daemon.log().count("its requests are recorded")
        process = subprocess.Popen([os.path.join(lab.BIN_DIR, "forerun"), "--socket", os.path.join(self.daemon.run_dir, "forerund.sock"),
                                    "record", "vm", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        deadline = time.monotonic() + 30
        while self.daemon.log().count("its requests are recorded") == known:
            self.assertIsNone(process.poll(), process.poll() is not None and process.communicate())
            self.assertLess(time.monotonic(), deadline, "the recording does not begin")
            time.sleep(0.02)
        return process

    def ask(self, asked):
        script, list_path = (os.path.join(self.folder, name) for name in ("ask.py", "asked"))
        with open(script, "w", encoding="ascii") as out:
            out.write(CLIENT)
        with open(list_path, "w", encoding="ascii") as out:
            out.writelines(f"{op},{offset},{length}\n" for op, offset, length in asked)
        lab.run("/usr/bin/python3", script, self.daemon.uri("vm"), list_path)

    def end(self, process, number=signal.SIGINT):
        process.send_signal(number)
        return process.communicate(timeout=60)

    def trace(self, path):
        if path.endswith(".zst"):
            text = lab.run("zstdcat", path).stdout
        else:
            with open(path, encoding="ascii") as file:
                text = file.read()
        text = text[:text.rfind("\n") + 1]  # without a line that is being written
        rows = [line.split(",") for line in text.splitlines()]
        times = [int(row[0]) for row in rows]
        self.assertEqual(times, sorted(times))
        return [(op, int(sector), int(count)) for _, op, sector, count in rows]

    def wait_until_written(self, path, asked):
        deadline = time.monotonic() + 30
        while not os.path.exists(path) or len(self.trace(path)) < len(as_traced(asked)):
            self.assertLess(time.monotonic(), deadline, "the trace does not grow")
            time.sleep(0.05)

    def test_what_a_client_asks_is_what_is_recorded_and_replays(self):
        asked = requests(1, 300, self.disk_bytes)
        for name in ("plain.csv", "packed.csv.zst"):
            path = os.path.join(self.folder, name)
            process = self.record("-o", path)
            self.ask(asked)
            _, talk = self.end(process)
            self.assertEqual(process.returncode, 0, talk)
            self.assertEqual(self.trace(path), as_traced(asked))
            self.assertIn(f"{len(as_traced(asked))} requests of VM vm", talk)
            replayed = self.daemon.cli("replay", "block", path, "--methods", "readahead", "--cache", "20%", "-o", "json")
            methods = json.loads(replayed.stdout)["traces"][name]["20%"]["methods"]
            self.assertEqual(methods["none"]["reads"], sum(op == "R" for op, _, _ in as_traced(asked)))

    def test_a_recording_ends_with_its_time(self):
        done = self.daemon.cli("record", "vm", "--seconds", "0.5")
        self.assertEqual(done.stdout, "")
        self.assertIn("0 requests of VM vm in stdout; ended: its time is over", done.stderr)

    def test_a_recording_ends_with_its_vm(self):
        path = os.path.join(self.folder, "trace.csv")
        process = self.record("-o", path)
        asked = requests(2, 50, self.disk_bytes)
        self.ask(asked)
        self.daemon.cli("vm", "stop", "vm")
        _, talk = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, talk)
        self.assertIn("ended: the VM stopped", talk)
        self.assertEqual(self.trace(path), as_traced(asked))

    def test_one_recording_at_a_time_of_a_vm_that_runs(self):
        process = self.record("-o", os.path.join(self.folder, "first.csv"))
        second = self.daemon.cli("record", "vm", check=False)
        self.assertEqual(second.returncode, 5)
        self.assertIn("VM vm is being recorded already", second.stderr)
        self.end(process)
        self.assertEqual(self.daemon.cli("record", "vm", "--seconds", "0.1").returncode, 0)
        self.daemon.cli("vm", "stop", "vm")
        stopped = self.daemon.cli("record", "vm", check=False)
        self.assertEqual(stopped.returncode, 4)
        self.assertIn("VM vm does not run", stopped.stderr)

    def test_a_client_that_is_killed_leaves_what_came_and_another_may_record(self):
        path = os.path.join(self.folder, "trace.csv")
        process = self.record("-o", path)
        asked = requests(3, 50, self.disk_bytes)
        self.ask(asked)
        self.wait_until_written(path, asked)
        self.end(process, signal.SIGKILL)
        self.assertEqual(self.trace(path), as_traced(asked))
        # The daemon notices after 20 s.
        deadline = time.monotonic() + 60
        while (last := self.daemon.cli("record", "vm", "--seconds", "0.1", check=False)).returncode == 5:
            self.assertLess(time.monotonic(), deadline, last.stderr)
            time.sleep(0.5)
        self.assertEqual(last.returncode, 0, last.stderr)

    def test_loss_is_counted_and_told(self):
        path = os.path.join(self.folder, "trace.csv")
        process = self.record("-o", path)
        process.send_signal(signal.SIGSTOP)  # it does not collect, and 65,536 requests may wait
        self.ask([("R", 0, 512)] * 70000)
        process.send_signal(signal.SIGCONT)
        _, talk = self.end(process)
        recorded = len(self.trace(path))
        self.assertGreaterEqual(recorded, 65536)
        self.assertLess(recorded, 70000)
        self.assertIn(f"{70000 - recorded:,} requests were lost", talk)
        self.assertEqual(process.returncode, 7)

    def test_a_daemon_that_goes_away_is_told_and_what_came_is_kept(self):
        path = os.path.join(self.folder, "trace.csv")
        process = self.record("-o", path)
        asked = requests(4, 50, self.disk_bytes)
        self.ask(asked)
        self.wait_until_written(path, asked)
        self.daemon.kill()
        _, talk = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 3, talk)
        self.assertIn("broke off after", talk)
        self.assertEqual(self.trace(path), as_traced(asked))
        self.daemon.start()


if __name__ == "__main__":
    unittest.main()
