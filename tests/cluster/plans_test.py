#!/usr/bin/env python3
"""Three forerunds on a real etcd of three members, none of which has another in its configuration: they find each other by
the cluster's registry, plan by one policy, and the leader moves the VMs of a drained host. It is killed amid that: the next
one goes on, and moves nothing twice."""
import base64
import json
import os
import shutil
import sys
import tempfile

import etcd
from hosts_test import cluster_of, leader_of, leases, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import lab  # noqa: E402
from migrate_test import free_port, make_certificates  # noqa: E402

LEASE_SECONDS = 3
NAMES = "abc"
VMS = [f"v{i}" for i in range(4)]
TICK = 10
SIZE = {"hosts": ["*"], "cores": 8, "memory_bytes": 1 << 30}
RULES = {"tick_seconds": TICK, "horizon_seconds": 60,
         "rules": [{"kind": "never", "name": "not on a", "vms": ["v*"], "hosts": ["a"]}],
         "host_settings": [SIZE, {"hosts": ["c"], "drained": True}]}


def config(name, cluster, shared, repository):
    endpoints = ", ".join(f'"{url}"' for url in cluster.endpoints)
    return (f'[[repository]]\npath = "{repository}"\n[tier]\nmemory_bytes = 16777216\nfile_bytes = 67108864\n'
            f'[migration]\nlisten = "127.0.0.1:{free_port()}"\ncertificate = "{shared}/{name}.pem"\n'
            f'key = "{shared}/{name}.key"\nca = "{shared}/ca.pem"\n'
            f'[cluster]\nstore = "etcd"\nhost = "{name}"\nlease_seconds = {LEASE_SECONDS}\nendpoints = [{endpoints}]\n')


def kept(cluster, prefix):
    """Returns what stands in the store under a prefix: {key: (document, token)}."""
    def encode(text):
        return base64.b64encode(text.encode()).decode()
    whole = f"forerun/default/{prefix}"
    found = cluster.ask(0, "/v3/kv/range", {"key": encode(whole), "range_end": encode(whole[:-1] + chr(ord(whole[-1]) + 1))})
    result = {}
    for pair in found.get("kvs", []):
        value = json.loads(base64.b64decode(pair["value"]))
        result[base64.b64decode(pair["key"]).decode()[len(whole):]] = (value["document"], value["token"])
    return result


def plan_of(daemon):
    shown = json.loads(daemon.cli("plan", "show", "-o", "json").stdout)
    return [(move["vm"], move["from"], move["to"], move["reason"]) for move in shown["moves"]], shown


def state(daemon, vm):
    try:
        return daemon.get(f"/api/v1/vms/{vm}")["state"]
    except lab.Failed:
        return "none"


def moves(daemon):
    return daemon.get("/api/v1/plan/moves")["items"]


def check_registry(hosts):
    for name, daemon in hosts.items():
        wait_for(lambda daemon=daemon: leases(daemon) == {each: "alive" for each in NAMES}, "all hosts to be seen by all")
        others = [each for each in NAMES if each != name]

        def reached(daemon=daemon, others=others):
            return all(host["reachable"] for host in daemon.get("/api/v1/hosts")["items"] if host["name"] in others)
        wait_for(reached, "all hosts to reach each other by the registry")


