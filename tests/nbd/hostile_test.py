#!/usr/bin/env python3
"""Hostile and careless clients: the known bugs of other NBD servers, idle crowds, and ends in the middle."""
import os
import random
import socket
import struct
import time
import unittest

import support
from support import (CMD_FLUSH, CMD_READ, CMD_STATUS, CMD_WRITE, EINVAL, ERR_INVALID, ERR_POLICY, ERR_TOO_BIG,
                     ERR_UNKNOWN, MIB, OPT_EXPORT_NAME, OPT_GO, OPT_INFO, OPT_LIST, OPT_LIST_META, OPT_SET_META,
                     OPT_STRUCTURED, REP_ACK, Client, Server, go_payload, meta_payload, option_bytes)

HONEST_LIMIT_S = 5


def honest_connect_s(server, export="disk"):
    """Returns how long a client took from connect to its first answer; fails after HONEST_LIMIT_S."""
    begin = time.monotonic()
    with Client(server, handshake=False) as client:
        client.socket.settimeout(HONEST_LIMIT_S)
        client.greet()
        assert client.go(export) == REP_ACK
        assert client.error_of(CMD_FLUSH) == 0
    return time.monotonic() - begin


class KnownBugsTest(support.ServerTestCase):
    """The bugs that other servers had, by CVE number."""
    ARGUMENTS = ("--export", f"disk,size={64 * MIB}", "--export", f"waits,size={64 * MIB},slow-every=1,slow-us=20000",
                 "--export", f"big,size={8 << 30}", "--connections-max", "64")

    def test_cve_2013_7441_client_closes_in_negotiation(self):
        greeting = struct.pack(">I", 3)
        whole = greeting + b"IHAVEOPT" + struct.pack(">II", OPT_GO, 10) + go_payload("disk")
        for end in range(0, len(whole), 3):
            with Client(self.server, handshake=False) as client:
                client.send(whole[:end])
        with Client(self.server) as client:
            client.send_option(OPT_EXPORT_NAME, b"nothing of that name")
            self.assertTrue(client.is_closed())

    def test_cve_2017_15118_long_export_names(self):
        for size in (257, 3000, 4096):
            with Client(self.server) as client:
                self.assertEqual(client.ask(OPT_INFO, go_payload("a" * size))[-1][0], ERR_UNKNOWN)
                client.send_option(OPT_EXPORT_NAME, b"a" * size)
                self.assertTrue(client.is_closed())
        for size in (4097, 16_000, 100_000):
            with Client(self.server) as client:
                self.assertEqual(client.ask(OPT_GO, go_payload("a" * size))[-1][0], ERR_TOO_BIG)
                client.ask(OPT_STRUCTURED)
                self.assertIn(client.ask(OPT_SET_META, meta_payload("a" * size, "base:allocation"))[-1][0],
                              (ERR_UNKNOWN, ERR_TOO_BIG))
                client.send_option(OPT_EXPORT_NAME, b"a" * size)
                self.assertTrue(client.is_closed())

    def test_cve_2017_7539_negotiation_with_lying_lengths(self):
        for option in range(0, 13):
            for payload in (b"", b"\0\0\0\xff", b"\xff" * 7, b"\0\0\0\x04disk", b"\0\0\0\x04disk\xff\xff",
                            b"\0\0\0\x04disk\xff\xff\xff\xff", b"\0" * 1000):
                with Client(self.server) as client:
                    client.throw(option_bytes(option, payload))
                    client.throw(option_bytes(OPT_LIST, length=(1 << 32) - 1))
                    self.assertTrue(client.is_closed())

    def test_cve_2017_10664_client_aborts_while_it_is_answered(self):
        for export in ("disk", "waits"):
            for _ in range(10):
                with Client(self.server) as client:
                    client.go(export)
                    for cookie in range(8):
                        client.send_request(CMD_READ, 0, 4 * MIB, cookie=cookie)
                    client.receive(100 if export == "disk" else 0)

    def test_cve_2019_14850_a_handshake_opens_nothing(self):
        crowd = [Client(self.server) for _ in range(100)]  # more than one export may have
        try:
            for client in crowd:
                client.ask(OPT_INFO, go_payload("disk"))
            honest_connect_s(self.server)
        finally:
            for client in crowd:
                client.close()

    def test_cve_2019_14851_commands_in_a_wrong_order(self):
        with Client(self.server) as client:
            for option in (OPT_SET_META, OPT_LIST_META):
                self.assertEqual(client.ask(option, meta_payload("disk", "base:allocation"))[-1][0], ERR_INVALID)
            client.ask(OPT_LIST)
            client.ask(OPT_STRUCTURED)
            client.ask(OPT_STRUCTURED)
            self.assertEqual(client.go("nothing"), ERR_UNKNOWN)
            self.assertEqual(client.go("disk"), REP_ACK)
            client.send_request(CMD_STATUS, 0, 4096)
            self.assertEqual(client.receive_chunk()[3][:4], struct.pack(">I", EINVAL))
            client.send(2 * option_bytes(OPT_LIST))  # options where a request belongs
            self.assertTrue(client.is_closed())

    # CVE-2021-3716, state kept across STARTTLS, is in tls_test.py. CVE-2024-7409 is CrowdTest and EndTest below.

    def test_cve_2025_47711_block_status_of_the_largest_length(self):
        with Client(self.server) as client:
            client.ask(OPT_STRUCTURED)
            client.ask(OPT_SET_META, meta_payload("big", "base:allocation"))
            client.go("big")
            for offset in (0, 1, (8 << 30) - (1 << 32) + 1):
                client.send_request(CMD_STATUS, offset, (1 << 32) - 1)
                flags, kind, _, payload = client.receive_chunk()
                self.assertEqual((flags, kind, payload[:4]), (1, 5, struct.pack(">I", 1)))
                self.assertEqual(struct.unpack(">II", payload[4:]), ((1 << 32) - 1, 3))

    def test_too_many_options(self):
        with Client(self.server) as client:
            for _ in range(65):
                client.send_option(OPT_LIST)
            self.assertTrue(client.is_closed())

    def test_too_many_bytes_of_options(self):
        with Client(self.server) as client:
            for _ in range(15):
                self.assertEqual(client.ask(200, bytes(MIB))[-1][0], support.ERR_UNSUP)
            client.send_option(200, length=2 * MIB)
            self.assertTrue(client.is_closed())

    def test_connections_of_one_export_are_limited(self):
        clients = [Client(self.server) for _ in range(65)]
        try:
            answers = [client.go("big") for client in clients]
            self.assertEqual(answers, [REP_ACK] * 64 + [ERR_POLICY])
            honest_connect_s(self.server)  # another export has its own limit
        finally:
            for client in clients:
                client.close()

    def test_a_client_that_takes_no_replies_blocks_nobody(self):
        hoarders = [Client(self.server) for _ in range(20)]
        try:
            for client in hoarders:
                client.go("waits")
                for cookie in range(64):
                    client.send_request(CMD_READ, 0, 1 * MIB, cookie=cookie)
            with Client(self.server) as client:
                client.socket.settimeout(HONEST_LIMIT_S)
                client.go("waits")
                client.send_request(CMD_READ, 0, 8)
                self.assertEqual(client.receive_simple()[0], 0)
        finally:
            for client in hoarders:
                client.close()

    def test_random_bytes(self):
        rng = random.Random(1)
        for _ in range(100):
            with Client(self.server, handshake=False) as client:
                client.throw(struct.pack(">I", rng.choice((0, 1, 3))))
                for _ in range(rng.randrange(4)):
                    client.throw(option_bytes(rng.randrange(14), rng.randbytes(rng.randrange(40))))
                client.throw(rng.randbytes(rng.randrange(200)))


