#!/usr/bin/env python3
"""Migrations between two hosts of a lab that are killed and cut in their phases.

The guest checks its memory and its disk itself (net_guest) and counts its rounds on its console. A number that is on the
consoles of both hosts would be a guest that ran twice.

A guest boots for each fault, so `make test` takes seven; FORERUN_FAULTS=all takes all of them.
"""
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

import checker
import net_guest
import two_hosts
from net_guest import ADDRESS
from two_hosts import Failed, Lab, wait_for

unless_all = unittest.skipUnless(os.environ.get("FORERUN_FAULTS") == "all", "FORERUN_FAULTS=all takes it too")
# One round trip at a time over one connection that lives through the migration; prints how many, when it is told to end.
TALK = """
import socket, sys, select
peer = socket.create_connection((sys.argv[1], 7), timeout=120)
count = 0
while not select.select([sys.stdin], [], [], 0.05)[0]:
    peer.sendall(b"%08d" % count)
    answer = b""
    while len(answer) < 8:
        piece = peer.recv(8 - len(answer))
        assert piece, "the guest hung up"
        answer += piece
    assert answer == b"%08d" % count, answer
    count += 1
print(count)
"""


class Moved:
    """A migration that goes on: its operation, and what it says of itself."""

    def __init__(self, source, target, mode, **more):
        self.source = source
        self.id = source.post("/api/v1/vms/m/migrate", {"to": target.name, "mode": mode, **more})["id"]

    def seen(self):
        return self.source.get("/api/v1/operations/" + self.id)

    def wait_for(self, words, seconds=120):
        """Waits until it says one of these; returns False if it ended before."""
        deadline = time.monotonic() + seconds
        while True:
            seen = self.seen()
            if any(word in seen["message"] for word in words):
                return True
            if seen["state"] != "running":
                return False
            if time.monotonic() > deadline:
                raise AssertionError(f"no {words} in {seconds} s: {seen}")
            time.sleep(0.01)

    def end(self, seconds=240):
        wait_for(lambda: self.seen()["state"] != "running", "the migration to end", seconds)
        return self.seen()


