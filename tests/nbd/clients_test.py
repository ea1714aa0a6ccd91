#!/usr/bin/env python3
"""Stock NBD clients against the server: nbdinfo, nbdcopy, qemu-img, qemu-io, fio."""
import json
import os
import tempfile
import unittest

import support
from support import MIB, run, sha256_of


class ClientsTest(support.ServerTestCase):
    # "waits" lets every third read wait, so that the pool and its replies are in play.
    ARGUMENTS = ("--export", f"disk,size={64 * MIB},description=a disk", "--export", f"waits,size={64 * MIB},"
                 "slow-every=3,slow-us=200", "--export", f"rom,size={MIB},ro", "--export", f"map,size={64 * MIB}")

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="forerun-nbd-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def random_file(self, size):
        path = os.path.join(self.folder, "random")
        with open(path, "wb") as file:
            file.write(os.urandom(size))
        return path

    def test_nbdinfo_reads_what_an_export_offers(self):
        info = json.loads(run("nbdinfo", "--json", self.server.uri("disk")).stdout)["exports"][0]
        expected = {"export-name": "disk", "description": "a disk", "export-size": 64 * MIB, "is_read_only": False,
                    "can_df": True, "can_fast_zero": True, "can_flush": True, "can_fua": True, "can_multi_conn": True,
                    "can_trim": True, "can_zero": True, "can_cache": True, "block_size_minimum": 1,
                    "block_size_preferred": 4096, "block_size_maximum": 32 * MIB, "contexts": ["base:allocation"]}
        self.assertEqual({key: info[key] for key in expected}, expected)

    def test_nbdinfo_sees_a_read_only_export(self):
        info = json.loads(run("nbdinfo", "--json", self.server.uri("rom")).stdout)["exports"][0]
        self.assertTrue(info["is_read_only"])
        self.assertFalse(info["can_zero"])

    def test_nbdinfo_lists_exports(self):
        listed = json.loads(run("nbdinfo", "--list", "--json", self.server.uri("")).stdout)["exports"]
        self.assertEqual([entry["export-name"] for entry in listed], ["disk", "map", "rom", "waits"])

    def test_nbdinfo_maps_holes(self):
        uri = self.server.uri("map")
        run("qemu-io", "-f", "raw", uri, "-c", "write -P 1 1M 1M", "-c", "write -P 2 10M 64k")
        extents = json.loads(run("nbdinfo", "--map", "--json", uri).stdout)
        data = [(extent["offset"], extent["length"]) for extent in extents if extent["type"] == 0]
        self.assertEqual(data, [(MIB, MIB), (10 * MIB, 65536)])
        self.assertEqual(sum(extent["length"] for extent in extents), 64 * MIB)

    def test_nbdcopy_round_trip(self):
        source = self.random_file(64 * MIB)
        for export in ("disk", "waits"):
            with self.subTest(export):
                target = os.path.join(self.folder, "back")
                uri = self.server.uri(export)
                run("nbdcopy", "--connections=4", "--requests=16", source, uri)
                run("nbdcopy", "--connections=4", "--requests=16", "--flush", uri, target)
                self.assertEqual(sha256_of(target), sha256_of(source))

    def test_qemu_img_convert_compare_map(self):
        source = os.path.join(self.folder, "sparse")
        with open(source, "wb") as file:
            file.truncate(64 * MIB)
            file.seek(3 * MIB)
            file.write(os.urandom(5 * MIB))
        for export in ("disk", "waits"):
            with self.subTest(export):
                uri = self.server.uri(export)
                run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "8", source, uri)
                run("qemu-img", "compare", "-f", "raw", "-F", "raw", source, uri)
                extents = json.loads(run("qemu-img", "map", "-f", "raw", "--output=json", uri).stdout)
                data = [extent for extent in extents if extent["data"]]
                self.assertEqual([(extent["start"], extent["length"]) for extent in data], [(3 * MIB, 5 * MIB)])

    def test_qemu_io_patterns(self):
        for export in ("disk", "waits"):
            with self.subTest(export):
                commands = ["write -P 0xa5 0 1M", "write -P 0x5a -f 512k 64k", "write -z 1M 1M", "discard 4M 1M",
                            "read -P 0xa5 0 512k", "read -P 0x5a 512k 64k", "read -P 0xa5 576k 448k",
                            "read -P 0 1M 1M", "read -P 0 4M 1M", "write -P 3 777 1000", "read -P 3 777 1000",
                            "write -z -u 900 100", "read -P 0 900 100", "read -P 3 1000 777", "aio_write -P 7 8M 64k",
                            "aio_flush", "flush", "read -P 7 8M 64k", "map"]
                run("qemu-io", "-f", "raw", self.server.uri(export), *(part for c in commands for part in ("-c", c)))

    def test_qemu_io_notices_a_difference(self):
        done = run("qemu-io", "-f", "raw", self.server.uri("disk"), "-c", "write -P 1 0 4k", "-c", "read -P 2 0 4k",
                   check=False)
        self.assertEqual(done.returncode, 1)

    def test_fio_verifies_what_it_wrote(self):
        for export in ("disk", "waits"):
            with self.subTest(export):
                done = run("fio", "--output-format=json", "--name=v", "--ioengine=nbd",
                           f"--uri={self.server.uri(export)}", "--rw=randwrite", "--bsrange=512-64k",
                           "--blockalign=512", "--iodepth=16", "--size=32m", "--verify=crc32c", "--verify_fatal=1",
                           "--verify_backlog=1024", "--fsync=64", "--verify_state_save=0", "--thread")
                job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
                self.assertEqual(job["error"], 0)
                self.assertGreater(job["read"]["total_ios"], 0)


if __name__ == "__main__":
    support.require("nbdinfo", "nbdcopy", "qemu-img", "qemu-io", "fio")
    unittest.main(verbosity=2)