class CrowdTest(support.ServerTestCase):
    """Many connections that do not get on."""
    ARGUMENTS = ("--export", f"disk,size={MIB}")

    def test_500_idle_and_slow_clients(self):
        before_kb = self.server.status("VmRSS")
        crowd = [Client(self.server, handshake=False) for _ in range(500)]
        slow_bytes = struct.pack(">I", 3) + option_bytes(200, bytes(10))
        try:
            time.sleep(0.2)
            times = []
            for byte in slow_bytes:  # every second client sends one byte at a time
                for client in crowd[1::2]:
                    client.send(bytes((byte,)))
                times.append(honest_connect_s(self.server))
            each_kb = (self.server.status("VmRSS") - before_kb) / len(crowd)
            print(f"honest client behind 500 idle and slow ones: {sorted(times)[len(times) // 2] * 1e3:.1f} ms median, "
                  f"{max(times) * 1e3:.1f} ms at most; {each_kb:.1f} KiB for each of the crowd", flush=True)
            if not self.server.is_sanitized():
                self.assertLess(each_kb, 64)
        finally:
            for client in crowd:
                client.close()


class LimitTest(support.ServerTestCase):
    ARGUMENTS = ("--export", f"disk,size={MIB}", "--handshakes-max", "20", "--handshake-s", "1")

    def test_the_oldest_half_open_connection_is_dropped_for_a_new_one(self):
        crowd = [Client(self.server) for _ in range(60)]
        try:
            self.assertEqual([client.is_closed() for client in crowd[:40]], [True] * 40)
            honest_connect_s(self.server)
        finally:
            for client in crowd:
                client.close()

    def test_a_handshake_has_a_deadline_even_if_bytes_keep_coming(self):
        with Client(self.server, handshake=False) as client:
            client.receive(18)
            begin = time.monotonic()
            client.socket.settimeout(0.1)
            closed = False
            while not closed and time.monotonic() - begin < 10:
                try:
                    client.send(b"\0")
                    closed = client.socket.recv(1) == b""
                except TimeoutError:
                    continue
                except OSError:
                    closed = True
            self.assertTrue(closed)

    def test_an_open_export_has_no_deadline(self):
        with Client(self.server) as client:
            client.go("disk")
            time.sleep(1.3)
            self.assertEqual(client.error_of(CMD_FLUSH), 0)


