"""QEMU's own migration streams through the reader and the writer: a saved guest whose pages were sent again in another
order and framing is loaded by another QEMU, and its memory compared page by page; so is that of a control that was loaded
as it was saved. What `forerun migration show` says of the stream is what is in the memory.

usage: stream_test.py FORERUN REORDER_PAGES"""
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

FORERUN, REORDER = sys.argv[1:3]
PAGE = 4096
# Not a multiple of 256 KiB, since QEMU 7.2 under TCG loses writes in pre-copy otherwise; of 8 KiB, to which it rounds.
MEMORY_KIB = 65736
FILLED_AT, FILLED_BYTES = 0x200000, 24 << 20


class Qemu:
    def __init__(self, folder, name, *more):
        path = os.path.join(folder, name + ".qmp")
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-m", f"{MEMORY_KIB}K", "-nodefaults", "-no-user-config", "-display", "none",
             "-S", "-qmp", f"unix:{path},server=on,wait=off", *more])
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(600):
            try:
                self.socket.connect(path)
                break
            except OSError:
                time.sleep(0.05)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                raise AssertionError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def wait_migrated(self):
        while True:
            status = self.ask("query-migrate").get("status")
            if status == "completed":
                return
            if status in ("failed", "cancelled"):
                raise AssertionError(f"the migration {status}")
            time.sleep(0.05)

    def memory(self, path):
        self.ask("pmemsave", val=0, size=MEMORY_KIB * 1024, filename=path)
        with open(path, "rb") as saved:
            return saved.read()

    def close(self):
        self.file.close()
        self.socket.close()
        self.process.terminate()
        self.process.wait()


class StreamTest(unittest.TestCase):
    def setUp(self):
        if not shutil.which("qemu-system-x86_64"):
            print("skipped: qemu-system-x86_64 is not installed", file=sys.stderr)
            sys.exit(77)
        self.folder = tempfile.mkdtemp(prefix="forerun-migrate-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.saved = os.path.join(self.folder, "saved")
        filling = os.path.join(self.folder, "filling")
        generator = random.Random(7)
        with open(filling, "wb") as out:  # every third page is zeroes
            for page in range(FILLED_BYTES // PAGE):
                out.write(bytes(PAGE) if page % 3 == 2 else generator.randbytes(PAGE))
        source = self.qemu("source", "-device", f"loader,file={filling},addr={FILLED_AT},force-raw=on")
        source.ask("migrate", uri=f"exec:cat > {self.saved}")
        source.wait_migrated()
        self.memory = source.memory(os.path.join(self.folder, "source.memory"))

    def qemu(self, name, *more):
        made = Qemu(self.folder, name, *more)
        self.addCleanup(made.close)
        return made

    def load(self, name, stream):
        target = self.qemu(name, "-incoming", f"exec:cat {stream}")
        target.wait_migrated()
        return target.memory(os.path.join(self.folder, name + ".memory"))

    def test_pages_in_another_order_are_the_same_guest(self):
        pages = [self.memory[at:at + PAGE] for at in range(0, len(self.memory), PAGE)]
        filled = sum(any(page) for page in pages)
        self.assertGreater(filled, FILLED_BYTES // PAGE // 2)
        said = json.loads(subprocess.run([FORERUN, "migration", "show", self.saved, "-o", "json"], check=True,
                                         capture_output=True, text=True).stdout)
        ram = said["blocks"][0]
        self.assertEqual((said["mode"], ram["name"], ram["used_bytes"]), ("pre-copy", "pc.ram", MEMORY_KIB * 1024))
        self.assertEqual(ram["pages"] + ram["zero_pages"] - ram["again"], MEMORY_KIB * 1024 // PAGE)
        self.assertEqual(said["bytes"], os.path.getsize(self.saved))
        # What the BIOS area shows stands for other blocks.
        self.assertAlmostEqual(ram["pages"], filled, delta=64)

        reordered = os.path.join(self.folder, "reordered")
        with open(self.saved, "rb") as source, open(reordered, "wb") as out:
            subprocess.run([REORDER], stdin=source, stdout=out, check=True)
        self.assertEqual(self.load("control", self.saved), self.memory)
        loaded = self.load("target", reordered)
        differing = [at for at in range(0, len(loaded), PAGE) if loaded[at:at + PAGE] != self.memory[at:at + PAGE]]
        self.assertEqual(differing, [])

    def test_a_damaged_stream_is_refused_with_where(self):
        with open(self.saved, "rb") as source:
            stream = bytearray(source.read())
        cut = os.path.join(self.folder, "cut")
        with open(cut, "wb") as out:
            out.write(stream[:len(stream) // 2])
        refused = subprocess.run([FORERUN, "migration", "show", cut], capture_output=True, text=True)
        self.assertNotEqual(refused.returncode, 0)
        self.assertRegex(refused.stderr, r"migration stream, byte \d+: it ends before its end")
        stream[4:8] = b"\0\0\0\4"
        with open(cut, "wb") as out:
            out.write(stream)
        refused = subprocess.run([FORERUN, "migration", "show", cut], capture_output=True, text=True)
        self.assertRegex(refused.stderr, "byte 0: the stream has version 4")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
