"""A running guest moved between two real QEMUs through sender and receiver, in every way they know, and by QEMU alone as the
control. The target stands still until all is there: then its memory is that of the stopped source, page by page.

The guest is a ROM of 20 bytes that writes 128 pages again and again, for ever; the rest of its memory is filled.

usage: memory_test.py MIGRATE_RELAY FOLDER_OF_BENCH"""
import os
import random
import shutil
import sys
import tempfile
import time
import unittest

RELAY, BENCH = sys.argv[1:3]
sys.path.insert(0, BENCH)
from lib import migration  # noqa: E402

PAGE = 4096
# Not a multiple of 256 KiB, since QEMU 7.2 under TCG loses writes in pre-copy otherwise.
MEMORY_KIB = 65736
FILLED_AT, FILLED_BYTES = 0x200000, 24 << 20
# again: ax = 0x1000; page: ds = ax; ++[0]; ax += 0x100; if ax < 0x9000 goto page; goto again
CODE = bytes.fromhex("fa b80010 8ed8 ff060000 050001 3d0090 72f2 ebed")
HOT = range(0x10, 0x90)


class MemoryTest(unittest.TestCase):
    def setUp(self):
        if not shutil.which("qemu-system-x86_64"):
            print("skipped: qemu-system-x86_64 is not installed", file=sys.stderr)
            sys.exit(77)
        self.folder = tempfile.mkdtemp(prefix="forerun-memory-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.rom, self.filling = (os.path.join(self.folder, name) for name in ("rom", "filling"))
        with open(self.rom, "wb") as out:  # the processor starts 16 bytes before its end
            out.write(CODE.ljust(0xfff0, b"\xf4") + bytes.fromhex("ea000000f0").ljust(16, b"\0"))
        generator = random.Random(7)
        with open(self.filling, "wb") as out:  # every third page is zeroes, every fifth is text
            for page in range(FILLED_BYTES // PAGE):
                out.write(bytes(PAGE) if page % 3 == 2 else b"text" * 1024 if page % 5 == 4 else generator.randbytes(PAGE))

    def qemu(self, name, *more):
        made = migration.Qemu(self.folder, name, "-bios", self.rom, *more, memory_kib=MEMORY_KIB)
        self.addCleanup(made.close)
        return made

    def relay(self, mode, *more):
        made = migration.Relay(os.path.dirname(RELAY), self.folder, [
            "--mode", mode, "--source", self.path("source.sock"), "--target", self.path("target.sock"), "--delay-ms", "1", *more,
            *([] if "--rate-mbit" in more else ["--rate-mbit", "400"])])
        self.addCleanup(made.close)
        made.wait("listening")
        return made

    def path(self, name):
        return os.path.join(self.folder, name)

    def cut(self, source, target, relay):
        """Cuts the connection amid post-copy, sees both sides pause, and lets them go on over another one."""
        relay.wait("switched")
        time.sleep(0.3)
        relay.cut()
        for side in (source, target):
            self.wait(side, lambda status: status == "postcopy-paused")
        target.ask("migrate-recover", uri=f"unix:{self.path('again.sock')}")
        source.ask("migrate", uri=f"unix:{self.path('source.sock')}", resume=True)
        for side in (source, target):
            self.wait(side, lambda status: status != "postcopy-paused")

    def wait(self, side, is_awaited):
        deadline = time.monotonic() + 20
        while not is_awaited(side.ask("query-migrate").get("status")):
            self.assertLess(time.monotonic(), deadline, side.ask("query-migrate"))
            time.sleep(0.02)

    def move(self, mode, at_once=False, is_profiled=False, is_precopy=False, is_cut=False):
        """Returns the target's and the source's memory, and what the relay says."""
        source = self.qemu("source", "-device", f"loader,file={self.filling},addr={FILLED_AT},force-raw=on")
        target = self.qemu("target", "-S", "-incoming", "defer")
        target.capabilities(events=True, postcopy_ram=not is_precopy)
        target.ask("migrate-incoming", uri=f"unix:{self.path('target.sock')}")
        relay = self.relay(mode, *(["--profile", self.path("profile.sock")] if is_profiled else []),
                           *(["--precopy"] if is_precopy else []),
                           *(["--target-again", self.path("again.sock"), "--rate-mbit", "60"] if is_cut else []))
        if is_profiled:
            self.written = migration.profile(source, relay, self.path("profile.sock"))["written"]
        source.capabilities(events=True, postcopy_ram=not is_precopy, return_path=not is_precopy)
        source.ask("migrate-set-parameters", **{"max-bandwidth": 10**10, "downtime-limit": 2000 if is_precopy else 1})
        source.ask("migrate", uri=f"unix:{self.path('source.sock')}")
        if not is_precopy:
            if not at_once and mode != "raw":
                relay.wait("switch_is_due")
            elif not at_once:
                while source.ask("query-migrate").get("ram", {}).get("dirty-sync-count", 0) < 2:
                    time.sleep(0.01)
            source.ask("migrate-start-postcopy")
        if is_cut:
            self.cut(source, target, relay)
        source.wait_migrated()
        target.wait_migrated()
        said = relay.wait("end")
        self.assertEqual(target.ask("query-status")["status"], "paused")
        memories = []
        for side in (source, target):
            path = self.path("memory")
            side.memory(path, MEMORY_KIB)
            with open(path, "rb") as saved:
                memories.append(saved.read())
        return *memories, said

    def check(self, *arguments, **more):
        source, target, said = self.move(*arguments, **more)
        differing = [at // PAGE for at in range(0, len(source), PAGE) if source[at:at + PAGE] != target[at:at + PAGE]]
        self.assertEqual(differing, [])
        # The guest ran: it wrote its pages, and there is the rest.
        self.assertTrue(all(source[page * PAGE:page * PAGE + 2] != b"\0\0" for page in HOT))
        with open(self.filling, "rb") as filling:
            self.assertEqual(target[FILLED_AT:FILLED_AT + FILLED_BYTES], filling.read())
        return said

    def test_control_by_qemu_alone(self):
        self.check("raw")

    def test_differences_after_the_switch(self):
        said = self.check("keep")
        self.assertGreater(said["deltas"], len(HOT) // 2)
        self.assertLess(said["delta_bytes"] / said["deltas"], 100)
        self.assertGreater(said["recent"], FILLED_BYTES // PAGE // 10)
        self.assertLess(said["peer_bytes"], said["qemu_bytes"])

    def test_hot_pages_held_back(self):
        said = self.check("hold", is_profiled=True)
        # QEMU may end a profile before it saw what is written.
        self.assertGreaterEqual(said["held_stale"] > 0, self.written > 0)
        self.assertEqual(said["held"], 0)

    def test_postcopy_at_once_with_requests_in_the_guests_name(self):
        said = self.check("send", at_once=True, is_profiled=True)
        self.assertGreaterEqual(said["injected"], self.written // 2)

    def test_a_connection_that_is_cut_in_postcopy(self):
        self.check("send", at_once=True, is_profiled=True, is_cut=True)

    def test_precopy(self):
        said = self.check("keep", is_precopy=True)
        self.assertEqual(said["injected"], 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