class FaultsTest(net_guest.NetGuestTest):
    def setUp(self):
        self.lab = Lab(delay="2ms", rate="30mbit")
        self.lab.up()
        self.addCleanup(self.take_down)
        self.a, self.b = self.lab.a, self.lab.b
        self.a.cli("image", "import", self.disk, "--name", "checker")
        self.run_vm(self.a, "--image", "checker")
        self.wait_for_beat(self.a, 5)

    def run_vm(self, host, *more):
        self.run_guest(host, "m", "--network", "bridge", *more)

    def take_down(self):
        self.lab.heal()
        self.lab.down()
        shutil.rmtree(self.lab.folder, ignore_errors=True)

    def console(self, host):
        return checker.read_console(f"{self.lab.folder}/{host.name}/state/vms/m/console.log")

    def beats(self, host):
        return checker.beats(self.console(host))

    def last_beat(self, host):
        return max(self.beats(host), default=0)

    def wait_for_beat(self, host, number, seconds=180):
        checker.wait_for_beat(lambda: self.console(host), number, seconds,
                              lambda: f"-- a:\n{self.a.log()[-2000:]}\n-- b:\n{self.b.log()[-2000:]}")

    def vm(self, host):
        try:
            return host.get("/api/v1/vms/m")
        except Failed as failure:
            self.assertEqual(failure.status, 404)
            return None

    def state(self, host):
        vm = self.vm(host)
        return vm["state"] if vm else "absent"

    def qemu(self, host):
        """Returns the pid in a host's record of the VM."""
        return self.vm(host)["pid"]

    def check_runs_only_on(self, host, other):
        """The guest gets on here, and not there; no round of it was made on both."""
        last = max(self.last_beat(self.a), self.last_beat(self.b))
        frozen = self.last_beat(other)
        self.wait_for_beat(host, last + 9)  # every page and block is compared in eight rounds
        self.assertEqual(self.last_beat(other), frozen)
        self.assertEqual(set(self.beats(self.a)) & set(self.beats(self.b)), set())

    def check_stayed(self, move):
        seen = move.end()
        self.assertEqual(seen["state"], "failed", seen)
        self.assertEqual(self.state(self.a), "running")
        self.check_runs_only_on(self.a, self.b)
        wait_for(lambda: self.state(self.b) == "absent", "host b to let go of the VM")
        return seen

    # -- before the switch: the VM stays

    def test_a_cut_before_the_switch_leaves_the_vm_where_it_was(self):
        move = Moved(self.a, self.b, "precopy", downtime_ms_max=1)
        self.assertTrue(move.wait_for(["round"]))
        self.lab.cut()
        self.check_runs_only_on(self.a, self.b)
        seen = move.end()
        self.assertEqual(seen["state"], "failed", seen)
        self.assertEqual(self.state(self.a), "running")
        self.lab.heal()
        self.check_stayed(move)

    @unless_all
    def test_the_targets_qemu_killed_before_the_switch(self):
        move = Moved(self.a, self.b, "precopy", downtime_ms_max=1)
        self.assertTrue(move.wait_for(["round"]))
        os.kill(self.qemu(self.b), signal.SIGKILL)
        self.check_stayed(move)

    @unless_all
    def test_the_targets_daemon_killed_before_the_switch(self):
        move = Moved(self.a, self.b, "precopy", downtime_ms_max=1)
        self.assertTrue(move.wait_for(["round"]))
        self.b.kill()
        seen = move.end()
        self.assertEqual(seen["state"], "failed", seen)
        self.b.start()
        self.check_stayed(move)

    def test_the_sources_daemon_killed_before_the_switch(self):
        move = Moved(self.a, self.b, "precopy", downtime_ms_max=1)
        self.assertTrue(move.wait_for(["round"]))
        self.a.kill()
        self.a.start()
        wait_for(lambda: self.state(self.a) == "running", "host a to have the VM again")
        self.check_runs_only_on(self.a, self.b)
        wait_for(lambda: self.state(self.b) == "absent", "host b to let go of the VM")

    @unless_all
    def test_the_sources_qemu_killed_before_the_switch(self):
        move = Moved(self.a, self.b, "precopy", downtime_ms_max=1)
        self.assertTrue(move.wait_for(["round"]))
        os.kill(self.qemu(self.a), signal.SIGKILL)
        self.assertEqual(move.end()["state"], "failed")
        wait_for(lambda: self.state(self.a) in ("stopped", "failed"), "host a to see that the VM ended")
        wait_for(lambda: self.state(self.b) == "absent", "host b to let go of the VM")
        self.assertEqual(self.beats(self.b), [])

    # -- after it: the VM goes on there

    def check_arrived(self, move):
        seen = move.end()
        self.assertEqual(seen["state"], "succeeded", seen)
        self.assertEqual(self.state(self.a), "moved")
        self.assertEqual(self.state(self.b), "running")
        self.check_runs_only_on(self.b, self.a)

    def speed_up(self):
        """What was to happen amid the migration has: the rest need not take long."""
        self.lab.link(self.a, self.b, "--rate", "none")

    def run_there(self):
        """Starts a post-copy and waits until the guest runs at the target with most of its memory still here."""
        move = Moved(self.a, self.b, "postcopy")
        self.assertTrue(move.wait_for(["runs on b"]), move.seen())
        return move

    @unless_all
    def test_a_cut_in_postcopy_recovers_by_itself(self):
        move = self.run_there()
        for _ in range(2):
            self.lab.cut()
            time.sleep(2)
            self.lab.heal()
            move.wait_for(["runs on b"])
        self.speed_up()
        self.check_arrived(move)

    def test_a_long_cut_in_postcopy_recovers_by_itself(self):
        move = self.run_there()
        self.lab.cut()
        self.assertTrue(move.wait_for(["is cut"]), move.seen())
        self.lab.heal()
        self.speed_up()
        self.check_arrived(move)

    def test_the_sources_daemon_killed_in_postcopy(self):
        self.run_there()
        self.a.kill()
        self.a.start()
        self.speed_up()
        wait_for(lambda: self.state(self.a) == "moved", "the migration to go on to its end", 240)
        wait_for(lambda: self.state(self.b) == "running", "host b to have all of the VM")
        self.check_runs_only_on(self.b, self.a)

    def test_the_targets_daemon_killed_in_postcopy(self):
        move = self.run_there()
        self.b.kill()
        self.b.start()
        self.speed_up()
        self.check_arrived(move)

    def start_again_there(self):
        self.assertNotIn(self.state(self.a), ("running", "stopped"))
        refused = self.a.cli("vm", "run", "m", check=False)
        self.assertNotEqual(refused.returncode, 0)
        last = self.last_beat(self.a)
        self.run_vm(self.b)
        wait_for(lambda: self.console(self.b).count("GUEST-UP") > 0, "the guest to start again", 180)
        wait_for(lambda: not self.vm(self.b)["peer"], "the rest of the disk to come", 60)
        self.assertEqual((self.state(self.a), self.state(self.b)), ("moved", "running"))
        self.assertEqual(self.last_beat(self.a), last)

    @unless_all
    def test_the_targets_qemu_killed_in_postcopy(self):
        """The guest is lost, as by a power cut; its disk is not: it starts again there, and the rest of the disk comes."""
        move = self.run_there()
        os.kill(self.qemu(self.b), signal.SIGKILL)
        wait_for(lambda: self.state(self.b) == "stopped", "host b to see that the VM ended")
        self.assertIn("start it again", self.vm(self.b)["detail"])
        self.start_again_there()
        seen = move.end()
        self.assertEqual(seen["state"], "failed", seen)
        self.assertIn("lost", str(seen["error"]))

    def test_the_sources_qemu_killed_in_postcopy(self):
        """Memory that was only there is lost, and that is said."""
        move = self.run_there()
        os.kill(self.qemu(self.a), signal.SIGKILL)
        seen = move.end()
        self.assertEqual(seen["state"], "failed", seen)
        self.assertIn("lost", str(seen["error"]))
        wait_for(lambda: self.state(self.b) == "stopped", "host b to end what cannot go on")
        self.assertIn("start it again", self.vm(self.b)["detail"])
        self.start_again_there()

    # -- what clients see

    def test_a_connection_lives_on(self):
        talk = subprocess.Popen(self.b.command(sys.executable, "-c", TALK, ADDRESS), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(talk.kill)
        mac = self.vm(self.a)["mac"]
        for source, target in ((self.a, self.b), (self.b, self.a)):
            move = Moved(source, target, "hybrid")
            seen = move.end()
            self.assertEqual(seen["state"], "succeeded", seen)
            self.assertEqual(self.vm(target)["mac"], mac)
            self.check_runs_only_on(target, source)
        output, errors = talk.communicate("end\n", timeout=60)
        self.assertEqual(talk.returncode, 0, errors)
        self.assertGreater(int(output), 10)


if __name__ == "__main__":
    two_hosts.skip_unless_possible()
    unittest.main(verbosity=2)
