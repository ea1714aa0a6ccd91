"""A second version stored as differences to the first: the same disk from a folder and over http, for fewer bytes."""
import functools
import glob
import http.server
import io
import json
import os
import random
import tarfile
import threading
import time
import unittest

import lab

TIER = "[tier]\nmemory_bytes = 67108864\nfile_bytes = 134217728\n"
OLD = 3 * 86400


def rebuilt(program):
    """Returns what a compiler would have made of it: addresses changed all over, what follows moved."""
    changed = bytearray(program)
    for at in range(100, len(changed), 48):
        changed[at] = (changed[at] + 24) % 256
    return bytes(changed[:5000]) + b"a new function" * 8 + bytes(changed[5000:])


class Server:
    """Serves a folder over http and counts what it sends."""

    def __init__(self, folder):
        outer = self
        self.sent = 0

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def copyfile(self, source, outputfile):
                data = source.read()
                outer.sent += len(data)
                outputfile.write(data)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


class DeltasTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = lab.Daemon(TIER)
        cls.repository = os.path.join(cls.daemon.folder, "repository")
        cls.daemon.config = f'[[repository]]\npath = "{cls.repository}"\n' + TIER
        cls.daemon.start()
        generator = random.Random(1)
        cls.first = bytes(generator.randrange(1, 256) for _ in range(900_000))
        cls.second = rebuilt(cls.first)
        cls.component("base", {"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "etc/group": b"root:x:0:\n"})
        cls.component("one", {"usr/bin/program": cls.first, "usr/share/same": b"same" * 40_000})
        second = {"usr/bin/program": cls.second, "usr/share/same": b"same" * 40_000}
        cls.component("two", second, "--delta-from", "one")
        for name in ("one", "two"):
            cls.compose(name)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    @classmethod
    def component(cls, name, files, *more):
        path = os.path.join(cls.daemon.folder, name + ".tar")
        with tarfile.open(path, "w") as tar:
            for file, data in files.items():
                entry = tarfile.TarInfo(file)
                entry.size, entry.mtime = len(data), 1_700_000_000
                tar.addfile(entry, io.BytesIO(data))
        return cls.daemon.cli("component", "import", "tar", path, "--name", name, *more).stdout

    @classmethod
    def compose(cls, name, image=None):
        path = os.path.join(cls.daemon.folder, name + ".toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'version = 1\nbase = "base"\ncomponents = ["{name}"]\nwritable_bytes = 16777216\n')
        cls.daemon.cli("image", "compose", path, "--name", image or name)

    def program(self, daemon, image):
        """Reads a whole disk and returns the program on it."""
        disk = os.path.join(self.daemon.folder, "copy.raw")
        lab.run("nbdcopy", daemon.uri("images/" + image), disk)
        lab.run("e2fsck", "-fn", disk)
        out = os.path.join(self.daemon.folder, "program")
        lab.run("debugfs", "-R", f"dump /usr/bin/program {out}", disk)
        with open(out, "rb") as file:
            return file.read()

    def stored(self, folder, form):
        paths = glob.glob(os.path.join(folder, form, "*", "*"))
        return sum(os.path.getsize(path) for path in paths), len(paths)

    def shown(self, name):
        return json.loads(self.daemon.cli("component", "show", name, "-o", "json").stdout)

    def test_second_version_reads_as_it_was_and_takes_a_tenth(self):
        self.assertEqual(self.program(self.daemon, "one"), self.first)
        self.assertEqual(self.program(self.daemon, "two"), self.second)
        shown = self.shown("two")
        self.assertGreaterEqual(shown["delta_chunk_count"], 13)
        self.assertGreaterEqual(shown["basis_count"], 13)
        self.assertLess(self.stored(self.repository, "deltas")[0], len(self.second) / 10)
        self.assertEqual(self.shown("one")["delta_chunk_count"], 0)

    def test_refused_where_there_is_nothing_to_tell_from(self):
        path = os.path.join(self.daemon.folder, "one.tar")
        done = self.daemon.cli("component", "import", "tar", path, "--name", "x", "--delta-from", "none", check=False)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("component none", done.stderr)

    def test_http_reader_with_the_first_version_fetches_the_differences(self):
        folder = os.path.join(self.daemon.folder, "exported")
        self.daemon.cli("repository", "export", folder, "one", "two")
        server = Server(folder)
        config = f'[[repository]]\nurl = "{server.url}"\nallow_unsigned = true\n' + TIER
        try:
            sent = {}
            for order in (("one", "two"), ("two",)):
                with lab.Daemon(config) as reader:
                    for image in order:
                        server.sent = 0
                        self.assertEqual(self.program(reader, image), self.second if image == "two" else self.first)
                        sent[order, image] = server.sent
            # An update: a tenth. From nothing: more than the bytes of the program, but not twice as many and a half.
            self.assertLess(sent[("one", "two"), "two"], len(self.second) / 5)
            self.assertLess(len(self.second), sent[("two",), "two"])
            self.assertLess(sent[("two",), "two"], 2.5 * len(self.second))
        finally:
            server.close()

    def test_export_of_the_second_alone_carries_what_tells_it(self):
        folder = os.path.join(self.daemon.folder, "alone")
        self.daemon.cli("repository", "export", folder, "two")
        self.assertGreater(self.stored(folder, "deltas")[1], 12)
        with lab.Daemon(f'[[repository]]\npath = "{folder}"\n' + TIER) as reader:
            self.assertEqual(self.program(reader, "two"), self.second)
            done = reader.cli("repository", "verify", "--deep", "-o", "json")
            self.assertEqual(json.loads(done.stdout)["result"]["problem_count"], 0)

    def test_bases_outlive_the_first_version_and_are_missed_when_gone(self):
        folder = os.path.join(self.daemon.folder, "kept")
        self.daemon.cli("repository", "export", folder, "one", "two")
        with lab.Daemon(f'[[repository]]\npath = "{folder}"\n' + TIER) as other:
            other.cli("image", "rm", "one")
            other.cli("component", "rm", "one")
            then = time.time() - OLD
            for path in glob.glob(os.path.join(folder, "**"), recursive=True):
                if os.path.isfile(path):
                    copy = path + ".copy"  # the exported files are links
                    with open(path, "rb") as source, open(copy, "wb") as out:
                        out.write(source.read())
                    os.replace(copy, path)
                    os.utime(path, (then, then))
            other.cli("repository", "gc")
            self.assertEqual(self.program(other, "two"), self.second)
            self.assertEqual(other.cli("repository", "verify", "--deep", check=False).returncode, 0)

            delta = glob.glob(os.path.join(folder, "deltas", "*", "*"))[0]
            with open(delta, "rb") as file:
                basis = file.read(34)[2:].hex()
            os.remove(os.path.join(folder, "chunks", basis[:2], basis))
            done = other.cli("repository", "verify", "--deep", "-o", "json", check=False)
            self.assertEqual(done.returncode, 1)
            problems = json.loads(done.stdout)["result"]["problems"]
            missing = [one for one in problems if one["path"].endswith(basis)]
            self.assertEqual(len(missing), 1)
            self.assertIn("component-tags/two.json", missing[0]["needed_by"])
            self.assertTrue(any(one["path"].startswith("deltas/") and basis in json.dumps(one) for one in problems))

    def test_same_content_imported_without_asking_is_whole(self):
        self.component("whole", {"usr/bin/program": self.second})
        self.assertEqual(self.shown("whole")["delta_chunk_count"], 0)
        self.compose("whole")
        self.assertEqual(self.program(self.daemon, "whole"), self.second)


if __name__ == "__main__":
    unittest.main()
