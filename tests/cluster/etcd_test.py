#!/usr/bin/env python3
"""The contract of StateStore on a real etcd of three members: plain, over TLS, and after its leader was killed."""
import os
import subprocess
import sys

import etcd

CONTRACT = os.environ["ETCD_CONTRACT_TEST"]


def contract(cluster, endpoints, filter_="*"):
    environment = dict(os.environ, ETCD_ENDPOINTS=",".join(endpoints))
    if cluster.tls_dir:
        environment["ETCD_TLS_DIR"] = cluster.tls_dir
    done = subprocess.run([CONTRACT, "--gtest_brief=1", f"--gtest_filter={filter_}"], env=environment, check=False)
    assert done.returncode == 0, f"the contract does not hold on {endpoints}"


def main():
    if lack := etcd.missing():
        print(f"skipped: no {lack}")
        return 77
    plain = etcd.Etcd()
    try:
        plain.wait_until_writable()
        print("all of it, over the first member", flush=True)
        contract(plain, plain.endpoints)
        leader = plain.leader()
        plain.kill(leader)
        # The dead one is asked first.
        order = plain.endpoints[leader:] + plain.endpoints[:leader]
        plain.wait_until_writable((leader + 1) % 3)
        print(f"without the killed leader {leader}, which is asked first", flush=True)
        contract(plain, order, "-*Lease*:*Page*")
    finally:
        plain.close()
    secure = etcd.Etcd(size=1, tls=True)
    try:
        secure.wait_until_writable()
        print("over TLS, with certificates on both sides", flush=True)
        contract(secure, secure.endpoints, "-*Lease*:*Page*")
        refused = subprocess.run([CONTRACT, "--gtest_brief=1", "--gtest_filter=*HasNothing*"], check=False,
                                 capture_output=True, env=dict(os.environ, ETCD_ENDPOINTS=secure.endpoints[0]))
        assert refused.returncode != 0, "https without certificates must not work"
    finally:
        secure.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
