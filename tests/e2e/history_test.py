"""What a daemon learned of a VM: kept over restarts and kill -9, started afresh where its file is damaged, and taken to
another daemon, which then foresees the VM as the first one did. A damaged or foreign file is refused whole."""
import glob
import os
import random
import time
import unittest

import lab

CLIENT = """
import nbd, sys
h = nbd.NBD()
h.connect_uri(sys.argv[1])
for block in sys.argv[2].split(","):
    h.pread(65536, int(block) * 65536)
h.shutdown()
"""


class HistoryTest(unittest.TestCase):
    def setUp(self):
        self.here = lab.Daemon().start()
        self.there = lab.Daemon().start()
        self.disk = lab.random_disk(os.path.join(self.here.folder, "disk.raw"), 24)
        for daemon in (self.here, self.there):
            daemon.import_image(self.disk, "disk")
        # What a guest reads as it starts: chunks here and there, without those of the hole in the middle.
        places = list(range(0, 120)) + list(range(264, 384))
        self.boot = random.Random(1).sample(places, 40)
        self.file = os.path.join(self.here.folder, "web.history")

    def tearDown(self):
        self.here.close()
        self.there.close()

    def run_vm(self, daemon, name="web", image="disk"):
        daemon.cli("vm", "run", name, "--image", image, "--disk-only")

    def read(self, daemon, blocks, name="web"):
        lab.run("/usr/bin/python3", "-c", CLIENT, daemon.uri(name), ",".join(str(block) for block in blocks))

    def stats(self, daemon, name="web"):
        return daemon.get(f"/api/v1/vms/{name}/stats")

    def wait_for(self, what, done, seconds=30):
        deadline = time.monotonic() + seconds
        while not done():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)

    def learn(self):
        """A boot of the VM, and a while of work: the daemon finds it running."""
        self.run_vm(self.here)
        self.read(self.here, self.boot)
        self.here.cli("vm", "stop", "web")
        self.run_vm(self.here)
        self.here.stop()
        self.here.start()
        self.read(self.here, self.boot * 3)
        self.wait_for("the reads are not looked at", lambda: "rnn" in self.known_models())

    def known_models(self):
        """What an export has now."""
        path = self.file + ".now"
        models = self.here.post("/api/v1/vms/web/history/export", {"path": path})["models"]
        os.remove(path)
        return models

    def kept(self, daemon):
        return os.path.join(daemon.state_dir, "history/vms/web")

    def export(self):
        self.learn()
        return self.here.cli("vm", "history", "export", "web", "-o", self.file).stdout

    def test_what_one_host_learned_the_other_foresees(self):
        said = self.export()
        self.assertIn("rnn", said)
        self.assertRegex(said, r"histories +of 1 components")
        self.run_vm(self.there, "before")
        self.assertEqual(self.stats(self.there, "before")["issued_chunks"], 0)
        self.there.cli("vm", "stop", "before")

        said = self.there.cli("vm", "history", "import", "web", self.file).stdout
        self.assertRegex(said, r"models taken +.*rnn")
        self.assertRegex(said, r"histories +1 merged, 0 ignored")
        self.run_vm(self.there)
        self.wait_for("the boot is not foreseen", lambda: self.stats(self.there)["issued_chunks"] >= 36)
        self.wait_for("nothing comes", lambda: self.stats(self.there)["prefetch_fetched_bytes"] >= 30 * 65536)
        self.read(self.there, self.boot)
        self.wait_for("what was foreseen is not used", lambda: self.stats(self.there)["hit_chunks"] >= 30)
        self.there.stop()
        self.there.start()  # it finds the VM at work
        self.assertRegex(self.there.log(), r"VM web: its models go on from what [1-9]")

        # A second time: what was learned meanwhile stays, and is added to.
        self.there.cli("vm", "stop", "web")
        said = self.there.cli("vm", "history", "import", "web", self.file).stdout
        self.assertRegex(said, r"models kept +.*rnn")
        self.assertRegex(said, r"models taken +none")

    def test_models_go_on_after_a_restart_and_after_a_kill(self):
        self.learn()
        self.here.stop()
        self.assertTrue(os.path.exists(self.kept(self.here)))
        self.here.start()
        self.assertEqual(self.here.log().count("its models go on"), 1)
        self.here.kill()
        self.here.start()
        self.assertEqual(self.here.log().count("its models go on"), 2)
        self.here.cli("vm", "stop", "web")
        self.here.cli("vm", "rm", "web")
        self.assertFalse(os.path.exists(self.kept(self.here)))

    def test_a_damaged_file_is_set_aside_and_learning_starts_afresh(self):
        self.learn()
        self.here.stop()
        with open(self.kept(self.here), "r+b") as file:
            file.seek(1000)
            file.write(b"damage")
        self.here.start()
        self.assertRegex(self.here.log(), r"history .*/vms/web is of no use and set aside; learning starts afresh: .*checksum")
        self.assertTrue(os.path.exists(self.kept(self.here) + ".damaged"))
        self.read(self.here, self.boot * 3)
        self.here.stop()
        self.assertTrue(os.path.exists(self.kept(self.here)))

    def refused(self, daemon, path, code, *words):
        done = daemon.cli("vm", "history", "import", "web", path, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        for word in (path, "for VM web", *words):
            self.assertIn(word, done.stderr)

    def test_what_is_wrong_is_refused_whole(self):
        self.export()
        self.refused(self.here, self.file, 5, "it runs")
        again = self.here.cli("vm", "history", "export", "web", "-o", self.file, check=False)
        self.assertEqual(again.returncode, 5)
        self.assertIn("exists already", again.stderr)
        unknown = self.here.cli("vm", "history", "export", "nobody", "-o", self.file + "2", check=False)
        self.assertEqual(unknown.returncode, 4)

        with open(self.file, "rb") as file:
            good = file.read()
        bad = os.path.join(self.here.folder, "bad.history")
        for content, word in ((good[:-1], "checksum"), (good[:20], "only 20 bytes"), (b"", "only 0 bytes"),
                              (good[:len(good) // 2] + b"x" + good[len(good) // 2 + 1:], "checksum"),
                              (b"FRHIST" + good[6:], "mark"), (good[:8] + b"\x09" + good[9:], "version 9")):
            with open(bad, "wb") as file:
                file.write(content)
            self.refused(self.there, bad, 1, word)
        with open(bad, "wb") as file:
            file.truncate(129 << 20)
        self.refused(self.there, bad, 1)
        self.refused(self.there, self.here.folder + "/nothing", 4)
        kept = glob.glob(self.there.state_dir + "/history/**", recursive=True)
        self.assertEqual([path for path in kept if os.path.isfile(path)], [])

        # A VM of that name whose disk is another.
        other = lab.random_disk(os.path.join(self.there.folder, "other.raw"), 3, seed=9)
        self.there.import_image(other, "other")
        self.run_vm(self.there, image="other")
        self.there.cli("vm", "stop", "web")
        self.refused(self.there, self.file, 2, "no component in common")

    def test_nothing_of_another_vm_is_taken_along(self):
        self.export()
        other = lab.random_disk(os.path.join(self.here.folder, "other.raw"), 3, seed=9)
        self.here.import_image(other, "other")
        self.run_vm(self.here, "secret", "other")
        self.read(self.here, [1, 5, 2], "secret")
        self.here.cli("vm", "stop", "secret")
        path = self.file + ".2"
        said = self.here.cli("vm", "history", "export", "web", "-o", path).stdout
        self.assertRegex(said, r"histories +of 1 components")
        digest = self.here.get("/api/v1/images/other")["digest"]
        with open(path, "rb") as file:
            content = file.read()
        self.assertNotIn(bytes.fromhex(digest), content)
        self.assertNotIn(b"secret", content)


if __name__ == "__main__":
    unittest.main()
