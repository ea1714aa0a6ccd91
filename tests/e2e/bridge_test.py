#!/usr/bin/env python3
"""VMs on the lab's network: reached from every host, and found again where they run next."""
import subprocess
import sys
import unittest

import net_guest
import two_hosts
from net_guest import ADDRESS
from two_hosts import Lab, wait_for

FETCH = """
import sys, urllib.request
print(urllib.request.urlopen(f"http://{sys.argv[1]}/", timeout=3).read().decode(), end="")
"""


def page_seen_from(host, address=ADDRESS):
    done = subprocess.run(host.command(sys.executable, "-c", FETCH, address), capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def devices(host):
    return subprocess.run(host.command("ip", "-o", "link"), capture_output=True, text=True, check=True).stdout


class BridgeTest(net_guest.NetGuestTest):
    def run_vm(self, host, *more, check=True):
        return self.run_guest(host, "web", "--image", "tiny", *more, check=check)

    def test_a_vm_is_reached_from_every_host_and_keeps_its_address(self):
        with Lab(delay="2ms") as lab:
            lab.a.cli("image", "import", self.disk, "--name", "tiny")
            self.run_vm(lab.a, "--network", "bridge")
            vm = lab.a.get("/api/v1/vms/web")
            self.assertEqual(vm["bridge"], "br0")
            self.assertRegex(vm["mac"], r"^06(:[0-9a-f]{2}){5}$")
            self.assertIn(vm["mac"], lab.a.cli("vm", "show", "web").stdout)
            for host in lab.hosts:
                wait_for(lambda host=host: page_seen_from(host) == f"served by {ADDRESS}/24\n", "the guest's page", 120)
            self.assertIn("master br0", next(line for line in devices(lab.a).splitlines() if ": vm" in line))

            lab.a.cli("vm", "stop", "web", "--force")
            self.assertNotIn(": vm", devices(lab.a))
            self.run_vm(lab.a, "--network", "bridge")
            self.assertEqual(lab.a.get("/api/v1/vms/web")["mac"], vm["mac"])
            lab.a.cli("vm", "stop", "web", "--force")

            # Elsewhere, with the same address: the switch and the bridges learn where it is now.
            self.run_vm(lab.b, "--network", "bridge", "--mac", vm["mac"])
            for host in lab.hosts:
                wait_for(lambda host=host: page_seen_from(host) is not None, "the guest's page from elsewhere", 120)
            qemu = lab.b.get("/api/v1/vms/web")["pid"]
            lab.down()
            self.assertFalse(two_hosts.is_running(qemu))

    def test_a_forwarded_port_follows_the_vm(self):
        with Lab(delay="2ms") as lab:
            lab.a.cli("image", "import", self.disk, "--name", "tiny")
            inside = "10.0.2.15"
            self.run_guest(lab.a, "web", "--image", "tiny", "--forward", "tcp:8080:80", address=inside)
            port, page = "127.0.0.1:8080", f"served by {inside}/24\n"
            wait_for(lambda: page_seen_from(lab.a, port) == page, "the guest's page", 120)
            self.assertIsNone(page_seen_from(lab.b, port))
            lab.a.cli("vm", "migrate", "web", "--to", "b", "--mode", "precopy", "--max-downtime", "3s")
            for host in lab.hosts:
                wait_for(lambda host=host: page_seen_from(host, port) == page, f"the page from host {host.name}")
            lab.a.kill()
            lab.a.start()
            wait_for(lambda: page_seen_from(lab.a, port) == page, "the page through a daemon that was started again")
            lab.b.cli("vm", "migrate", "web", "--to", "a", "--mode", "hybrid")
            for host in lab.hosts:
                wait_for(lambda host=host: page_seen_from(host, port) == page, f"the page from host {host.name}, back")
            lab.b.cli("vm", "rm", "web")
            self.assertIsNone(page_seen_from(lab.b, port))
            self.assertEqual(page_seen_from(lab.a, port), page)

    def test_what_cannot_be_is_refused(self):
        with Lab() as lab:
            lab.a.cli("image", "import", self.disk, "--name", "tiny")
            for flags, words in ((["--network", "bridge=nope"], "no bridge nope"), (["--network", "token-ring"], "is no network"),
                                 (["--network", "bridge=lo"], "no bridge lo"),
                                 (["--network", "bridge=../x"], "no name for a bridge"),
                                 (["--network", "bridge", "--mac", "01:00:00:00:00:01"], "no address for a network device"),
                                 (["--network", "bridge", "--forward", "tcp:8080:80"], "user network")):
                done = self.run_vm(lab.a, *flags, check=False)
                self.assertNotEqual(done.returncode, 0, flags)
                self.assertIn(words, done.stderr, flags)
            self.assertEqual(lab.a.get("/api/v1/vms")["items"], [])


if __name__ == "__main__":
    two_hosts.skip_unless_possible()
    unittest.main(verbosity=2)
