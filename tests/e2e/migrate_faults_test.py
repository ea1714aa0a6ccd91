#!/usr/bin/env python3
"""Migrations between two hosts of a lab that are killed and cut in their phases.

The guest checks its memory and its disk itself (net_guest) and counts its rounds on its console. A number that is on the
consoles of both hosts would be a guest that ran twice.

One guest goes through several faults, one after the other. `make test` takes six; FORERUN_FAULTS=all takes all of them.
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

IS_ALL = os.environ.get("FORERUN_FAULTS") == "all"
unless_all = unittest.skipUnless(IS_ALL, "FORERUN_FAULTS=all takes it too")
LINK = ("--delay", "2ms", "--rate", "30mbit")
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
        self.lab = Lab(delay=LINK[1], rate=LINK[3])
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

    def check_runs_only_on(self, host, other, beats=9):
        """The guest gets on here, and not there; no round of it was made on both."""
        last = max(self.last_beat(self.a), self.last_beat(self.b))
        frozen = self.last_beat(other)
        self.wait_for_beat(host, last + beats)  # in eight rounds, every page and block is compared
        self.assertEqual(self.last_beat(other), frozen)
        self.assertEqual(set(self.beats(self.a)) & set(self.beats(self.b)), set())

    def set_link(self, *flags):
        self.lab.link(self.a, self.b, *flags)

    def through(self, *faults):
        """Goes through faults, each of which leaves the guest where it was or goes; (fault, whether only all take it)."""
        for fault, is_extra in faults:
            if IS_ALL or not is_extra:
                began = time.monotonic()
                fault()
                print(f"{fault.__name__}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    # -- before the commit point: the VM stays

    def check_stayed(self, move=None):
        seen = move.end() if move else None
        if move:
            self.assertEqual(seen["state"], "failed", seen)
        wait_for(lambda: self.state(self.a) == "running", "host a to have the VM")
        self.check_runs_only_on(self.a, self.b, 2)
        wait_for(lambda: self.state(self.b) == "absent", "host b to let go of the VM")
        return seen

    def start_precopy(self):
        move = Moved(self.a, self.b, "precopy", downtime_ms_max=1)
        self.assertTrue(move.wait_for(["round"]))
        return move

    def cut_before_the_switch(self):
        move = self.start_precopy()
        self.lab.cut()
        self.assertEqual(move.end()["state"], "failed")
        self.lab.heal()
        self.check_stayed()

    def targets_qemu_killed_before_the_switch(self):
        move = self.start_precopy()
        os.kill(self.qemu(self.b), signal.SIGKILL)
        self.check_stayed(move)

    def targets_daemon_killed_before_the_switch(self):
        move = self.start_precopy()
        self.b.kill()
        self.assertEqual(move.end()["state"], "failed")
        self.b.start()
        self.check_stayed()

    def sources_daemon_killed_before_the_switch(self):
        self.start_precopy()
        self.a.kill()
        self.a.start()
        self.check_stayed()

    def start_going_over(self):
        """Starts a post-copy and waits until the guest has stopped here, while what it needs there is still on its way."""
        self.set_link("--rate", "1mbit")
        move = Moved(self.a, self.b, "postcopy")
        self.assertTrue(move.wait_for(["goes over"]), move.seen())
        return move

    def check_taken_back(self, move=None):
        self.set_link(*LINK)
        return self.check_stayed(move)

    def targets_qemu_killed_amid_the_switch(self):
        move = self.start_going_over()
        os.kill(self.qemu(self.b), signal.SIGKILL)
        self.check_taken_back(move)

    def targets_daemon_killed_amid_the_switch(self):
        move = self.start_going_over()
        self.b.kill()
        self.assertEqual(move.end()["state"], "failed")
        self.b.start()
        self.check_taken_back()

    def cut_amid_the_switch(self):
        move = self.start_going_over()
        self.lab.cut()
        self.assertEqual(move.end()["state"], "failed")
        self.check_runs_only_on(self.a, self.b, 2)
        self.lab.heal()
        self.check_taken_back()

    def sources_daemon_killed_amid_the_switch(self):
        self.start_going_over()
        self.a.kill()
        self.a.start()
        self.check_taken_back()

    def given_to_a_host_that_cannot_run_it(self):
        """The source has decided, and before it hears that, the target has lost its QEMU: it returns the VM."""
        self.set_link("--delay", "500ms", "--rate", "none")
        given = "is host b's from now on"
        before = self.a.log().count(given)
        move = Moved(self.a, self.b, "postcopy")
        wait_for(lambda: self.a.log().count(given) > before, "host a to give the VM away")
        os.kill(self.qemu(self.b), signal.SIGKILL)
        self.assertIn("cannot run VM m, which goes on here", str(self.check_taken_back(move)["error"]))

    def test_what_fails_before_the_commit_leaves_the_vm_where_it_was(self):
        self.through((self.cut_before_the_switch, True),
                     (self.targets_qemu_killed_before_the_switch, True),
                     (self.targets_daemon_killed_before_the_switch, True),
                     (self.sources_daemon_killed_before_the_switch, False),
                     (self.targets_qemu_killed_amid_the_switch, False),
                     (self.targets_daemon_killed_amid_the_switch, True),
                     (self.cut_amid_the_switch, True),
                     (self.sources_daemon_killed_amid_the_switch, False),
                     (self.given_to_a_host_that_cannot_run_it, True))
        self.check_runs_only_on(self.a, self.b)

    def check_gone(self, move):
        seen = move.end()
        self.assertEqual(seen["state"], "failed", seen)
        self.assertIn("start it again", str(seen["error"]))
        wait_for(lambda: self.state(self.a) in ("stopped", "failed"), "host a to see that the VM ended")
        wait_for(lambda: self.state(self.b) == "absent", "host b to let go of the VM")
        self.assertEqual(self.beats(self.b), [])

    @unless_all
    def test_the_sources_qemu_killed_before_the_commit(self):
        """The guest is lost, as by a power cut, and can be started where it was."""
        move = self.start_precopy()
        os.kill(self.qemu(self.a), signal.SIGKILL)
        self.check_gone(move)
        self.run_vm(self.a)
        wait_for(lambda: self.state(self.a) == "running", "host a to run it again")
        self.wait_for_beat(self.a, 2)
        move = self.start_going_over()
        os.kill(self.qemu(self.a), signal.SIGKILL)
        self.check_gone(move)

    # -- after it: the VM goes on there

    def run_there(self, source=None, target=None):
        """Starts a post-copy and waits until the guest runs at the target with most of its memory still here."""
        self.set_link(*LINK)
        source, target = source or self.a, target or self.b
        move = Moved(source, target, "postcopy")
        self.assertTrue(move.wait_for([f"runs on {target.name}"]), move.seen())
        return move

    def speed_up(self):
        """What was to happen amid the migration has: the rest need not take long."""
        self.set_link("--rate", "none")

    def check_arrived(self, source, target, move=None):
        if move:
            seen = move.end()
            self.assertEqual(seen["state"], "succeeded", seen)
        wait_for(lambda: self.state(source) == "moved", "the migration to go on to its end", 240)
        wait_for(lambda: self.state(target) == "running", "the other host to have all of the VM")
        self.check_runs_only_on(target, source, 2)

    def cut_for_long_in_postcopy(self):
        move = self.run_there()
        self.lab.cut()
        self.assertTrue(move.wait_for(["is cut"]), move.seen())
        self.lab.heal()
        self.speed_up()
        self.check_arrived(self.a, self.b, move)

    def sources_daemon_killed_in_postcopy(self):
        self.run_there(self.b, self.a)
        self.b.kill()
        self.b.start()
        self.speed_up()
        self.check_arrived(self.b, self.a)

    def targets_daemon_killed_in_postcopy(self):
        move = self.run_there()
        self.b.kill()
        self.b.start()
        self.speed_up()
        self.check_arrived(self.a, self.b, move)

    def cut_twice_in_postcopy(self):
        move = self.run_there(self.b, self.a)
        for _ in range(2):
            self.lab.cut()
            time.sleep(2)
            self.lab.heal()
            move.wait_for(["runs on a"])
        self.speed_up()
        self.check_arrived(self.b, self.a, move)

    def sources_qemu_killed_in_postcopy(self):
        """Memory that was only there is lost, and that is said."""
        move = self.run_there()
        os.kill(self.qemu(self.a), signal.SIGKILL)
        wait_for(lambda: self.state(self.b) == "stopped", "host b to end what cannot go on")
        self.check_lost(move)

    def test_what_fails_after_the_commit_goes_on_there(self):
        """So do its clients' connections."""
        talk = subprocess.Popen(self.b.command(sys.executable, "-c", TALK, ADDRESS), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(talk.kill)
        mac = self.vm(self.a)["mac"]
        self.through((self.cut_for_long_in_postcopy, False),
                     (self.sources_daemon_killed_in_postcopy, False),
                     (self.targets_daemon_killed_in_postcopy, True),
                     (self.cut_twice_in_postcopy, True))
        self.assertEqual(self.vm(self.a)["mac"], mac)
        self.check_runs_only_on(self.a, self.b)
        output, errors = talk.communicate("end\n", timeout=60)
        self.assertEqual(talk.returncode, 0, errors)
        self.assertGreater(int(output), 10)
        self.through((self.sources_qemu_killed_in_postcopy, False))

    def check_lost(self, move):
        """The guest is lost, as by a power cut; its disk is not: it starts again there, and the rest of the disk comes."""
        self.assertIn("start it again", self.vm(self.b)["detail"])
        self.assertNotIn(self.state(self.a), ("running", "stopped"))
        refused = self.a.cli("vm", "run", "m", check=False)
        self.assertNotEqual(refused.returncode, 0)
        last, starts = self.last_beat(self.a), self.console(self.b).count("GUEST-UP")
        self.run_vm(self.b)
        wait_for(lambda: self.console(self.b).count("GUEST-UP") > starts, "the guest to start again", 180)
        wait_for(lambda: not self.vm(self.b)["peer"], "the rest of the disk to come", 60)
        self.assertEqual((self.state(self.a), self.state(self.b)), ("moved", "running"))
        self.assertEqual(self.last_beat(self.a), last)
        seen = move.end()
        self.assertEqual(seen["state"], "failed", seen)
        self.assertIn("lost", str(seen["error"]))

    @unless_all
    def test_the_targets_qemu_killed_in_postcopy(self):
        move = self.run_there()
        os.kill(self.qemu(self.b), signal.SIGKILL)
        wait_for(lambda: self.state(self.b) == "stopped", "host b to see that the VM ended")
        self.check_lost(move)


if __name__ == "__main__":
    two_hosts.skip_unless_possible()
    unittest.main(verbosity=2)
