#!/usr/bin/python3
"""What a client of a pulled disk waits for, in real time: Forerun's pull, with and without foresight, against QEMU's way
(qemu-storage-daemon: a qcow2 over NBD, copy-on-read, and block-stream as the background), over the same slow link. The
client reads 16 KiB in a loop, with 1 ms between, during the pull and for a while after it. Writes JSON."""
import argparse
import json
import os
import random
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import nbd

BLOCK, READ_BLOCKS = 4096, 4
THINK_SECONDS, AFTER_SECONDS, PULL_SECONDS_MAX = 0.001, 3, 60
WAYS = ("forerun", "forerun_background", "qemu")
PATTERNS = ("sequential", "strided", "working_set", "chain", "random")


class Pattern:
    """The same as pull_bench's."""

    def __init__(self, name, blocks, seed):
        self.name, self.places, self.count = name, blocks - READ_BLOCKS, 0
        self.random = random.Random(seed)
        hot = random.Random(seed + 1)
        self.hot = [hot.randrange(self.places) for _ in range(500)]

    def next(self):
        i = self.count
        self.count += 1
        if self.name == "sequential":
            return i * READ_BLOCKS % self.places
        if self.name == "strided":
            return i * 37 % self.places
        if self.name == "working_set":
            return self.random.choice(self.hot)
        if self.name == "chain":
            return self.hot[i % 400]
        return self.random.randrange(self.places)


def line_of(child, word):
    while line := child.stdout.readline().decode():
        if line.startswith(word):
            return line[len(word):].strip()
    raise SystemExit(f"{child.args[0]} ended before it said {word!r}")


def stop(child):
    if child.stdin:
        child.stdin.close()
    else:
        child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Link:
    def __init__(self, programs, to, link):
        self.child = subprocess.Popen([os.path.join(programs, "forerun-link"), "--listen", "127.0.0.1:0", "--to",
                                       f"127.0.0.1:{to}", "--rate", link["rate"], "--delay", link["delay"]],
                                      stdout=subprocess.PIPE, bufsize=0)
        self.port = int(line_of(self.child, "ready "))


