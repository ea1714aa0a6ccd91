#!/usr/bin/env python3
"""Three forerunds on a real etcd of three members: who is there, who leads, and that nothing of the data plane depends on
it: with etcd away disks are served, and VMs begin and end."""
import os
import shutil
import signal
import sys
import time

import etcd

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import lab  # noqa: E402

LEASE_SECONDS = 3


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.1)
    return found


def config(name, cluster):
    endpoints = ", ".join(f'"{url}"' for url in cluster.endpoints)
    return (f'[cluster]\nstore = "etcd"\nhost = "{name}"\nzone = "z-{name}"\naddress = "127.0.0.1:7070"\n'
            f'labels = ["rack={name}1"]\nlease_seconds = {LEASE_SECONDS}\nendpoints = [{endpoints}]\n')


def cluster_of(daemon):
    return daemon.get("/api/v1/cluster")


def leases(daemon):
    return {host["name"]: host["lease"] for host in daemon.get("/api/v1/hosts")["items"]}


def leader_of(daemons):
    leading = [daemon for daemon in daemons if cluster_of(daemon)["is_leader"]]
    assert len(leading) <= 1, "two hosts lead"
    return leading[0] if leading else None


def check_registration(daemons):
    names = {"a": "alive", "b": "alive", "c": "alive"}
    for daemon in daemons:
        wait_for(lambda daemon=daemon: leases(daemon) == names, "all hosts to be seen by all")
    leader = wait_for(lambda: leader_of(daemons), "a leader")
    token = cluster_of(leader)["leader_token"]
    for daemon in daemons:
        wait_for(lambda daemon=daemon: cluster_of(daemon)["leader"] == cluster_of(leader)["host"], "all to know the leader")
        wait_for(lambda daemon=daemon: cluster_of(daemon)["fence_token"] == token, "all to fence off earlier leaders")
    host = next(each for each in daemons[0].get("/api/v1/hosts")["items"] if each["name"] == "b")
    assert host["zone"] == "z-b" and host["labels"] == ["rack=b1"] and host["address"] == "127.0.0.1:7070", host
    assert host["cpus"] >= 1 and host["memory_bytes"] > 1 << 20, host
    assert "z-c" in daemons[0].cli("host", "list").stdout
    status = daemons[1].cli("cluster", "status").stdout
    assert "kept in etcd" in status and "3 known, 3 with a lease" in status, status
    return leader


def check_replacement(daemons, leader):
    """The leader is stopped and woken: another leads with a larger token, which all remember, and never both."""
    token = cluster_of(leader)["leader_token"]
    others = [daemon for daemon in daemons if daemon is not leader]
    leader.process.send_signal(signal.SIGSTOP)
    successor = wait_for(lambda: leader_of(others), "another leader")
    newer = cluster_of(successor)["leader_token"]
    assert newer > token
    leader.process.send_signal(signal.SIGCONT)
    assert not cluster_of(leader)["is_leader"], "a leader that slept through its lease still leads"
    wait_for(lambda: cluster_of(leader)["registered"], "the woken host to register anew")
    for daemon in daemons:
        wait_for(lambda daemon=daemon: cluster_of(daemon)["fence_token"] >= newer, "the newer token to be remembered")
    assert leader_of(daemons) is successor
    return successor


def check_departure(daemons, leader):
    """A host that is stopped orderly hands over at once; one that is killed is noticed when its lease ends."""
    others = [daemon for daemon in daemons if daemon is not leader]
    gone = cluster_of(leader)["host"]
    leader.stop()
    successor = wait_for(lambda: leader_of(others), "another leader")
    assert leases(successor)[gone] == "ended"
    refused = successor.cli("host", "forget", cluster_of(successor)["host"], check=False)
    assert refused.returncode == 5, refused
    successor.cli("host", "forget", gone)
    assert gone not in leases(successor)
    leader.start()
    wait_for(lambda: leases(successor).get(gone) == "alive", "the host that comes back")
    last = next(daemon for daemon in others if daemon is not successor)
    name = cluster_of(last)["host"]
    last.kill()
    wait_for(lambda: leases(successor)[name] == "ended", "the killed host's lease to end")
    last.start()
    wait_for(lambda: leases(successor)[name] == "alive", "the killed host to come back")


def check_without_etcd(daemons, cluster):
    """All of etcd is killed. Disks are read, VMs begin and end, the API answers; nobody leads."""
    one = daemons[0]
    token = max(cluster_of(daemon)["fence_token"] for daemon in daemons)
    for member in range(3):
        cluster.kill(member)
    wait_for(lambda: all(cluster_of(daemon)["error"] for daemon in daemons), "the hosts to notice")
    lab.run("qemu-io", "-f", "raw", one.uri("steady"), "-c", "read -P 0x5a 0 64k", "-c", "write -P 0x77 64k 64k", "-c", "flush")
    one.cli("vm", "run", "later", "--image", "disk", "--disk-only")
    lab.run("qemu-io", "-f", "raw", one.uri("later"), "-c", "read -P 0x5a 1M 64k")
    one.cli("vm", "stop", "later")
    wait_for(lambda: leader_of(daemons) is None, "the leader to stop leading")
    status = one.cli("cluster", "status").stdout
    assert "does not answer" in status, status
    # A host that starts while etcd is away serves its VMs too.
    one.stop()
    one.start()
    lab.run("qemu-io", "-f", "raw", one.uri("steady"), "-c", "read -P 0x77 64k 64k")
    assert not cluster_of(one)["registered"]
    for member in range(3):
        cluster.start(member)
    leader = wait_for(lambda: leader_of(daemons), "a leader once etcd is back")
    assert cluster_of(leader)["leader_token"] >= token
    for daemon in daemons:
        wait_for(lambda daemon=daemon: set(leases(daemon).values()) == {"alive"}, "all hosts to be back")


def main():
    lack = etcd.missing() or next((f"{name} (Debian: qemu-utils)" for name in ("qemu-io",) if not shutil.which(name)), None)
    if lack:
        print(f"skipped: no {lack}")
        return 77
    cluster = etcd.Etcd()
    daemons = [lab.Daemon(config(name, cluster)) for name in "abc"]
    try:
        cluster.wait_until_writable()
        for daemon in daemons:
            daemon.start()
        disk = os.path.join(daemons[0].folder, "disk.raw")
        with open(disk, "wb") as out:
            out.write(b"\x5a" * (4 << 20))
        daemons[0].import_image(disk, "disk")
        daemons[0].cli("vm", "run", "steady", "--image", "disk", "--disk-only")
        leader = check_registration(daemons)
        print("registered; one leads", flush=True)
        leader = check_replacement(daemons, leader)
        print("a stopped leader was replaced", flush=True)
        check_departure(daemons, leader)
        print("hosts left, were forgotten and came back", flush=True)
        check_without_etcd(daemons, cluster)
        print("VMs went on without etcd", flush=True)
    except BaseException:
        for daemon in daemons:
            print(f"-- {daemon.folder}\n{daemon.log()[-3000:]}", file=sys.stderr)
        raise
    finally:
        for daemon in daemons:
            if daemon.process:
                daemon.process.send_signal(signal.SIGCONT)
            daemon.close()
        cluster.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
