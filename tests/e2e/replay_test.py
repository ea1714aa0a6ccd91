"""forerun replay block and forerun model, as a user runs them: a trace in, a table or JSON out, wrong files refused."""
import json
import os
import random
import subprocess
import tempfile
import unittest

import lab


def trace(seed, requests=3000):
    """A disk with a sequential reader beside random reads and writes."""
    choose, lines, stream = random.Random(seed), [], 1 << 20
    for number in range(requests):
        kind = choose.randrange(4)
        if kind < 2:
            lines.append(f"{number * 500},R,{stream},64")
            stream += 64
        else:
            lines.append(f"{number * 500},{'R' if kind == 2 else 'W'},{choose.randrange(1 << 20)},8")
    return "\n".join(lines) + "\n"


class ReplayTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.folder.cleanup()

    def file(self, text, name="disk.csv"):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def replay(self, *arguments):
        return subprocess.run([os.path.join(lab.BIN_DIR, "forerun"), "replay", "block", *arguments], capture_output=True, text=True,
                              check=False)

    def test_methods_are_compared_in_one_run(self):
        done = self.replay(self.file(trace(1)), "--cache", "5%,20%", "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual(list(result["traces"]["disk.csv"]), ["5%", "20%"])
        methods = result["traces"]["disk.csv"]["5%"]["methods"]
        self.assertEqual(methods["none"]["coverage"], 0)
        self.assertLess(methods["readahead"]["mean_us"], methods["none"]["mean_us"])
        self.assertLess(methods["oracle"]["mean_us"], methods["readahead"]["mean_us"])
        for name, row in methods.items():
            self.assertEqual(row["reads"], methods["none"]["reads"], name)
            self.assertGreaterEqual(row["p99_us"], row["p50_us"], name)

    def test_compressed_traces_and_the_other_world(self):
        path = self.file(trace(2))
        lab.run("zstd", "-q", path)
        picture = os.path.join(self.folder.name, "waits.svg")
        done = self.replay(path + ".zst", "--methods", "readahead", "--cache", "5%", "--plot", picture, "--latency", "5ms",
                           "--bandwidth", "50000000", "--clock", "recorded", "--warm-up", "10%")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^none +\d+ ")
        self.assertRegex(done.stdout, r"(?m)^readahead +\d+ ")
        with open(picture, encoding="utf-8") as file:
            self.assertEqual(file.read().count("<polyline"), 3)

    def test_what_cannot_be_replayed_is_refused_with_the_place(self):
        for text, said in (("1,R,2,3\n1,R,rubbish,3\n", "line 2: expected ts_us,R|W,start_sector,n_sectors"),
                           ("", "it holds no request")):
            done = self.replay(self.file(text))
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr)
        path = self.file(trace(3, 10))
        for arguments, said in ((["--methods", "tarot"], "no method is named 'tarot'"),
                                (["--cache", "5"], "no share from 0% to 100%"),
                                (["--block", "100"], "a multiple of 512"), (["--bandwidth", "0"], "bandwidth is 0")):
            done = self.replay(path, *arguments)
            self.assertNotEqual(done.returncode, 0, arguments)
            self.assertIn(said, done.stderr)


class ModelTest(unittest.TestCase):
    def test_the_network_that_comes_with_forerun_is_what_pretrain_makes(self):
        with tempfile.TemporaryDirectory() as folder:
            made = os.path.join(folder, "rnn.bin")
            done = subprocess.run([os.path.join(lab.BIN_DIR, "forerun"), "model", "pretrain", made, "-o", "json"],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            result = json.loads(done.stdout)
            self.assertLess(result["nats_per_request"], 0.5 * result["untrained_nats_per_request"])
            kept = os.path.join(os.path.dirname(__file__), "../../src/predict/rnn_pretrained.bin")
            with open(made, "rb") as one, open(kept, "rb") as other:
                self.assertEqual(one.read(), other.read())


if __name__ == "__main__":
    unittest.main(verbosity=2)
