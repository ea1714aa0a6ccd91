#!/usr/bin/env python3
"""The same clients against forerund itself: disks over an imported image, with overlay, tier and repository beneath."""
import json
import os
import sys
import unittest

import clients_test
import support
from support import CMD_CACHE, CMD_FLUSH, CMD_READ, MIB, REP_ACK, Client, run

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import lab  # noqa: E402


class DaemonAsServer:
    """What ServerTestCase needs of a server, by forerund: two empty disks, one with data, one image."""

    def __init__(self):
        self.daemon = lab.Daemon()
        self.daemon.start()
        empty = os.path.join(self.daemon.folder, "empty.raw")
        with open(empty, "wb") as file:
            file.truncate(64 * MIB)
        self.data = os.path.join(self.daemon.folder, "data.raw")
        with open(self.data, "wb") as file:
            file.truncate(64 * MIB)
            file.seek(20 * MIB + 777)
            file.write(os.urandom(10 * MIB))
        self.daemon.import_image(empty, "empty")
        self.daemon.import_image(self.data, "data")
        for name, image in (("disk", "empty"), ("map", "empty"), ("waits", "data")):
            self.daemon.cli("vm", "run", name, "--image", image, "--disk-only")
        self.path = os.path.join(self.daemon.run_dir, "nbd.sock")

    def uri(self, export):
        return self.daemon.uri("images/data" if export == "rom" else export)

    def is_alive(self):
        return self.daemon.process.poll() is None

    def log(self):
        return self.daemon.log()

    def stop(self):
        log = self.log()
        for name in ("disk", "map", "waits"):
            self.daemon.cli("vm", "stop", name, "--force")
        self.daemon.close()
        for report in ("Sanitizer", "runtime error:", "assertion failed"):
            if report in log:
                raise AssertionError(log[log.index(report) - 100:][:4000])
        return self.daemon.process.returncode


class ForerundTest(clients_test.ClientsTest):
    @classmethod
    def setUpClass(cls):
        cls.server = DaemonAsServer()

    def test_nbdinfo_reads_what_an_export_offers(self):
        info = json.loads(run("nbdinfo", "--json", self.server.uri("disk")).stdout)["exports"][0]
        expected = {"export-size": 64 * MIB, "is_read_only": False, "can_df": True, "can_fast_zero": True,
                    "can_flush": True, "can_fua": True, "can_multi_conn": True, "can_trim": True, "can_zero": True,
                    "block_size_minimum": 1, "block_size_maximum": 32 * MIB, "contexts": ["base:allocation"]}
        self.assertEqual({key: info[key] for key in expected}, expected)

    def test_nbdinfo_lists_exports(self):
        listed = json.loads(run("nbdinfo", "--list", "--json", self.server.uri("")).stdout)["exports"]
        self.assertEqual({entry["export-name"] for entry in listed},
                         {"disk", "images/data", "images/empty", "map", "waits"})

    def test_an_image_compares_equal_to_what_was_imported(self):
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", self.server.data, self.server.uri("rom"))

    def test_cold_reads_in_flight_with_a_flush_between(self):
        with open(self.server.data, "rb") as file:
            disk = file.read()
        with Client(self.server) as client:
            self.assertEqual(client.go("images/data"), REP_ACK)
            offsets = {cookie: 20 * MIB + 70_001 * cookie for cookie in range(100)}
            for cookie, offset in offsets.items():
                client.send_request(CMD_READ, offset, 5000, cookie=cookie)
            client.send_request(CMD_FLUSH, cookie=1000)
            client.send_request(CMD_CACHE, 0, 64 * MIB, cookie=1001)
            answered = set()
            while len(answered) < 102:
                error, cookie = client.receive_simple()
                self.assertEqual(error, 0)
                if cookie < 100:
                    self.assertEqual(client.receive(5000), disk[offsets[cookie]:offsets[cookie] + 5000])
                answered.add(cookie)


if __name__ == "__main__":
    support.require("nbdinfo", "nbdcopy", "qemu-img", "qemu-io", "fio")
    unittest.main(verbosity=2)
