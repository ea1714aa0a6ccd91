"""A guest boots, then works: who foresees it, and that what is said about it adds up."""
import json
import os
import random
import unittest

import lab

CHUNK = 65536


class PrefetchTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = lab.Daemon("[tier]\nmemory_bytes = 8388608\nmemory_bytes_min = 8388608\nfile_bytes = 0\n")
        cls.daemon.start()
        cls.disk = lab.random_disk(os.path.join(cls.daemon.folder, "disk.raw"), 96)
        cls.daemon.import_image(cls.disk, "disk")

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def read(self, vm, chunks):
        """Reads these chunks one after the other, 2 ms apart."""
        commands = [word for chunk in chunks for word in ("-c", f"read {chunk * CHUNK} 64k", "-c", "sleep 2")]
        lab.run("qemu-io", "-r", "-f", "raw", self.daemon.uri(vm), *commands)

    def explained(self, vm):
        return json.loads(self.daemon.cli("explain", "prefetch", vm, "-o", "json").stdout)

    def check_sums(self, stats):
        models = stats["models"]
        for model in models:
            outcomes = sum(model[f"{what}_chunks"] for what in ("used", "late", "wasted", "cancelled", "undecided"))
            self.assertEqual(model["issued_chunks"], outcomes, model)
            self.assertLessEqual(model["used_bytes"] + model["late_bytes"] + model["wasted_bytes"], model["issued_bytes"])
            self.assertLessEqual(model["came_true_blocks"], model["said_blocks"])
            self.assertEqual(sum(one["count"] for one in model["bins"]), model["said_blocks"], model)
            for one in model["bins"]:
                self.assertTrue(0 <= one["said_ratio"] <= 1 and 0 <= one["happened_ratio"] <= 1, one)
        for total, what in (("hit", "used"), ("late", "late"), ("wasted", "wasted"), ("undecided", "undecided")):
            self.assertEqual(stats[f"{total}_chunks"], sum(model[f"{what}_chunks"] for model in models), what)
        self.assertEqual(stats["issued_chunks"], sum(m["issued_chunks"] - m["cancelled_chunks"] for m in models))
        self.assertEqual(stats["wasted_bytes"], sum(m["wasted_bytes"] for m in models))
        self.assertGreaterEqual(stats["prefetch_earned_bytes"], stats["prefetch_budget_bytes"])

    def test_a_vm_boots_first_and_is_at_work_when_found_running(self):
        self.daemon.cli("vm", "run", "guest", "--image", "disk", "--disk-only")
        self.read("guest", range(8))
        stats = self.explained("guest")
        self.assertEqual(stats["phase"], "boot")
        self.assertEqual({model["phase"] for model in stats["models"]}, {"boot"})
        self.assertIn("replay", [model["name"] for model in stats["models"]])
        self.check_sums(stats)
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.start()
        stats = self.explained("guest")
        self.assertEqual(stats["phase"], "work")
        self.assertEqual([model["name"] for model in stats["models"]],
                         ["markov", "association", "rnn", "sequential", "stride", "successor", "proposed"])

        # A stream, and between its steps a walk over scattered places, again and again: more than the tier holds.
        places = random.Random(3).sample(range(1024, 1536), 160)
        walk = [(256 + i, place) for i, place in enumerate(places)]
        for _ in range(4):
            self.read("guest", [chunk for step in walk for chunk in step])
        stats = self.explained("guest")
        self.check_sums(stats)
        models = {model["name"]: model for model in stats["models"]}
        for name in ("sequential", "markov"):
            self.assertGreater(models[name]["said_blocks"], 20, name)
        self.assertGreater(stats["hit_chunks"] + stats["late_chunks"], 100)
        self.assertGreater(stats["phase_seconds"], 0)
        text = self.daemon.cli("explain", "prefetch", "guest").stdout
        self.assertIn("phase      at work for ", text)
        for word in ("markov", "association", "rnn", "HAPPENED", "earned"):
            self.assertIn(word, text)

        # Ended, everything is decided.
        self.daemon.cli("vm", "stop", "guest", "--force")

    def test_a_daemon_that_is_told_to_foresees_no_vm(self):
        daemon = lab.Daemon("[prefetch]\nmode = \"off\"\n").start()
        self.addCleanup(daemon.close)
        daemon.import_image(self.disk, "disk")
        daemon.cli("vm", "run", "guest", "--image", "disk", "--disk-only")
        lab.run("qemu-io", "-r", "-f", "raw", daemon.uri("guest"), "-c", "read 0 1M")
        stats = json.loads(daemon.cli("explain", "prefetch", "guest", "-o", "json").stdout)
        self.assertGreater(stats["reads"], 0)
        self.assertEqual((stats["models"], stats["issued_chunks"]), ([], 0))


if __name__ == "__main__":
    unittest.main(verbosity=2)
