"""One boot (or replayed boot) of the guest in one of the modes that are compared, over one link."""

import contextlib
import json
import os
import shutil
import subprocess
import time

from . import children, probes, replay, workloads
from .forerund import Forerund
from .guest import LocalVm
from .servers import Link, Nginx

MODES = ["local", "copy_first", "on_demand", "trace_replay_fifo", "forerun_first", "forerun_learned"]
COMPOSED_MODES = ["on_demand", "image_trace", "forerun_static", "forerun_new_service", "forerun_unseen",
                  "forerun_learned"]
IMAGE = "nginx"
# What was fetched for nothing is counted once the guest has read nothing for this long after its service answered:
# systemd goes on for a while, the longer the slower the machine.
QUIET_S = 2.0
SETTLE_S_MAX = 20.0
# A boot that is learned from lasts until all of it is over, as a VM that is not measured would.
LEARNING_QUIET_S = 8.0
LEARNING_SETTLE_S_MAX = 60.0

# What a mode may know when its VM starts: boots of this very image, of images with parts of this one, of images with
# its base and kernel but none of its services.
OWN, PARTS, BASE = "own", "parts", "base"
# mode: (forerund's prefetch.mode, what it has learned from)
_DAEMON_MODES = {
    "on_demand": ("off", None),
    "trace_replay_fifo": ("trace_replay_fifo", OWN),
    "image_trace": ("trace_replay_fifo", OWN),
    "forerun_first": ("on", None),
    "forerun_static": ("on", None),
    "forerun_new_service": ("on", BASE),
    "forerun_unseen": ("on", PARTS),
    "forerun_learned": ("on", OWN),
}


