#!/usr/bin/env python3
"""A QEMU outlives its launcher, is adopted by another process, and is stopped by the mildest means that works.

usage: vmm_lifecycle_test.py VMM_DRIVER
No guest runs: QEMU starts paused, with no disk or with an NBD export of nbdkit.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

DRIVER = sys.argv.pop(1) if len(sys.argv) > 1 else ""


def start_ticks(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


class Lifecycle(unittest.TestCase):
    def setUp(self):
        # The comma must reach QEMU doubled.
        self.folder = tempfile.mkdtemp(prefix="vmm,test-")
        self.started = []

    def tearDown(self):
        for pid, ticks in self.started:
            if ticks is not None and start_ticks(pid) == ticks:
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def step(self, *words, check=True):
        done = subprocess.run([DRIVER, words[0], self.folder, *words[1:]], capture_output=True, text=True,
                              timeout=60, check=False)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip() if check else done

    def launch(self, *words):
        pid = int(self.step("launch", *words))
        self.started.append((pid, start_ticks(pid)))
        self.assertIsNotNone(start_ticks(pid), "QEMU ended with its launcher")
        return pid

    def test_adopts_what_an_ended_launcher_started(self):
        pid = self.launch()
        self.assertEqual(self.step("state"), "prelaunch")
        self.assertEqual(self.step("resume"), "running")
        self.assertEqual(self.step("stop", "force"), "quit")
        self.assertIsNone(start_ticks(pid))
        gone = self.step("state", check=False)
        self.assertEqual(gone.returncode, 1)
        self.assertIn("not_found", gone.stderr)

    def test_a_guest_that_ignores_the_button_is_ended_by_quit(self):
        self.launch()
        self.assertEqual(self.step("stop", "ask"), "quit")

    def test_a_qemu_that_hangs_is_killed(self):
        pid = self.launch()
        os.kill(pid, signal.SIGSTOP)
        self.assertEqual(self.step("stop", "ask"), "kill")
        self.assertIsNone(start_ticks(pid))

    def test_does_not_adopt_a_reused_pid(self):
        self.launch()
        record = os.path.join(self.folder, "t.json")
        with open(record, encoding="utf-8") as file:
            text = file.read()
        ticks = self.started[0][1]
        self.assertIn(f'"pid_start_ticks":{ticks}', text)
        with open(record, "w", encoding="utf-8") as file:
            file.write(text.replace(f'"pid_start_ticks":{ticks}', f'"pid_start_ticks":{int(ticks) - 1}'))
        self.assertIn("not_found", self.step("state", check=False).stderr)
        self.assertEqual(self.step("stop", "force"), "itself")
        self.assertEqual(start_ticks(self.started[0][0]), ticks, "another process was stopped")

    def test_its_disk_is_the_export(self):
        disk = os.path.join(self.folder, "d.raw")
        with open(disk, "wb") as file:
            file.truncate(16 << 20)
        sock = os.path.join(self.folder, "nbd.sock")
        server = subprocess.Popen(["nbdkit", "-f", "-U", sock, "file", disk])
        try:
            deadline = time.monotonic() + 10
            while not os.path.exists(sock) and time.monotonic() < deadline:
                time.sleep(0.02)
            self.launch(sock)
            self.assertEqual(self.step("disks"), "disk0")
            self.assertEqual(self.step("stop", "force"), "quit")
        finally:
            server.terminate()
            server.wait()

    def test_a_failed_start_says_what_qemu_said(self):
        shutil.rmtree(self.folder)
        os.mkdir(self.folder)
        os.mkdir(os.path.join(self.folder, "qmp.sock"))   # QEMU cannot bind there
        failed = self.step("launch", check=False)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("qmp.sock", failed.stderr)


if __name__ == "__main__":
    for program in ("qemu-system-x86_64", "nbdkit"):
        if shutil.which(program) is None:
            print(f"skipped: no {program} here")
            sys.exit(77)
    if not DRIVER:
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    unittest.main(verbosity=2)
