#!/usr/bin/env python3
"""A leader that is stopped (SIGSTOP), replaced and woken is fenced by a real etcd of three members, whose own leader is
killed meanwhile: whatever it writes without looking whether it leads, nothing of it comes after its successor's token."""
import os
import signal
import subprocess
import sys
import threading
import time

import etcd

LEADER = os.environ["CLUSTER_LEADER"]
LEASE_SECONDS = 3
TRIALS = 3


class Host:
    def __init__(self, name, endpoints):
        self.name = name
        self.lines = []
        self.process = subprocess.Popen([LEADER, name, str(LEASE_SECONDS)], stdout=subprocess.PIPE, text=True,
                                        env=dict(os.environ, ETCD_ENDPOINTS=",".join(endpoints)))
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.split())

    def tokens(self):
        return [int(line[1]) for line in list(self.lines) if line[0] == "leads"]

    def writes(self):
        return [(int(line[1]), int(line[2])) for line in list(self.lines) if line[0] == "wrote"]

    def refusals(self):
        return [int(line[1]) for line in list(self.lines) if line[0] == "refused"]

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.reader.join()


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
    return found


def leader_of(hosts, above=0):
    """Returns (host, token) of the newest leader with a larger token than `above` that has written, or None."""
    led = [(host.tokens()[-1], host) for host in hosts if host.tokens()]
    if not led:
        return None
    token, host = max(led, key=lambda each: each[0])
    return (host, token) if token > above and any(by == token for by, _ in host.writes()) else None


def check_fence(hosts):
    tokens = sorted({token for host in hosts for token in host.tokens()})
    following = dict(zip(tokens, tokens[1:]))
    count = 0
    for host in hosts:
        for token, revision in host.writes():
            count += 1
            assert token < revision < following.get(token, sys.maxsize), \
                f"{host.name} wrote revision {revision} under token {token}, after {following.get(token)} had won"
    return len(tokens), count


def main():
    if lack := etcd.missing():
        print(f"skipped: no {lack}")
        return 77
    cluster = etcd.Etcd()
    hosts = []
    try:
        cluster.wait_until_writable()
        hosts = [Host(name, cluster.endpoints) for name in ("h1", "h2", "h3")]
        stopped, token = wait_for(lambda: leader_of(hosts), "a first leader")
        for trial in range(TRIALS):
            stopped.process.send_signal(signal.SIGSTOP)
            if trial == 1:
                dead = cluster.leader()
                cluster.kill(dead)
            others = [host for host in hosts if host is not stopped]
            successor, newer = wait_for(lambda: leader_of(others, token), "another leader")
            stopped.process.send_signal(signal.SIGCONT)
            wait_for(lambda: token in stopped.refusals(), f"{stopped.name} to be refused with token {token}")
            if trial == 1:
                cluster.start(dead)
            print(f"trial {trial}: {stopped.name} ({token}) was stopped, {successor.name} ({newer}) followed", flush=True)
            stopped, token = wait_for(lambda: leader_of(hosts, newer - 1), "a leader")
        tokens, writes = check_fence(hosts)
        assert tokens >= TRIALS + 1, tokens
        print(f"{writes} plans under {tokens} tokens, none after its token's end")
    finally:
        for host in hosts:
            host.close()
        cluster.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
