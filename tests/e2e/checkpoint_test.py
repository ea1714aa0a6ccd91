"""Checkpoints of a real guest: its memory holds what its disk must say, so a disk and a memory of different moments are
found out by the guest itself."""
import glob
import os
import re
import shutil
import threading
import time
import unittest

import lab

APPEND = "console=ttyS0 quiet loglevel=3 mitigations=off no_timer_check panic=1"

# Each round writes one of four files and remembers its sum; every round reads all four past the page cache.
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo GUEST-UP
i=0
while true; do
  i=$((i+1)); k=$((i % 4))
  /bin/busybox dd if=/dev/urandom of=/data/f$k bs=64k count=8 conv=fsync 2>/dev/null || echo GUEST-ERROR write
  eval s$k="'$(/bin/busybox md5sum < /data/f$k)'"
  echo 3 > /proc/sys/vm/drop_caches
  for j in 0 1 2 3; do
    eval want="\\$s$j"
    [ -z "$want" ] || [ "$want" = "$(/bin/busybox md5sum < /data/f$j)" ] || echo GUEST-ERROR compare $j
  done
  echo GUEST-TICK $i
done
"""


def build_disk(folder):
    root = os.path.join(folder, "root")
    for name in ("bin", "sbin", "data", "proc", "sys", "dev"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    os.symlink("busybox", os.path.join(root, "bin/sh"))
    with open(os.path.join(root, "sbin/init"), "w", encoding="utf-8") as out:
        out.write(INIT)
    os.chmod(os.path.join(root, "sbin/init"), 0o755)
    disk = os.path.join(folder, "disk.raw")
    lab.run("truncate", "-s", "32M", disk)
    lab.run("mkfs.ext4", "-q", "-d", root, disk)
    return disk


class CheckpointTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lab.build_guest()

    def setUp(self):
        self.daemon = lab.Daemon("[tier]\nmemory_bytes = 16777216\nfile_bytes = 67108864\n").start()
        self.daemon.import_image(build_disk(self.daemon.folder), "ticker")
        self.daemon.cli("vm", "run", "t", "--image", "ticker", "--memory", "128M", "--kernel", f"{lab.GUEST}/vmlinuz",
                        "--initrd", f"{lab.GUEST}/initrd.img", "--append", APPEND)
        self.console = self.daemon.get("/api/v1/vms/t")["log_path"]

    def tearDown(self):
        self.daemon.close()

    def text(self):
        with open(self.console, encoding="utf-8", errors="replace") as console:
            return console.read()

    def ticks(self):
        found = [int(tick) for tick in re.findall(r"GUEST-TICK (\d+)\s", self.text())]
        self.assertNotIn("GUEST-ERROR", self.text())
        return found

    def wait_for_ticks(self, more, seconds=180):
        """Waits until so many more rounds are done and returns the last one's number."""
        before = len(self.ticks())
        deadline = time.monotonic() + seconds
        while len(self.ticks()) < before + more:
            self.assertLess(time.monotonic(), deadline, self.text()[-500:] + self.daemon.log()[-1500:])
            time.sleep(0.1)
        return self.ticks()[-1]

    def restore(self, *more):
        """Restores the stopped VM and returns the first round that the guest then does."""
        self.daemon.cli("vm", "stop", "t", "--force")
        if os.path.exists(self.console):
            os.remove(self.console)
        self.daemon.cli("vm", "restore", "t", *more)
        deadline = time.monotonic() + 60
        while not os.path.exists(self.console):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.wait_for_ticks(6)
        self.assertNotIn("GUEST-UP", self.text())   # it did not boot
        return self.ticks()[0]

    def chunks(self):
        return glob.glob(os.path.join(self.daemon.state_dir, "checkpoints/store/chunks/*/*"))

    def test_a_guest_goes_on_where_it_was(self):
        self.wait_for_ticks(5)
        begin = self.ticks()[-1]
        first = self.daemon.post("/api/v1/vms/t/checkpoints", None)
        # Of the guest's next rounds after a restore, which may be the first: it ran on while the checkpoint was made.
        first_ticks = range(begin + 1, self.ticks()[-1] + 3)
        begin = self.wait_for_ticks(4)
        self.assertIn("checkpoint 2 of VM t", self.daemon.cli("vm", "checkpoint", "create", "t").stdout)
        second_ticks = range(begin + 1, self.ticks()[-1] + 3)
        self.wait_for_ticks(4)
        both = self.daemon.get("/api/v1/vms/t/checkpoints")["items"]
        self.assertEqual([each["number"] for each in both], [1, 2])
        self.assertGreater(first["memory_bytes"], 128 << 20)
        # Only what changed is stored again.
        self.assertLess(both[1]["stored_bytes"], first["stored_bytes"] / 2)

        self.assertIn(self.restore(), second_ticks)
        self.assertIn(self.restore("--checkpoint", "1"), first_ticks)
        self.daemon.cli("vm", "checkpoint", "rm", "t", "2")
        self.assertIn(self.restore(), first_ticks)
        third = self.daemon.post("/api/v1/vms/t/checkpoints", None)
        self.assertEqual(third["number"], 2)
        self.assertGreater(len(self.chunks()), 0)
        self.daemon.cli("vm", "stop", "t", "--force")
        self.daemon.cli("vm", "rm", "t")
        self.assertEqual(self.chunks(), [])

    def test_they_are_made_by_themselves(self):
        self.daemon.post("/api/v1/vms/t/checkpoints", None)
        said = self.daemon.cli("vm", "checkpoint", "policy", "t", "auto", "--budget", "50%", "--keep", "2").stdout
        self.assertIn("policy     auto", said)
        deadline = time.monotonic() + 240
        while self.daemon.get("/api/v1/vms/t/checkpoint-policy")["made"][-1:] < [4]:
            self.assertLess(time.monotonic(), deadline, self.daemon.log()[-3000:])
            time.sleep(0.5)
        policy = self.daemon.get("/api/v1/vms/t/checkpoint-policy")
        self.assertEqual(policy["made"], [3, 4])
        self.assertIn("the last one stored", policy["why"])
        # What was asked for stays; of the others the newest two.
        self.daemon.cli("vm", "checkpoint", "policy", "t", "off")
        self.assertEqual([each["number"] for each in self.daemon.get("/api/v1/vms/t/checkpoints")["items"]], [1, 3, 4])
        self.assertIn("an automatic checkpoint is due", self.daemon.log())
        # The policy is part of the VM.
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(self.daemon.get("/api/v1/vms/t/checkpoint-policy")["made"], [3, 4])
        self.restore()

    def test_a_daemon_killed_amid_one_leaves_a_guest_that_runs(self):
        self.wait_for_ticks(3)
        for delay in (0.02, 0.3, 1.0):
            asking = threading.Thread(target=self.daemon.cli, args=("vm", "checkpoint", "create", "t"), kwargs={"check": False})
            asking.start()
            time.sleep(delay)
            self.daemon.kill()
            asking.join()
            self.daemon.start()
            self.wait_for_ticks(3)
        number = self.daemon.post("/api/v1/vms/t/checkpoints", None)["number"]
        self.wait_for_ticks(2)
        self.restore("--checkpoint", str(number))

    def test_what_cannot_be_done_is_said(self):
        missing = self.daemon.cli("vm", "restore", "t", check=False)
        self.assertEqual((missing.returncode, "runs" in missing.stderr), (5, True), missing.stderr)
        self.daemon.cli("vm", "stop", "t", "--force")
        missing = self.daemon.cli("vm", "restore", "t", check=False)
        self.assertEqual((missing.returncode, "no checkpoint" in missing.stderr), (4, True), missing.stderr)
        stopped = self.daemon.cli("vm", "checkpoint", "create", "t", check=False)
        self.assertIn("does not run", stopped.stderr)
        self.assertEqual(self.daemon.cli("vm", "checkpoint", "rm", "t", "7", check=False).returncode, 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
