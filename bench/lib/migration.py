"""Two QEMUs and the relay between them: one guest moved once, in one of several ways, and what it took."""

import json
import math
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time

from . import children

# Not a multiple of 256 KiB: QEMU 7.2 under TCG loses guest writes in pre-copy otherwise (docs/migration_memory.md).
MEMORY_KIB = 262152
LINKS = {"200mbit-2ms": (200, 2), "100mbit-5ms": (100, 5)}
STOCK = ("stock_precopy", "stock_postcopy", "stock_hybrid")
# How the relay treats hot pages. `forerun` is what is chosen for a guest that fits the tables: no profile is needed.
FORERUN = {"forerun": "keep", "forerun_hold": "hold", "forerun_postcopy": "send", "forerun_precopy": "keep"}
# The longest downtime that pre-copy is allowed, at the least; QEMU alone does not converge with less on any of the patterns.
PRECOPY = {"stock_precopy": 2000, "forerun_precopy": 300}
PROFILED = ("forerun_hold", "forerun_postcopy")
MODES = STOCK + tuple(FORERUN)
PAGE = 4096


class Qmp:
    """A QMP connection; events are kept with the time at which QEMU says they happened."""

    def __init__(self, path, process):
        deadline = time.monotonic() + 30
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise children.Failure("QEMU does not answer", process.log) from None
                time.sleep(0.02)
        self.answers, self.events = queue.Queue(), []
        self.lock = threading.Lock()
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.ask("qmp_capabilities")

    def read(self):
        try:
            for line in self.file:
                answer = json.loads(line)
                if "event" in answer:
                    stamp = answer["timestamp"]
                    self.events.append((answer["event"], stamp["seconds"] + stamp["microseconds"] / 1e6, answer.get("data")))
                else:
                    self.answers.put(answer)
        except (OSError, ValueError):
            pass
        self.answers.put({"error": {"desc": "QEMU is gone"}})

    def ask(self, command, **arguments):
        with self.lock:
            self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self.file.flush()
            try:
                answer = self.answers.get(timeout=60)
            except queue.Empty:
                raise children.Failure(f"QEMU does not answer {command}") from None
        if "error" in answer:
            raise children.Failure(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def close(self):
        self.reader.join(5)
        self.file.close()
        self.socket.close()

    def event(self, name, state=None):
        """Returns when it last happened, or None."""
        times = [at for event, at, data in list(self.events) if event == name and (state is None or data.get("status") == state)]
        return times[-1] if times else None


class Qemu:
    def __init__(self, work, name, *more, memory_kib=MEMORY_KIB):
        self.console = os.path.join(work, name + ".console")
        children.remove(self.console)
        path = os.path.join(work, name + ".qmp")
        children.remove(path)
        self.process = children.start(
            [children.program("qemu-system-x86_64", "qemu-system-x86"), "-accel", "tcg", "-m", f"{memory_kib}K", "-nodefaults",
             "-no-user-config", "-display", "none", "-serial", f"file:{self.console}",
             "-qmp", f"unix:{path},server=on,wait=off", *more], os.path.join(work, name + ".log"))
        self.qmp = Qmp(path, self.process)

    def ask(self, command, **arguments):
        return self.qmp.ask(command, **arguments)

    def capabilities(self, **states):
        self.ask("migrate-set-capabilities",
                 capabilities=[{"capability": name.replace("_", "-"), "state": state} for name, state in states.items()])

    def wait_migrated(self, wanted=("completed",), timeout=120):
        deadline = time.monotonic() + timeout
        while True:
            answer = self.ask("query-migrate")
            if answer.get("status") in wanted:
                return answer
            if answer.get("status") in ("failed", "cancelled", "postcopy-paused") or time.monotonic() > deadline:
                raise children.Failure(f"the migration is {answer}", self.process.log)
            time.sleep(0.02)

    def console_bytes(self):
        return os.path.getsize(self.console) if os.path.exists(self.console) else 0

    def ticks(self, begin=0, end=None):
        """Returns the guest's reports between two sizes of its console."""
        with open(self.console, "rb") as file:
            text = file.read()[begin:end].decode("utf-8", "replace")
        lines = [line.split()[1:] for line in text.splitlines() if line.startswith("T ")]
        return [[float(line[0]), *map(int, line[1:])] for line in lines if len(line) == 27]

    def has_failed(self):
        with open(self.console, "rb") as file:
            return b"FAILED:" in file.read() or b"Kernel panic" in file.read()

    def memory(self, path, kib=MEMORY_KIB):
        self.ask("pmemsave", val=0, size=kib * 1024, filename=path)

    def close(self):
        children.stop(self.process)
        self.qmp.close()


def downtime_limit_ms(mode, link, set_mib):
    """Returns the downtime that a pre-copy is allowed: QEMU alone has to be allowed the time that the working set takes."""
    if mode != "stock_precopy":
        return PRECOPY.get(mode, 1)
    return max(PRECOPY[mode], int(1.5 * set_mib * 1024 * 1024 * 8 / (LINKS[link][0] * 1000)))


def save_guest(kernel, initrd, work, parameters, memory_kib=MEMORY_KIB):
    """Boots a guest until its memory is filled and it has run for a second; returns the file it is saved in."""
    append = f"console=ttyS0 mitigations=off transparent_hugepage=never nokaslr panic=1 quiet {parameters}"
    booted = Qemu(work, "boot", "-kernel", kernel, "-initrd", initrd, "-append", append, memory_kib=memory_kib)
    try:
        deadline = time.monotonic() + 240
        while booted.console_bytes() == 0 or len(booted.ticks()) < 2:
            if time.monotonic() > deadline or booted.process.poll() is not None or booted.has_failed():
                raise children.Failure("the guest does not run", booted.console)
            time.sleep(0.1)
        booted.ask("stop")
        saved = os.path.join(work, "saved")
        booted.ask("migrate", uri=f"exec:cat > {saved}")
        booted.wait_migrated()
        return saved
    finally:
        booted.close()


def percentile_us(classes, share):
    """Returns the upper bound, in microseconds, of the class of a histogram in which this share of requests has ended."""
    total, seen = sum(classes), 0
    for number, count in enumerate(classes):
        seen += count
        if total and seen >= share * total:
            return 2 << number
    return 0


class Relay:
    def __init__(self, bin_folder, work, arguments):
        self.process = subprocess.Popen([os.path.join(bin_folder, "migrate_relay"), *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.events = {}
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                said = json.loads(line)
                said["at"] = time.time()
                self.events[said["event"]] = said
                self.changed.notify_all()

    def wait(self, event, timeout=60):
        """Returns what it said of the first of these events that comes."""
        wanted = (event,) if isinstance(event, str) else event
        with self.changed:
            self.changed.wait_for(lambda: {*wanted, "error"} & self.events.keys(), timeout)
            for name in wanted:
                if name in self.events:
                    return self.events[name]
        raise children.Failure(f"the relay does not say {event}: {self.events}")

    def cut(self):
        """Cuts the connection; the next one is to the socket of --target-again."""
        self.process.stdin.write("cut\n")
        self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(5)
        self.process.stdin.close()
        self.process.stdout.close()


def move(mode, saved, work, link, bin_folder, memory_kib=MEMORY_KIB, hold_target=False, settle_s=1.5, set_mib=24):
    """Moves the saved guest once. Returns what it took; with `hold_target`, the target runs only once all is there, and both
    sides' memory is compared."""
    rate, delay = LINKS[link]
    folder = os.path.join(work, "run")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    paths = {name: os.path.join(folder, name) for name in ("profile", "source", "target")}
    relay = source = target = None
    try:
        source = Qemu(folder, "source", "-incoming", "defer", "-S", memory_kib=memory_kib)
        source.ask("migrate-incoming", uri=f"exec:cat {saved}")
        source.wait_migrated()
        target = Qemu(folder, "destination", "-incoming", "defer", "-S", memory_kib=memory_kib)
        is_post = mode not in PRECOPY
        target.capabilities(events=True, postcopy_ram=is_post, postcopy_blocktime=is_post)
        target.ask("migrate-incoming", uri=f"unix:{paths['target']}")
        needs_profile = mode in PROFILED
        relay = Relay(bin_folder, folder, [
            "--mode", FORERUN.get(mode, "raw"), "--source", paths["source"], "--target", paths["target"],
            "--rate-mbit", str(rate), "--delay-ms", str(delay)] + (["--profile", paths["profile"]] if needs_profile else [])
                      + ([] if is_post else ["--precopy"]))
        relay.wait("listening")
        source.ask("cont")
        time.sleep(settle_s)
        result = _move(mode, source, target, relay, paths, downtime_limit_ms(mode, link, set_mib), hold_target)
        if hold_target:
            result["differing_pages"] = _compare(source, target, folder, memory_kib)
        return result
    finally:
        for what in (relay, source, target):
            if what:
                what.close()


def profile(source, relay, path):
    source.capabilities(postcopy_ram=False, return_path=False, events=True)
    source.ask("migrate-set-parameters", **{"max-bandwidth": 10**10, "downtime-limit": 1})
    source.ask("migrate", uri=f"unix:{path}")
    said = relay.wait("profile")
    if source.ask("query-migrate")["status"] == "active":
        source.ask("migrate_cancel")
    source.wait_migrated(("cancelled", "completed", "failed"))
    deadline = time.monotonic() + 10
    while source.ask("query-status")["status"] != "running":
        try:
            source.ask("cont")
        except children.Failure:  # "Migration is not finalized yet"
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    return said


def _wait(done, what, timeout=180):
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            raise children.Failure(f"waited {timeout} s for {what}")
        time.sleep(0.002)


def _move(mode, source, target, relay, paths, downtime_ms, hold_target):
    is_post = mode not in PRECOPY
    marks = source.console_bytes(), target.console_bytes()
    began = time.time()
    result = {"mode": mode, "downtime_limit_ms": downtime_ms if not is_post else None}
    if mode in PROFILED:
        result["profile"] = profile(source, relay, paths["profile"])
    result["profile_s"] = time.time() - began
    source.capabilities(events=True, postcopy_ram=is_post, return_path=is_post)
    source.ask("migrate-set-parameters", **{
        "max-bandwidth": 10**10, "max-postcopy-bandwidth": 0, "downtime-limit": downtime_ms})
    moving = time.time()
    source.ask("migrate", uri=f"unix:{paths['source']}")
    if mode in ("stock_postcopy", "forerun_postcopy"):
        source.ask("migrate-start-postcopy")
    elif mode == "stock_hybrid":
        _wait(lambda: source.ask("query-migrate").get("ram", {}).get("dirty-sync-count", 0) >= 2, "the first pass")
        source.ask("migrate-start-postcopy")
    elif is_post:
        relay.wait(("switch_is_due", "end"), 120)
        if source.ask("query-migrate")["status"] == "active":
            source.ask("migrate-start-postcopy")
    _wait(lambda: source.qmp.event("STOP") is not None and target.ask("query-status")["status"] != "inmigrate",
          "the guest to go over: a pre-copy that does not converge")
    if not hold_target:
        target.ask("cont")
    done = source.wait_migrated()
    there = target.wait_migrated()
    ended = time.time()
    relay.wait("end", 30)
    stopped, ran = source.qmp.event("STOP"), target.qmp.event("RESUME")
    time.sleep(0.8)
    ticks = source.ticks(marks[0]) + target.ticks(marks[1])
    classes = [sum(tick[3 + i] for tick in ticks) for i in range(24)]
    result.update({
        "total_s": ended - began, "transfer_s": ended - moving, "to_switch_s": stopped - moving,
        "downtime_ms": (ran - stopped) * 1e3 if ran else math.nan, "qemu_downtime_ms": done.get("downtime"),
        "blocktime_ms": there.get("postcopy-blocktime", 0), "wire_bytes": relay.events["end"]["peer_bytes"],
        "service_p99_ms": percentile_us(classes, 0.99) / 1e3, "service_p999_ms": percentile_us(classes, 0.999) / 1e3,
        "requests": done.get("ram", {}).get("postcopy-requests", 0),
        "rounds": done.get("ram", {}).get("dirty-sync-count", 0),
        "bad_pages": max((tick[2] for tick in ticks), default=0), "relay": relay.events["end"],
        "ticks_after": len(target.ticks())})
    events = relay.events
    if ran and "switched" in events and "switch_arrived" in events:
        at = [stopped, events["switched"]["at"], events["switch_arrived"]["at"], ran]
        result["downtime_parts_ms"] = {name: round((end - begin) * 1e3, 1) for name, begin, end in zip(
            ("stop_to_package", "package_to_arrival", "arrival_to_run"), at, at[1:])}
    return result


def _compare(source, target, folder, memory_kib):
    pages = []
    for name, side in (("a", source), ("b", target)):
        path = os.path.join(folder, name)
        side.memory(path, memory_kib)
        pages.append(path)
    differing = 0
    with open(pages[0], "rb") as one, open(pages[1], "rb") as other:
        while page := one.read(PAGE):
            differing += page != other.read(PAGE)
    for path in pages:
        os.unlink(path)
    return differing


def say(text):
    print(text, file=sys.stderr, flush=True)
