#!/usr/bin/env python3
"""Three hosts of the lab, on each a forerund and a member of etcd. The leader's host is cut off: it stops leading and goes
on serving its disks, another leads with a larger token, and after healing all agree on that."""
import json
import os
import shutil
import subprocess
import sys

import etcd
from hosts_test import cluster_of, leader_of, leases, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import lab as one_host  # noqa: E402
from two_hosts import Lab  # noqa: E402

LEASE_SECONDS = 3


class Members:
    """A member of etcd in each host's network."""

    def __init__(self, lab):
        self.processes = []
        self.addresses = [host.address for host in lab.hosts]
        initial = ",".join(f"m{i}=http://{address}:2380" for i, address in enumerate(self.addresses))
        for i, (host, address) in enumerate(zip(lab.hosts, self.addresses)):
            command = host.command(
                "etcd", "--name", f"m{i}", "--data-dir", f"{lab.folder}/etcd-{i}",
                "--listen-peer-urls", f"http://{address}:2380", "--initial-advertise-peer-urls", f"http://{address}:2380",
                "--listen-client-urls", f"http://{address}:2379", "--advertise-client-urls", f"http://{address}:2379",
                "--initial-cluster", initial, "--initial-cluster-state", "new",
                "--pre-vote")  # a member that comes back does not make the others elect anew
            with open(f"{lab.folder}/etcd-{i}.log", "ab") as log:
                self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    @property
    def endpoints(self):
        return json.dumps([f"http://{address}:2379" for address in self.addresses])

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


def join_cluster(lab, members):
    for host in lab.hosts:
        with open(f"{lab.folder}/{host.name}/forerund.toml", "a", encoding="utf-8") as out:
            out.write(f'\n[cluster]\nstore = "etcd"\nhost = "{host.name}"\nlease_seconds = {LEASE_SECONDS}\n'
                      f"endpoints = {members.endpoints}\n")
        host.kill()
        host.start()
    for host in lab.hosts:
        wait_for(lambda host=host: leases(host) == {"a": "alive", "b": "alive", "c": "alive"}, "all hosts to be seen by all")


def read_disk(host, lab, pattern):
    uri = f"nbd+unix:///steady?socket={lab.folder}/{host.name}/run/nbd.sock"
    one_host.run("qemu-io", "-f", "raw", uri, "-c", f"read -P {pattern} 0 1M", "-c", f"write -P {pattern} 2M 64k", "-c", "flush")


def agreed_leader(hosts):
    """Returns (name, token) of the leader that all hosts know and that knows it is, or None."""
    told = {(view["leader"], view["leader_token"]) for view in map(cluster_of, hosts)}
    leading = leader_of(hosts)
    return next(iter(told)) if leading and {name for name, _ in told} == {leading.name} and len(told) == 1 else None


def check_partition(lab):
    leader = wait_for(lambda: leader_of(lab.hosts), "a leader")
    token = cluster_of(leader)["leader_token"]
    others = [host for host in lab.hosts if host is not leader]
    leader.cli("vm", "run", "steady", "--image", "disk", "--disk-only")
    for other in others:
        lab.link(leader, other, "--down")
    successor = wait_for(lambda: leader_of(others), "another leader on the larger side")
    newer = cluster_of(successor)["leader_token"]
    assert newer > token
    alone = cluster_of(leader)
    assert not alone["is_leader"], "the host that is cut off still leads"
    wait_for(lambda: cluster_of(leader)["error"], "the host that is cut off to say that the store does not answer")
    wait_for(lambda: leases(successor)[leader.name] == "ended", "its lease to end")
    read_disk(leader, lab, "0x5a")
    for other in others:
        lab.link(leader, other, "--up")
    wait_for(lambda: leases(successor)[leader.name] == "alive", "the healed host to come back")
    wait_for(lambda: cluster_of(leader)["fence_token"] >= newer, "the newer token to be remembered")
    name, last = wait_for(lambda: agreed_leader(lab.hosts), "one leader for all")
    assert last >= newer, f"token {last} came after {newer}"
    read_disk(leader, lab, "0x5a")
    print(f"{leader.name} ({token}) was cut off, {successor.name} ({newer}) led meanwhile, {name} ({last}) does after it")


def main():
    lack = etcd.missing() or next((name for name in ("qemu-io", "ip", "nsenter") if not shutil.which(name)), None)
    if not lack and (os.geteuid() != 0 or not os.path.exists("/dev/net/tun")):
        lack = "root or no /dev/net/tun"
    if lack:
        print(f"skipped: no {lack}")
        return 77
    with Lab(hosts=3, delay="500us") as lab:
        members = Members(lab)
        try:
            disk = os.path.join(lab.folder, "disk.raw")
            with open(disk, "wb") as out:
                out.write(b"\x5a" * (4 << 20))
            lab.a.cli("image", "import", disk, "--name", "disk")
            join_cluster(lab, members)
            check_partition(lab)
        finally:
            members.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