def check_policy(hosts, shared):
    """Said to one host, the policy is all hosts', and so is the plan."""
    path = os.path.join(shared, "rules.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump(RULES, out)
    hosts["b"].cli("policy", "load", path)
    plans = {name: plan_of(daemon)[0] for name, daemon in hosts.items()}
    expected = [(vm, "c", "b", "drain") for vm in VMS]
    assert all(sorted(plan) == expected for plan in plans.values()), plans
    assert plans["a"] == plans["b"] == plans["c"], plans
    for daemon in hosts.values():
        policy = daemon.get("/api/v1/plan/policy")
        assert policy["mode"] == "off" and policy["planner"] == "a" and policy["rules"] == RULES, policy
    refused = hosts["b"].cli("plan", "apply", check=False)
    assert "host a leads the cluster" in refused.stderr, refused
    document, token = kept(cluster=hosts["a"].cluster, prefix="policies/")["planner"]
    assert document["rules"] == RULES and token == 0, document


def check_kill(hosts, cluster):
    """The leader is killed after its first move."""
    first = cluster_of(hosts["a"])["leader_token"]
    hosts["c"].cli("policy", "set", "auto")
    wait_for(lambda: any(state(hosts["c"], vm) == "moved" for vm in VMS), "a first move")
    hosts["a"].kill()
    assert kept(cluster, "memory/")["moves"][1] == first
    rest = [hosts["b"], hosts["c"]]
    successor = wait_for(lambda: leader_of(rest), "another leader")
    second = cluster_of(successor)["leader_token"]
    assert second > first
    wait_for(lambda: all(state(hosts["b"], vm) == "running" for vm in VMS), "all VMs to have moved", 120)
    # Asked to look again, it sees what became of the move that its predecessor did not see end.
    hosts["c"].cli("policy", "set", "auto")
    wait_for(lambda: all(move["state"] == "done" for move in moves(successor)), "all moves to be settled")
    assert sorted(move["vm"] for move in moves(successor)) == VMS, moves(successor)
    assert {(move["from"], move["to"], move["reason"]) for move in moves(successor)} == {("c", "b", "drain")}
    wait_for(lambda: {vm: document for vm, (document, _) in kept(cluster, "placements/").items()}
             == {vm: {"host": "b"} for vm in VMS}, "the store to say where VMs are")
    tokens = {token for _, token in kept(cluster, "placements/").values()}
    assert tokens <= {first, second} and second in tokens, (tokens, first, second)
    assert kept(cluster, "plan")[""][1] in (first, second)
    return successor


def check_return(hosts, successor):
    """The one that was killed comes back, knows what was done, and nothing more is."""
    plan, shown = plan_of(successor)
    assert plan == [] and any("host a is left out" in note for note in shown["notes"]), shown
    hosts["a"].start()
    wait_for(lambda: leases(successor)["a"] == "alive", "the killed host to come back")
    for daemon in hosts.values():
        assert plan_of(daemon)[0] == []
        assert sorted(move["vm"] for move in moves(daemon)) == VMS
        policy = daemon.get("/api/v1/plan/policy")
        assert policy["mode"] == "auto" and policy["planner"] == cluster_of(successor)["host"], policy
    assert "c -> b (drain): done" in hosts["a"].cli("explain", "vm", "v0").stdout


def run(cluster, hosts, shared):
    hosts["a"].start()
    wait_for(lambda: leader_of([hosts["a"]]), "host a to lead")
    hosts["b"].start()
    hosts["c"].start()
    disk = os.path.join(shared, "disk.raw")
    lab.run("truncate", "-s", "4M", disk)
    hosts["a"].import_image(disk, "empty")
    for vm in VMS:  # nothing boots there: a guest that waits
        hosts["c"].cli("vm", "run", vm, "--image", "empty", "--memory", "64M")
    check_registry(hosts)
    print("hosts reach each other by the registry", flush=True)
    check_policy(hosts, shared)
    print("one policy, one plan", flush=True)
    successor = check_kill(hosts, cluster)
    print("the leader was killed amid the plan, the next one carried it out", flush=True)
    check_return(hosts, successor)
    print("nothing was moved twice", flush=True)


def main():
    lack = etcd.missing() or next((name for name in ("qemu-system-x86_64",) if not shutil.which(name)), None)
    if lack:
        print(f"skipped: no {lack}")
        return 77
    shared = tempfile.mkdtemp(prefix="forerun-plans-")
    cluster = etcd.Etcd()
    hosts = {name: lab.Daemon() for name in NAMES}
    repository = os.path.join(shared, "repository")
    try:
        make_certificates(shared, NAMES)
        for name, daemon in hosts.items():
            daemon.config = config(name, cluster, shared, repository)
            daemon.cluster = cluster
        cluster.wait_until_writable()
        run(cluster, hosts, shared)
        hosts["b"].cli("policy", "set", "off")
    except BaseException:
        for name, daemon in hosts.items():
            print(f"-- {name}\n{daemon.log()[-4000:]}", file=sys.stderr)
        raise
    finally:
        for daemon in hosts.values():
            if daemon.process and daemon.process.poll() is not None and os.path.exists(daemon.state_dir):
                daemon.start()  # to end its VMs
            daemon.close()
        cluster.close()
        shutil.rmtree(shared, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
