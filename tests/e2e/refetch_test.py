"""Corrupt, truncated, swapped and missing chunks, in the repository and in the tier; a repository that goes and comes."""
import glob
import os
import shutil
import unittest

import lab


class RefetchTest(unittest.TestCase):
    def setUp(self):
        self.repository = None
        self.daemon = lab.Daemon()
        self.good = os.path.join(self.daemon.folder, "good")
        self.bad = os.path.join(self.daemon.folder, "bad")

    def tearDown(self):
        self.daemon.close()

    def start(self, *repositories, tier="memory_bytes = 8388608\nfile_bytes = 67108864"):
        self.daemon.config = "".join(f'[[repository]]\npath = "{path}"\n' for path in repositories)
        self.daemon.config += f"[tier]\n{tier}\n"
        self.daemon.start()

    def import_disk(self, mib=6):
        self.disk = lab.random_disk(os.path.join(self.daemon.folder, "disk.raw"), mib)
        self.daemon.import_image(self.disk, "disk")

    def chunks(self, repository):
        return sorted(path for path in glob.glob(repository + "/chunks/*/*") if os.path.isfile(path))

    def read_all(self):
        """Returns how many of the disk's 64 KiB pieces read right, and how many fail; a wrong one fails the test."""
        right = failed = 0
        with open(self.disk, "rb") as disk:
            original = disk.read()
        script = ("import nbd, sys\nh = nbd.NBD()\nh.connect_uri(sys.argv[1])\nout = open(sys.argv[2], 'wb')\n"
                  "for at in range(0, h.get_size(), 65536):\n"
                  "    try:\n        out.write(b'+' + h.pread(65536, at))\n"
                  "    except nbd.Error as e:\n        out.write(b'-' + e.errno.encode().ljust(65536))\n")
        result = os.path.join(self.daemon.folder, "read.out")
        lab.run("/usr/bin/python3", "-c", script, self.daemon.uri("images/disk"), result)
        with open(result, "rb") as out:
            for at in range(0, len(original), 65536):
                mark = out.read(1)
                piece = out.read(65536)
                if mark == b"-":
                    self.assertTrue(piece.startswith(b"EIO"), piece[:20])
                    failed += 1
                else:
                    self.assertEqual(piece, original[at:at + 65536], f"wrong data at {at}")
                    right += 1
        return right, failed

    def damage(self, repository):
        """Damages four chunks, each in another way; returns their names."""
        paths = self.chunks(repository)
        with open(paths[0], "r+b") as chunk:      # a flipped bit
            chunk.seek(100)
            byte = chunk.read(1)[0]
            chunk.seek(100)
            chunk.write(bytes([byte ^ 4]))
        os.truncate(paths[1], os.path.getsize(paths[1]) // 2)
        shutil.copyfile(paths[3], paths[2])       # another chunk under this name
        os.remove(paths[4])
        return [os.path.basename(paths[i]) for i in (0, 1, 2, 4)]

    def test_bad_chunks_are_never_served(self):
        self.start(self.good)
        self.import_disk()
        names = self.damage(self.good)
        right, failed = self.read_all()
        self.assertEqual(failed, 4)
        self.assertEqual(right, 6 * 16 - 4)
        for name in names:
            self.assertIn(name, self.daemon.log())

    def test_bad_chunks_come_from_the_other_source(self):
        self.start(self.good)
        self.import_disk()
        self.daemon.stop()
        shutil.copytree(self.good, self.bad)
        self.damage(self.bad)
        self.start(self.bad, self.good)
        self.assertEqual(self.read_all(), (6 * 16, 0))

    def test_bad_chunks_in_the_tier_are_fetched_again(self):
        self.start(self.good, tier="memory_bytes = 8388608\nfile_bytes = 67108864")
        self.import_disk()
        self.assertEqual(self.read_all(), (6 * 16, 0))
        self.daemon.stop()
        tier = os.path.join(self.daemon.state_dir, "tier/data")
        with open(tier, "r+b") as data:
            first = data.read(65536)
            data.seek(0)
            second = data.read(131072)[65536:]
            data.seek(0)
            data.write(second + first)            # two slots swapped
            data.seek(2 * 65536 + 5)
            data.write(b"\xff\x00\xff")           # a third one damaged
        self.daemon.start()
        self.assertEqual(self.read_all(), (6 * 16, 0))
        self.assertGreaterEqual(self.daemon.get("/api/v1/host")["tier"]["corrupt"], 3)

    def test_tier_is_warm_after_a_restart_without_any_repository(self):
        self.start(self.good)
        self.import_disk()
        self.assertEqual(self.read_all(), (6 * 16, 0))
        self.daemon.cli("vm", "run", "kept", "--image", "disk", "--disk-only")
        self.daemon.stop()
        shutil.move(self.good, self.good + ".away")
        self.daemon.start()
        lab.run("qemu-img", "compare", "-f", "raw", "-F", "raw", self.disk, self.daemon.uri("kept"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
