#!/usr/bin/env python3
"""forerun lab: real namespaces, the real switch, real daemons. Delays are asserted from below only: a busy machine adds."""
import os
import signal
import subprocess
import sys
import unittest

import two_hosts
from two_hosts import Lab, is_running, wait_for

# A server that echoes one connection; a client that prints the best round trip of a few, in seconds.
ECHO = """
import socket, sys
server = socket.create_server((sys.argv[1], 7000))
print("ready", flush=True)
while True:
    peer, _ = server.accept()
    with peer:
        while data := peer.recv(65536):
            peer.sendall(data)
"""
ROUND_TRIP = """
import socket, sys, time
peer = socket.create_connection((sys.argv[1], 7000), timeout=float(sys.argv[2]))
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
best = 1e9
for _ in range(5):
    began = time.monotonic()
    peer.sendall(b"x")
    assert peer.recv(1) == b"x"
    best = min(best, time.monotonic() - began)
print(best)
"""
SEND = """
import socket, sys, time
peer = socket.create_connection((sys.argv[1], 7000), timeout=60)
began = time.monotonic()
left = int(sys.argv[2])
peer.sendall(b"x" * left)
while left:
    left -= len(peer.recv(65536))
print(time.monotonic() - began)
"""


class Echo:
    """The echo server on a host."""

    def __init__(self, host):
        self.process = subprocess.Popen(host.command(sys.executable, "-c", ECHO, host.address), stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def seconds_of(host, program, *arguments):
    done = subprocess.run(host.command(sys.executable, "-c", program, *arguments), capture_output=True, text=True,
                          timeout=120, check=False)
    return float(done.stdout) if done.returncode == 0 else None


class NetworkTest(unittest.TestCase):
    def test_delay_cut_heal_and_rate(self):
        with Lab(delay="50ms") as lab, Echo(lab.b):
            self.assertGreaterEqual(seconds_of(lab.a, ROUND_TRIP, lab.b.address, "30"), 0.1)

            lab.link(lab.a, lab.b, "--delay", "0")
            self.assertLess(seconds_of(lab.a, ROUND_TRIP, lab.b.address, "30"), 0.1)

            lab.cut()
            self.assertIsNone(seconds_of(lab.a, ROUND_TRIP, lab.b.address, "1"))
            self.assertEqual([link["is_up"] for link in lab.list()["links"]], [False, False])
            self.assertGreater(lab.list()["links"][0]["cut"], 0)

            lab.heal()
            self.assertIsNotNone(seconds_of(lab.a, ROUND_TRIP, lab.b.address, "30"))

            # 1,000,000 bytes there, and as many back at the same time: at 1 Mbyte/s it takes a second, from below less
            # what one burst of the wire's queue hides.
            lab.link(lab.a, lab.b, "--rate", "8mbit")
            self.assertGreaterEqual(seconds_of(lab.a, SEND, lab.b.address, "1000000"), 0.9)
            links = lab.list()["links"]
            self.assertEqual({link["rate_bytes_per_s"] for link in links}, {1_000_000})
            self.assertGreater(min(link["bytes"] for link in links), 1_000_000)

    def test_each_pair_has_a_link_of_its_own(self):
        with Lab(hosts=3) as lab:
            lab.link(lab.a, lab.b, "--down", "--one-way")
            state = {(link["from"], link["to"]): link["is_up"] for link in lab.list()["links"]}
            self.assertEqual(len(state), 6)
            self.assertEqual([pair for pair, is_up in state.items() if not is_up], [("a", "b")])
            with Echo(lab.b):
                self.assertIsNone(seconds_of(lab.a, ROUND_TRIP, lab.b.address, "1"))
                self.assertIsNotNone(seconds_of(lab.hosts[2], ROUND_TRIP, lab.b.address, "30"))


class LifeTest(unittest.TestCase):
    def test_down_leaves_nothing_behind(self):
        lab = Lab()
        lab.up()
        seen = lab.list()
        pids = [seen["switch"]["pid"]] + [host["pid"] for host in seen["hosts"]]
        self.assertTrue(all(is_running(pid) for pid in pids))
        self.assertTrue(all(host["state"] == "running" for host in seen["hosts"]))
        self.assertTrue(lab.a.answers() and lab.b.answers())
        lab.down()
        self.assertFalse([pid for pid in pids if is_running(pid)])
        self.assertFalse([host for host in seen["hosts"] if os.path.exists("/run/netns/" + host["namespace"])])
        self.assertFalse(os.path.exists(lab.folder))
        again = lab.down()
        self.assertIn("no lab is up", again.stderr)
        self.assertEqual(lab.forerun("lab", "list", "--dir", lab.folder, check=False).returncode, 4)

    def test_a_second_lab_of_the_same_folder_or_names_is_refused(self):
        with Lab() as lab:
            again = lab.up(check=False)
            self.assertEqual(again.returncode, 5)
            self.assertIn("a lab is up in " + lab.folder, again.stderr)
            other = Lab()
            other.prefix = lab.prefix
            refused = other.up(check=False)
            self.assertEqual(refused.returncode, 5)
            self.assertIn(f"network namespace {lab.prefix}-a exists", refused.stderr)
            self.assertTrue(lab.a.answers())
            other.down()

    def test_a_killed_switch_is_reported_and_up_works_after_a_crash(self):
        lab = Lab()
        lab.up()
        try:
            os.kill(lab.list()["switch"]["pid"], signal.SIGKILL)
            wait_for(lambda: lab.list()["switch"]["state"] == "ended", "the switch to end")
            self.assertEqual(lab.list()["links"], [])
            self.assertIn("has ended, and the network with it",
                          lab.forerun("lab", "list", "--dir", lab.folder).stdout)
            refused = lab.link(lab.a, lab.b, "--down", check=False)
            self.assertIn("no switch answers", refused.stderr)
            for host in lab.hosts:
                host.kill()
            lab.up()
            self.assertEqual(lab.list()["switch"]["state"], "running")
            with Echo(lab.b):
                self.assertIsNotNone(seconds_of(lab.a, ROUND_TRIP, lab.b.address, "30"))
        finally:
            lab.down()

    def test_a_killed_daemon_is_reported_and_started_again(self):
        with Lab() as lab:
            lab.b.kill()
            self.assertEqual([host["state"] for host in lab.list()["hosts"]], ["running", "ended"])
            lab.b.start()
            self.assertTrue(lab.b.answers())
            self.assertEqual(lab.b.seen["state"], "running")
            refused = lab.forerun("lab", "start", "b", "--dir", lab.folder, check=False)
            self.assertEqual(refused.returncode, 5)

    def test_a_daemon_that_does_not_start_takes_the_lab_down_again(self):
        lab = Lab()
        os.makedirs(f"{lab.folder}/b")
        with open(f"{lab.folder}/b/state", "w", encoding="utf-8"):
            pass  # where a folder should be
        failed = lab.up(check=False)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("forerund of host b ended at its start", failed.stderr)
        self.assertFalse([name for name in os.listdir("/run/netns") if name.startswith(lab.prefix + "-")])
        subprocess.run(["rm", "-rf", lab.folder], check=True)

    def test_each_host_has_a_certificate_of_the_labs_authority(self):
        with Lab() as lab:
            for host in lab.hosts:
                tls = f"{lab.folder}/{host.name}/tls"
                done = subprocess.run(["openssl", "verify", "-CAfile", f"{lab.folder}/ca/ca-cert.pem", "-verify_hostname",
                                       host.name, "-verify_ip", host.address, f"{tls}/cert.pem"],
                                      capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(os.stat(f"{tls}/key.pem").st_mode & 0o077, 0)


class RefusalTest(unittest.TestCase):
    def test_what_is_wrong_is_said(self):
        lab = Lab()
        for flags, words in (
                (["--hosts", "1"], "a lab has 2 to 16 hosts"), (["--hosts", "17"], "a lab has 2 to 16 hosts"),
                (["--subnet", "10.77.0.1/24"], "subnet"), (["--prefix", "a/b"], "prefix"),
                (["--delay", "61s"], "delay"), (["--rate", "fast"], "rate"), (["--rate", "100bit"], "1 kbit/s")):
            done = lab.forerun("lab", "up", "--dir", lab.folder, *flags, check=False)
            self.assertNotEqual(done.returncode, 0, flags)
            self.assertIn(words, done.stderr, flags)
        done = lab.forerun("lab", "up", "--dir", "/tmp/" + 60 * "x", check=False)
        self.assertIn("for the sockets in it", done.stderr)
        self.assertEqual(os.listdir(lab.folder), [])
        os.rmdir(lab.folder)

    def test_a_link_that_is_none_is_refused(self):
        with Lab() as lab:
            def refusal(*arguments):
                done = lab.forerun("lab", "link", *arguments, "--dir", lab.folder, check=False)
                self.assertNotEqual(done.returncode, 0, arguments)
                return done.stderr
            self.assertIn("no host 'c'", refusal("a", "c", "--down"))
            self.assertIn("two different hosts", refusal("a", "a", "--down"))
            self.assertIn("say what to change", refusal("a", "b"))
            self.assertIn("exclude each other", refusal("a", "b", "--up", "--down"))


if __name__ == "__main__":
    two_hosts.skip_unless_possible()
    unittest.main(verbosity=2)