class EndTest(unittest.TestCase):
    """Ends of clients, exports and the server in the middle of work."""

    def setUp(self):
        self.server = Server("--export", f"disk,size={MIB}", "--export",
                             f"waits,size={64 * MIB},slow-every=1,slow-us=50000")
        self.addCleanup(self.server.stop)

    def test_server_ends_with_idle_and_busy_clients(self):  # CVE-2024-7409
        idle = [Client(self.server, handshake=False) for _ in range(50)]
        busy = [Client(self.server) for _ in range(10)]
        for client in busy:
            client.go("waits")
            for cookie in range(100):
                client.send_request(CMD_READ, 0, 4096, cookie=cookie)
        path = self.server.path

        self.assertEqual(self.server.stop(), 0)

        self.assertFalse(os.path.exists(path))
        for client in idle + busy:
            self.assertTrue(client.is_closed())
            client.close()

    def test_client_leaves_with_requests_in_flight(self):
        for _ in range(30):
            client = Client(self.server)
            client.go("waits")
            for cookie in range(100):
                client.send_request(CMD_READ, 0, 4096, cookie=cookie)
            client.send_request(CMD_WRITE, 0, MIB, payload=bytes(1000))  # the rest never comes
            client.close()
        honest_connect_s(self.server)
        self.assertEqual(self.server.stop(), 0)

    def test_removing_an_export_ends_its_connections(self):
        with Client(self.server) as waits, Client(self.server) as disk, Client(self.server) as undecided:
            waits.go("waits")
            disk.go("disk")
            for cookie in range(100):
                waits.send_request(CMD_READ, 0, 4096, cookie=cookie)

            self.assertEqual(self.server.remove_export("waits"), "removed waits")

            self.assertTrue(waits.is_closed())
            self.assertEqual(disk.error_of(CMD_FLUSH), 0)
            self.assertEqual(undecided.go("waits"), ERR_UNKNOWN)
            self.assertEqual(undecided.go("disk"), REP_ACK)

    def test_half_closed_client_is_let_go(self):
        with Client(self.server) as client:
            client.go("disk")
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.is_closed())


if __name__ == "__main__":
    support.require()
    unittest.main(verbosity=2)
