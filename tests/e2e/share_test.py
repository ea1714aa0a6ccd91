"""A VM's share of the link to the repositories: kept with the VM, held while it runs."""
import time
import unittest

import lab

MIB = 8


class ShareTest(unittest.TestCase):
    def setUp(self):
        self.daemon = lab.daemon_with_disk(self, MIB)
        self.daemon.cli("vm", "run", "held", "--image", "disk", "--disk-only", "--no-prefetch")

    def share(self):
        return self.daemon.get("/api/v1/vms/held")["share"]

    def test_a_limit_holds_and_outlives_the_daemon(self):
        self.daemon.cli("vm", "share", "held", "--limit", "512K", "--weight", "250")
        self.daemon.stop()
        self.daemon.start()
        self.assertEqual(self.share(), {"weight": 250, "reserved_bytes_per_s": 0, "limit_bytes_per_s": 512 << 10})
        began = time.monotonic()
        lab.run("qemu-io", "-r", "-f", "raw", self.daemon.uri("held"), "-c", "read 0 2M")
        # A tenth of a second may be made up for, and the last chunk is sent before it is paid.
        self.assertGreater(time.monotonic() - began, 3.5, "2 MiB at 512 KiB/s")
        self.assertIn("at most 512 KiB/s", self.daemon.cli("vm", "show", "held").stdout)

    def test_what_is_no_share_is_refused_and_changes_nothing(self):
        before = self.share()
        for options, why in ((["--weight", "0"], "weight 0 is not within 1 to 10000"),
                             (["--reserve", "2M", "--limit", "1M"], "is above the limit")):
            done = self.daemon.cli("vm", "share", "held", *options, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(why, done.stderr)
        done = self.daemon.cli("vm", "share", "absent", "--weight", "5", check=False)
        self.assertIn("no VM absent", done.stderr)
        self.assertEqual(self.share(), before)


if __name__ == "__main__":
    unittest.main()
