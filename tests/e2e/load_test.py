"""Two VMs' disks under load while the tier evicts and VMs, imports, verifications and questions come and go: every block
is what the guest wrote last, or the image's. What it must find shows best in builds with sanitizers. LOAD_ROUNDS: how
long (default 40)."""
import os
import random
import threading
import unittest

import lab

try:
    import nbd
except ImportError:
    print("skipped: missing python3-libnbd")
    raise SystemExit(77) from None

ROUNDS = int(os.environ.get("LOAD_ROUNDS", "40"))
BLOCK = 64 << 10
DISK_MIB = 48
CLIENTS = 3  # a disk
IN_FLIGHT = 12


class Client(threading.Thread):
    """A connection that has every CLIENTS-th block of a disk for itself, and reads of all others without a look."""

    def __init__(self, uri, original, index):
        super().__init__()
        self.uri = uri
        self.original = original
        self.random = random.Random(f"{uri} {index}")
        self.blocks = list(range(index, len(original) // BLOCK, CLIENTS))
        self.written = {}
        self.error = None

    def run(self):
        try:
            self.load()
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def expected(self, block):
        return self.written.get(block, self.original[block * BLOCK:(block + 1) * BLOCK])

    def load(self):
        handle = nbd.NBD()
        handle.connect_uri(self.uri)
        for number in range(ROUNDS):
            self.read_many(handle)
            self.write_some(handle)
            if number % 8 == 7:
                handle.flush()
        for block in self.blocks:
            self.check(block, handle.pread(BLOCK, block * BLOCK))
        handle.shutdown()

    def read_many(self, handle):
        blocks = [self.random.choice(self.blocks) for _ in range(IN_FLIGHT)]
        foreign = [self.random.randrange(len(self.original) // BLOCK) for _ in range(IN_FLIGHT // 3)]
        buffers = [nbd.Buffer(BLOCK) for _ in blocks + foreign]
        cookies = [handle.aio_pread(buffer, block * BLOCK) for block, buffer in zip(blocks + foreign, buffers)]
        for cookie in cookies:
            while not handle.aio_command_completed(cookie):
                handle.poll(-1)
        for block, buffer in zip(blocks, buffers):
            self.check(block, buffer.to_bytearray())

    def write_some(self, handle):
        for block in self.random.sample(self.blocks, 3):
            data = bytearray(self.expected(block))
            at = self.random.randrange(BLOCK)
            piece = self.random.randbytes(self.random.randint(1, BLOCK - at))
            data[at:at + len(piece)] = piece
            if self.random.random() < 0.2:
                handle.zero(BLOCK, block * BLOCK)
                data = bytes(BLOCK)
            else:
                handle.pwrite(piece, block * BLOCK + at)
            self.written[block] = bytes(data)

    def check(self, block, data):
        if bytes(data) != self.expected(block):
            raise AssertionError(f"block {block} of {self.uri} is not what it was")


class LoadTest(unittest.TestCase):
    def setUp(self):
        # Both images together are more than twice what the tier holds.
        self.daemon = lab.Daemon("[tier]\nmemory_bytes = 8388608\nfile_bytes = 16777216\n")
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.originals = {}
        for seed, name in enumerate(("one", "two"), 1):
            path = lab.random_disk(os.path.join(self.daemon.folder, name + ".raw"), DISK_MIB, seed)
            self.daemon.import_image(path, name)
            with open(path, "rb") as disk:
                self.originals[name] = disk.read()

    def ask(self):
        for path in ("/metrics", "/api/v1/host", "/api/v1/vms", "/api/v1/vms/vm-one/stats", "/api/v1/launches",
                     "/api/v1/checks", "/api/v1/images", "/api/v1/images/one", "/api/v1/operations"):
            self.daemon.get(path)

    def come_and_go(self, number):
        """A VM of an image that others read too ends in the middle of its reads."""
        name = f"guest-{number}"
        image = ("one", "two")[number % 2]
        self.daemon.post("/api/v1/vms", {"name": name, "image": image, "disk_only": True})
        handle = nbd.NBD()
        handle.connect_uri(self.daemon.uri(name))
        for at in range(0, 16 * BLOCK, BLOCK):
            handle.aio_pread(nbd.Buffer(BLOCK), at)
        self.daemon.post(f"/api/v1/vms/{name}/stop", {"force": True})
        self.daemon.delete(f"/api/v1/vms/{name}")

    def operate(self, number):
        source = os.path.join(self.daemon.folder, ("one", "two")[number % 2] + ".raw")
        for path, body in (("/api/v1/images", {"source_path": source, "name": f"copy-{number % 3}", "format": "raw"}),
                           ("/api/v1/repository/verify", {"deep": True})):
            try:
                self.daemon.post(path, body)
            except lab.Failed as failed:
                self.assertEqual(failed.problem["code"], "exists")  # the last one still runs

    def test_every_block_is_what_was_written_last(self):
        clients = []
        for image, original in self.originals.items():
            self.daemon.post("/api/v1/vms", {"name": "vm-" + image, "image": image, "disk_only": True})
            clients += [Client(self.daemon.uri("vm-" + image), original, index) for index in range(CLIENTS)]
        for client in clients:
            client.start()
        number = 0
        while any(client.is_alive() for client in clients):
            self.ask()
            self.come_and_go(number)
            if number % 4 == 0:
                self.operate(number)
            number += 1
        for client in clients:
            client.join()
            self.assertIsNone(client.error)
        self.assertGreater(number, 0)
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
