"""Import, exports, durability over a kill, and what a user is told."""
import hashlib
import json
import os
import unittest

import lab


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()


class DaemonTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = lab.Daemon("[tier]\nmemory_bytes = 33554432\nfile_bytes = 134217728\n")
        cls.daemon.start()
        cls.disk = lab.random_disk(os.path.join(cls.daemon.folder, "disk.raw"), 24)
        cls.daemon.import_image(cls.disk, "disk")

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def test_image_reads_back_as_it_was_imported(self):
        copy = os.path.join(self.daemon.folder, "copy.raw")
        lab.run("nbdcopy", self.daemon.uri("images/disk"), copy)
        self.assertEqual(sha256(copy), sha256(self.disk))

    def test_qcow2_gives_the_same_image(self):
        qcow2 = os.path.join(self.daemon.folder, "disk.qcow2")
        lab.run("qemu-img", "convert", "-c", "-O", "qcow2", self.disk, qcow2)
        self.daemon.import_image(qcow2, "from-qcow2")
        shown = json.loads(self.daemon.cli("image", "show", "from-qcow2", "-o", "json").stdout)
        original = json.loads(self.daemon.cli("image", "show", "disk", "-o", "json").stdout)
        self.assertEqual(shown["digest"], original["digest"])

    def test_importing_again_stores_nothing(self):
        before = lab.run("du", "-sb", os.path.join(self.daemon.state_dir, "repository/chunks")).stdout
        self.daemon.import_image(self.disk, "again")
        after = lab.run("du", "-sb", os.path.join(self.daemon.state_dir, "repository/chunks")).stdout
        self.assertEqual(before, after)

    def test_holes_are_told_to_clients(self):
        extents = json.loads(lab.run("nbdinfo", "--json", "--map", self.daemon.uri("images/disk")).stdout)
        zero = sum(e["length"] for e in extents if e["type"] == 3)
        self.assertEqual(zero, 8 << 20)

    def test_image_export_refuses_writes(self):
        done = lab.run("qemu-io", "-f", "raw", self.daemon.uri("images/disk"), "-c", "write 0 4k", check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_flushed_writes_survive_a_kill(self):
        self.daemon.cli("vm", "run", "writer", "--image", "disk", "--disk-only")
        uri = self.daemon.uri("writer")
        lab.run("qemu-io", "-f", "raw", uri, "-c", "write -P 0xa5 1M 64k", "-c", "write -P 0x5a 12345 777", "-c", "flush")
        self.daemon.kill()
        self.daemon.start()
        lab.run("qemu-io", "-f", "raw", uri, "-c", "read -P 0xa5 1M 64k", "-c", "read -P 0x5a 12345 777")
        # … and the rest of the touched block is still the image's.
        with open(self.disk, "rb") as disk:
            disk.seek(12345 + 777)
            expected = disk.read(1)[0]
        lab.run("qemu-io", "-f", "raw", uri, "-c", f"read -P {expected} {12345 + 777} 1")
        self.daemon.cli("vm", "stop", "writer", "--force")
        self.daemon.cli("vm", "rm", "writer")
        self.assertNotIn("writer", self.daemon.cli("vm", "list").stdout)

    def test_orderly_stop_keeps_writes_too(self):
        self.daemon.cli("vm", "run", "stopper", "--image", "disk", "--disk-only")
        lab.run("qemu-io", "-f", "raw", self.daemon.uri("stopper"), "-c", "write -P 0x11 0 4k")
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.start()
        lab.run("qemu-io", "-f", "raw", self.daemon.uri("stopper"), "-c", "read -P 0x11 0 4k")
        self.daemon.cli("vm", "stop", "stopper", "--force")

    def test_second_daemon_on_one_state_folder_is_refused(self):
        other = lab.run(os.path.join(lab.BIN_DIR, "forerund"), "--state-dir", self.daemon.state_dir, "--run-dir",
                        self.daemon.folder + "/other", check=False, timeout=30)
        self.assertEqual(other.returncode, 1)
        self.assertIn("another forerund", other.stderr)

    def test_errors_say_what_and_where(self):
        for arguments, expected in [
                (("vm", "run", "x", "--image", "absent", "--disk-only"), "absent"),
                (("vm", "run", "../x", "--image", "disk", "--disk-only"), "no valid name"),
                (("vm", "stop", "nobody"), "nobody"),
                (("image", "show", "absent"), "absent"),
                (("image", "import", "/no/such/file", "--name", "n"), "/no/such/file"),
        ]:
            done = self.daemon.cli(*arguments, check=False)
            self.assertNotEqual(done.returncode, 0, arguments)
            self.assertIn(expected, done.stderr, arguments)

    def test_metrics_are_in_the_text_format(self):
        text = self.daemon.get("/metrics")
        self.assertIn("# TYPE forerun_build_info gauge", text)
        for line in text.splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [-+0-9.einfa]+)$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
