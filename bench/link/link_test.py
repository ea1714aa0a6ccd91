#!/usr/bin/python3
"""The slow link for real: round trip, rate, cut and heal, reset, many connections. Times are the link's own
properties; the bounds leave room for a busy machine where the link can only be slower than it says."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROGRAM = sys.argv.pop(1)


class Server:
    """Speaks first what it is asked for: 8 bytes N, then N bytes come back; N = 0 echoes until the end."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    @staticmethod
    def serve(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            try:
                while head := connection.recv(8, socket.MSG_WAITALL):
                    size = int.from_bytes(head, "big")
                    if size:
                        connection.sendall(pattern(size))
                    else:
                        connection.sendall(head)
            except OSError:
                pass


def pattern(size):
    block = bytes(range(251))
    return (block * (size // 251 + 1))[:size]


def read_exactly(connection, size):
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            raise EOFError(f"the connection ended {size} bytes early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class LinkTest(unittest.TestCase):
    def start(self, rate, delay):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        server = Server()
        self.addCleanup(server.listener.close)
        self.control_path = os.path.join(self.folder.name, "control")
        self.link = subprocess.Popen(
            [PROGRAM, "--to", f"127.0.0.1:{server.port}", "--rate", rate, "--delay", delay,
             "--control", self.control_path], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        ready = self.link.stdout.readline().split()
        self.assertEqual(ready[0], "ready")
        self.port = int(ready[1])

    def stop(self):
        self.link.terminate()
        self.link.stdout.close()
        self.assertEqual(self.link.wait(10), 0)

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.addCleanup(connection.close)
        return connection

    def control(self, line):
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(self.control_path)
            control.sendall(line.encode() + b"\n")
            return control.makefile().readline().strip()

    @staticmethod
    def echo(connection):
        began = time.monotonic()
        connection.sendall(bytes(8))
        read_exactly(connection, 8)
        return time.monotonic() - began

    def test_a_round_trip_takes_twice_the_delay(self):
        self.start("none", "20ms")
        connection = self.connect()
        first = self.echo(connection)
        times = sorted(self.echo(connection) for _ in range(20))
        self.assertGreaterEqual(times[0], 0.040)
        self.assertLess(times[10], 0.2)
        # The handshake costs one round trip more, to the right of what a local accept took.
        self.assertGreaterEqual(first, 0.079)

    def test_two_connections_share_the_rate_and_nothing_is_changed(self):
        self.start("40mbit", "1ms")
        size = 5_000_000  # together 2 s
        received = [None, None]

        def fetch(index):
            connection = self.connect()
            connection.sendall(size.to_bytes(8, "big"))
            received[index] = read_exactly(connection, size)

        began = time.monotonic()
        threads = [threading.Thread(target=fetch, args=(index,)) for index in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        span = time.monotonic() - began
        self.assertEqual(received, [pattern(size)] * 2)
        self.assertGreaterEqual(span, 1.95)
        self.assertLess(span, 3)
        self.assertEqual(json.loads(self.control("stats"))["bytes_down"], 2 * size)

    def test_a_bulk_transfer_leaves_others_a_short_queue(self):
        self.start("20mbit", "1ms")
        bulk = self.connect()
        bulk.sendall((50_000_000).to_bytes(8, "big"))
        small = self.connect()
        self.echo(small)
        # 64 KiB at 20 Mbit/s are 26 ms, beside the round trip of 2 ms.
        times = sorted(self.echo(small) for _ in range(15))
        self.assertGreater(times[7], 0.010)
        self.assertLess(times[7], 0.2)

    def test_a_cut_loses_nothing(self):
        self.start("none", "1ms")
        connection = self.connect()
        self.echo(connection)
        os.kill(self.link.pid, signal.SIGUSR1)
        while not json.loads(self.control("stats"))["cut"]:
            time.sleep(0.005)
        connection.sendall((100_000).to_bytes(8, "big"))
        connection.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            connection.recv(1)
        os.kill(self.link.pid, signal.SIGUSR2)
        connection.settimeout(30)
        self.assertEqual(read_exactly(connection, 100_000), pattern(100_000))

    def test_reset_closes_every_connection(self):
        self.start("20mbit", "5ms")
        connections = [self.connect() for _ in range(5)]
        for connection in connections:
            connection.sendall((10_000_000).to_bytes(8, "big"))
            connection.recv(1)
        self.assertEqual(self.control("reset"), "ok")
        for connection in connections:
            with self.assertRaises((ConnectionResetError, EOFError)):
                read_exactly(connection, 10_000_000)
        self.echo(self.connect())

    def test_rate_and_delay_change_while_it_runs(self):
        self.start("none", "0")
        connection = self.connect()
        self.assertEqual(self.control("delay 50ms"), "ok")
        self.assertGreaterEqual(self.echo(connection), 0.1)
        self.assertEqual(self.control("delay 0"), "ok")
        self.assertEqual(self.control("rate 8mbit"), "ok")
        began = time.monotonic()
        connection.sendall((400_000).to_bytes(8, "big"))
        read_exactly(connection, 400_000)
        self.assertGreaterEqual(time.monotonic() - began, 0.38)
        self.assertTrue(self.control("rate fast").startswith("error: "))

    def test_200_connections_at_once(self):
        self.start("100mbit", "1ms")
        connections = [self.connect() for _ in range(200)]
        for connection in connections:
            connection.sendall((10_000).to_bytes(8, "big"))
        for connection in connections:
            self.assertEqual(read_exactly(connection, 10_000), pattern(10_000))
        self.assertEqual(json.loads(self.control("stats"))["connections"], 200)

    def test_an_end_is_passed_on_after_the_data(self):
        self.start("20mbit", "5ms")
        connection = self.connect()
        connection.sendall((100_000).to_bytes(8, "big"))
        connection.shutdown(socket.SHUT_WR)
        self.assertEqual(read_exactly(connection, 100_000), pattern(100_000))
        self.assertEqual(connection.recv(1), b"")
        while json.loads(self.control("stats"))["connections"]:
            time.sleep(0.005)


if __name__ == "__main__":
    unittest.main()