def ensure_repository(bin_folder, guest, folder, work, on_progress=None):
    """Imports the guest's disk into a repository, once per build of guest and importer. Returns the image's figures."""
    stamp_path = os.path.join(folder, "imported.json")
    stamp = [os.path.getmtime(guest.disk), os.path.getsize(guest.disk),
             os.path.getmtime(os.path.join(bin_folder, "forerund"))]
    try:
        with open(stamp_path, encoding="utf-8") as file:
            known = json.load(file)
        if known["stamp"] == stamp:
            return known["image"]
    except (OSError, ValueError, KeyError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    state = os.path.join(work, "import")
    daemon = Forerund(bin_folder, state, os.path.abspath(folder))
    try:
        began = time.monotonic()
        image = daemon.import_image(guest.disk, IMAGE, on_progress)
        image["import_s"] = round(time.monotonic() - began, 2)
    finally:
        daemon.stop()
    shutil.rmtree(state, ignore_errors=True)
    with open(stamp_path, "w", encoding="utf-8") as file:
        json.dump({"stamp": stamp, "image": image}, file)
    return image


class VmWorkload:
    """Boots a guest under QEMU; it is ready when every probe was answered. `disk`: its image as a file, if it is one."""

    def __init__(self, guest, image=IMAGE, questions=(workloads.Probe("http", 80),), disk=None, memory_mib=512):
        self.guest = guest
        self.image = image
        self.disk = disk
        self.memory_mib = memory_mib
        self.probes = list(questions)

    def run(self, daemon, name, prefetch):
        forwards = self._forwards()
        began = time.monotonic()
        console = daemon.run_vm(name, self.image, self.guest, forwards, prefetch, self.memory_mib)["log_path"]

        def alive():
            vm = daemon.vm(name)
            if vm["state"] != "running":
                raise children.Failure(f"the VM is {vm['state']}: {vm['detail']}", vm["log_path"])

        return probes.wait_for_all(self._questions(forwards, console), began, alive)

    def run_local(self, raw, work):
        with self.local_vm(raw, work) as vm:
            return vm.service_s

    @contextlib.contextmanager
    def local_vm(self, raw, work):
        """Boots from `raw` (a file or a JSON spec) until it is ready; its VM has `service_s`, and ends with the block."""
        forwards = self._forwards()
        vm = LocalVm(self.guest, raw, work, forwards, self.memory_mib)
        try:
            questions = self._questions(forwards, vm.console_log)
            vm.service_s = probes.wait_for_all(questions, vm.began, vm.check_alive)
            yield vm
        finally:
            vm.stop()

    def _forwards(self):
        return [(children.free_port(), probe.guest_port) for probe in self.probes if probe.guest_port]

    def _questions(self, forwards, console):
        ports = {its: ours for ours, its in forwards}
        return [probes.TcpQuestion(probe.protocol, ports[probe.guest_port]) if probe.guest_port
                else probes.ConsoleQuestion(console, workloads.READY_MARK) for probe in self.probes]


class ReplayWorkload:
    """Replays a recorded boot's reads; ready when the last one is answered."""

    def __init__(self, trace, think_scale, check, disk=None):
        self.image = IMAGE
        self.disk = disk
        self.trace = trace
        self.think_scale = think_scale
        self.check = check  # a function (offset, data) that raises if the data is wrong

    def run(self, daemon, name, prefetch):
        began = time.monotonic()
        daemon.export_disk(name, self.image, prefetch)
        return replay.replay(daemon.nbd_socket(), name, self.trace, self.think_scale, began, self.check)

    def run_local(self, raw, work):
        path = os.path.join(work, "local.sock")
        log = os.path.join(work, "nbdkit.log")
        children.remove(path)
        server = children.start([children.program("nbdkit", "nbdkit"), "-f", "-r", "-U", path, "file", raw], log)
        try:
            wait_for_path(path, server)
            return replay.replay(path, "", self.trace, self.think_scale, time.monotonic(), self.check)
        finally:
            children.stop(server)


def wait_for_path(path, child, timeout=20):
    deadline = time.monotonic() + timeout
    while not os.path.exists(path):
        if child.poll() is not None or time.monotonic() > deadline:
            raise children.Failure(f"{child.args[0]} does not listen on {path}", child.log)
        time.sleep(0.01)


class Bed:
    """The repository behind one link, and boots over it. Every boot starts with an empty tier."""

    def __init__(self, bin_folder, repository, link, work):
        self.bin_folder = bin_folder
        self.work = work
        os.makedirs(work, exist_ok=True)
        self.nginx = Nginx(repository, work)
        self.link = Link(bin_folder, self.nginx.port, link, work)
        self.url = f"http://127.0.0.1:{self.link.port}/"

    def run(self, mode, workload, history=None, keep_history=None):
        """Returns the figures of one boot. `history`, `keep_history`: folders to start from and to save to; a boot that
        is kept goes on for longer after its service answered."""
        if mode == "local":
            return _figures(workload.run_local(workload.disk, self.work), None, None, 0)
        bytes_before = self.link.stats()["bytes_down"]
        state = os.path.join(self.work, "state")
        shutil.rmtree(state, ignore_errors=True)
        if history:
            shutil.copytree(history, os.path.join(state, "history"))
        prefetch_mode = _DAEMON_MODES[mode][0] if mode in _DAEMON_MODES else "off"
        daemon = Forerund(self.bin_folder, state, self.url, prefetch_mode)
        try:
            if mode == "copy_first":
                return self._copy_first(daemon, workload, bytes_before)
            prefetch = "off" if prefetch_mode == "off" else "on"
            service_s = workload.run(daemon, "guest", prefetch)
            at_ready = daemon.vm_stats("guest")
            fetched = self.link.stats()["bytes_down"] - bytes_before
            if keep_history:
                _settle(daemon, at_ready["reads"], LEARNING_QUIET_S, LEARNING_SETTLE_S_MAX)
            else:
                _settle(daemon, at_ready["reads"], QUIET_S, SETTLE_S_MAX)
            daemon.stop_vm("guest")
            at_end = daemon.vm_stats("guest")
        finally:
            daemon.stop()
        if keep_history:
            shutil.rmtree(keep_history, ignore_errors=True)
            shutil.copytree(os.path.join(state, "history"), keep_history)
        shutil.rmtree(state)
        return _figures(service_s, at_ready, at_end, fetched)

    def _copy_first(self, daemon, workload, bytes_before):
        raw = os.path.join(self.work, "copy.raw")
        began = time.monotonic()
        uri = daemon.export_disk("copy", workload.image, "off")
        copied = subprocess.run([children.program("nbdcopy", "libnbd-bin"), uri, raw], capture_output=True,
                                text=True, check=False)
        if copied.returncode != 0:
            raise children.Failure(f"nbdcopy failed: {copied.stderr.strip()}", daemon.log)
        copy_s = time.monotonic() - began
        fetched = self.link.stats()["bytes_down"] - bytes_before
        daemon.stop_vm("copy")
        try:
            figures = _figures(copy_s + workload.run_local(raw, self.work), None, None, fetched)
        finally:
            os.unlink(raw)
        figures["copy_s"] = round(copy_s, 3)
        return figures

    def train(self, taught, folder):
        """Lets forerund learn from one boot after another of these workloads over this link. Returns the history's
        folder and the boots' figures."""
        history, figures = None, []
        for index, workload in enumerate(taught):
            kept = os.path.join(folder, f"history-{index + 1}")
            figures.append({"image": workload.image, **self.run("forerun_first", workload, history, kept)})
            history = kept
        return history, figures

    def stop(self):
        self.link.stop()
        self.nginx.stop()
        shutil.rmtree(self.work, ignore_errors=True)


def _settle(daemon, reads, quiet_s, settle_s_max):
    """Waits until the guest has read nothing for `quiet_s`, at most `settle_s_max`."""
    deadline = time.monotonic() + settle_s_max
    quiet_since = time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - quiet_since < quiet_s:
        time.sleep(0.1)
        now = daemon.vm_stats("guest")["reads"]
        if now != reads:
            reads, quiet_since = now, time.monotonic()


def learned_from(mode):
    """Returns what the mode has learned from: OWN, PARTS, BASE or None."""
    return _DAEMON_MODES.get(mode, ("", None))[1]


def _figures(service_s, at_ready, at_end, fetched_bytes):
    """The fields of the benchmarks. `stall_s`, `demand_p99_ms` and `fetched_bytes` are taken when the service
    answers; hit, late and wasted chunks after the VM's end, where what is still undecided counts as wasted."""
    figures = {"service_s": round(service_s, 3), "stall_s": 0.0, "fetched_bytes": fetched_bytes, "hit": 0, "late": 0,
               "wasted": 0, "demand_p99_ms": 0.0, "load_average": round(os.getloadavg()[0], 2)}
    if not at_ready:
        return figures
    undecided = at_end["undecided_chunks"]
    issued = at_end["issued_chunks"]
    wasted = at_end["wasted_chunks"] + undecided
    prefetched = at_end["prefetch_fetched_bytes"]
    wasted_bytes = at_end["wasted_bytes"] + (prefetched * undecided // issued if issued else 0)
    figures.update({
        "stall_s": round(at_ready["stall_seconds"], 3),
        "demand_p99_ms": round(at_ready["demand_p99_seconds"] * 1000, 2),
        "demand_p50_ms": round(at_ready["demand_p50_seconds"] * 1000, 2),
        "demand_reads": at_ready["demand_reads"],
        "reads": at_ready["reads"],
        "hit": at_end["hit_chunks"], "late": at_end["late_chunks"], "wasted": wasted,
        "demand_fetched_bytes": at_end["demand_fetched_bytes"], "prefetch_fetched_bytes": prefetched,
        "wasted_bytes": wasted_bytes,
        "wasted_ratio": round(wasted_bytes / prefetched, 4) if prefetched else 0.0,
        "stall_bin_s": at_ready["stall_bin_seconds"], "stall_bin_ms": at_ready["stall_bin_ms"],
        "chunks_by_model": {model["name"]: {outcome: model[outcome + "_chunks"] for outcome in ("issued", "wasted")}
                            for model in at_end.get("models", []) if model.get("issued_chunks")},
    })
    return figures