class Forerun:
    def __init__(self, options, folder, disk, before, link, way):
        self.socket = os.path.join(folder, "nbd.sock")
        log = os.path.join(folder, "before")
        with open(log, "w", encoding="ascii") as out:
            out.writelines(f"{block} {READ_BLOCKS}\n" for block in before)
        self.child = subprocess.Popen([os.path.join(options.programs, "pull_server"), "--folder", folder, "--disk", disk, "--socket",
                                       self.socket, "--before", log, "--way", way],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.link = Link(options.programs, line_of(self.child, "source "), link)
        self.child.stdin.write(f"{self.link.port}\n".encode())
        line_of(self.child, "serving")
        self.said = b""

    def is_done(self):
        if select.select([self.child.stdout], [], [], 0)[0]:
            self.said += os.read(self.child.stdout.fileno(), 64)
        return b"pulled" in self.said

    def close(self):
        stop(self.child)
        stop(self.link.child)


class Qemu:
    def __init__(self, options, folder, disk, before, link, way):
        del before, way
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.source = subprocess.Popen(["qemu-nbd", "-t", "-r", "-f", "raw", "-b", "127.0.0.1", "-p", str(port), "-e", "16", disk])
        time.sleep(0.5)
        self.link = Link(options.programs, port, link)
        own = os.path.join(folder, "own.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", own, str(os.path.getsize(disk))], check=True)
        self.socket, monitor = os.path.join(folder, "nbd.sock"), os.path.join(folder, "qmp.sock")
        self.target = subprocess.Popen(
            ["qemu-storage-daemon",
             "--blockdev", f"driver=nbd,node-name=far,read-only=on,server.type=inet,server.host=127.0.0.1,server.port={self.link.port}",
             "--blockdev", f"driver=file,node-name=file,filename={own}",
             "--blockdev", "driver=qcow2,node-name=own,file=file,backing=far",
             "--blockdev", "driver=copy-on-read,node-name=disk,file=own",
             "--nbd-server", f"addr.type=unix,addr.path={self.socket}", "--export", "type=nbd,id=e,node-name=disk,name=",
             "--chardev", f"socket,id=m,path={monitor},server=on,wait=off", "--monitor", "chardev=m"])
        deadline = time.monotonic() + 10
        while not (os.path.exists(monitor) and os.path.exists(self.socket)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.qmp = socket.socket(socket.AF_UNIX)
        self.qmp.connect(monitor)
        self.answers = self.qmp.makefile("r", encoding="utf-8")
        self.answers.readline()
        self.ask("qmp_capabilities")
        self.ask("block-stream", device="disk", **{"job-id": "pull"})

    def ask(self, command, **arguments):
        self.qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self.answers.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise SystemExit(f"qemu-storage-daemon: {answer['error']['desc']}")

    def is_done(self):
        return not self.ask("query-block-jobs")

    def close(self):
        stop(self.target)
        stop(self.link.child)
        stop(self.source)


def measure(pulled, pattern):
    client = nbd.NBD()
    client.connect_unix(pulled.socket)
    during, after, begin, end, looked = [], [], time.monotonic(), None, 0
    while True:
        block = pattern.next()
        asked = time.monotonic()
        client.pread(READ_BLOCKS * BLOCK, block * BLOCK)
        now = time.monotonic()
        (during if end is None else after).append((now - asked) * 1e3)
        if end is None and now - looked > 0.05:
            looked = now
            if pulled.is_done() or now - begin > PULL_SECONDS_MAX:
                end = now
        if end is not None and now - end > AFTER_SECONDS:
            break
        time.sleep(THINK_SECONDS)
    client.shutdown()
    at = lambda values, p: sorted(values)[min(len(values) - 1, int(p * len(values)))]
    seconds = end - begin
    return {"pull_s": seconds, "reads": len(during), "reads_per_s": len(during) / seconds,
            "after_reads_per_s": len(after) / AFTER_SECONDS,
            "p50_ms": at(during, 0.5), "p90_ms": at(during, 0.9), "p99_ms": at(during, 0.99), "mean_ms": statistics.mean(during),
            "second_half_p99_ms": at(during[len(during) // 2:], 0.99), "after_p50_ms": at(after, 0.5), "after_p99_ms": at(after, 0.99)}


def run(options, disk, link, name, way, seed):
    folder = tempfile.mkdtemp(prefix="forerun-pull-")
    pattern = Pattern(name, options.mib << 8, seed)
    before = [pattern.next() for _ in range(options.before)]
    kind = Qemu if way == "qemu" else Forerun
    try:
        pulled = kind(options, folder, disk, before, link, "foreseen" if way == "forerun" else "background")
        try:
            return measure(pulled, pattern)
        finally:
            pulled.close()
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--out", required=True, help="the JSON of pull_bench, to which this is added as \"real\"")
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--before", type=int, default=2000, help="requests that the client made before it moved")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", default="200mbit")
    parser.add_argument("--delay", default="2ms")
    options = parser.parse_args()
    link = {"rate": options.rate, "delay": options.delay}
    results = {}
    with tempfile.NamedTemporaryFile(prefix="forerun-pull-") as disk:
        for _ in range(options.mib):
            disk.write(os.urandom(1 << 20))
        disk.flush()
        for seed in range(1, options.runs + 1):
            for name in PATTERNS:
                for way in WAYS:   # they alternate
                    results.setdefault(name, {}).setdefault(way, []).append(run(options, disk.name, link, name, way, seed))
                    print(name, way, json.dumps({key: round(value, 2) for key, value in results[name][way][-1].items()}), file=sys.stderr)
    medians = {name: {way: {field: statistics.median(run[field] for run in runs) for field in runs[0]} for way, runs in ways.items()}
               for name, ways in results.items()}
    whole = {}
    if os.path.exists(options.out):
        with open(options.out, encoding="utf-8") as file:
            whole = json.load(file)
    whole["real"] = {"link": link, "disk_bytes": options.mib << 20, "runs": options.runs, "medians": medians, "all": results}
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(whole, file)
        file.write("\n")


if __name__ == "__main__":
    main()
