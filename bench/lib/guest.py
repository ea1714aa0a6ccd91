"""The guest of tools/guest/build: booting its disk from local storage, and telling when its service answers."""

import json
import os
import selectors
import socket
import subprocess
import time

from . import children

PROBE_EVERY_S = 0.05
PROBE_LIFE_S = 1.0


class Guest:
    def __init__(self, folder):
        folder = os.path.abspath(folder)
        self.disk = os.path.join(folder, "disk.raw")
        self.kernel = os.path.join(folder, "vmlinuz")
        self.initrd = os.path.join(folder, "initrd.img")
        try:
            with open(os.path.join(folder, "guest.json"), encoding="utf-8") as file:
                self.facts = json.load(file)
        except OSError as error:
            raise children.Failure(f"there is no guest in {folder} ({error.strerror}): "
                                   "run tools/guest/build") from error
        self.append = self.facts["append"]


def build(repo_root, folder):
    """Builds the guest if it is missing or older than its scripts."""
    result = subprocess.run([os.path.join(repo_root, "tools/guest/build"), folder], check=False)
    if result.returncode != 0:
        raise children.Failure(f"tools/guest/build failed with status {result.returncode}; what it said is above")
    return Guest(folder)


def wait_for_http(port, began, alive, timeout=300):
    """Returns the seconds from `began` (monotonic) until GET / answers 200.

    An accepted connection proves nothing: QEMU's user network accepts before the guest does, and a request to a
    guest without network hangs. So a new request starts every 50 ms and each has a second.
    """
    selector = selectors.DefaultSelector()
    probes = {}
    try:
        while time.monotonic() - began < timeout:
            _start_probe(port, selector, probes)
            until = time.monotonic() + PROBE_EVERY_S
            while (left := until - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if _ask(key.fileobj, selector, probes):
                        return time.monotonic() - began
            for probe in [p for p, (born, _) in probes.items() if time.monotonic() - born > PROBE_LIFE_S]:
                _end_probe(probe, selector, probes)
            alive()
    finally:
        for probe in list(probes):
            _end_probe(probe, selector, probes)
        selector.close()
    raise children.Failure(f"the guest did not answer HTTP within {timeout} s")


def _start_probe(port, selector, probes):
    probe = socket.socket()
    probe.setblocking(False)
    probe.connect_ex(("127.0.0.1", port))
    probes[probe] = (time.monotonic(), b"")
    selector.register(probe, selectors.EVENT_WRITE)


def _end_probe(probe, selector, probes):
    selector.unregister(probe)
    del probes[probe]
    probe.close()


def _ask(probe, selector, probes):
    """Sends the request once connected, then reads; returns whether the answer was 200."""
    born, answer = probes[probe]
    try:
        if selector.get_key(probe).events == selectors.EVENT_WRITE:
            probe.send(b"GET / HTTP/1.0\r\nHost: guest\r\n\r\n")
            selector.modify(probe, selectors.EVENT_READ)
            return False
        data = probe.recv(4096)
    except OSError:
        data = b""
    answer += data
    if answer[:16].split(b" ")[1:2] == [b"200"]:
        return True
    if data:
        probes[probe] = (born, answer)
    else:
        _end_probe(probe, selector, probes)
    return False


def accelerator():
    """Returns what forerund's probe chooses: kvm needs the processor's flag, not only the device."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = next((line.split() for line in file if line.startswith("flags")), [])
    has_kvm = ("vmx" in flags or "svm" in flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)
    return "kvm" if has_kvm else "tcg"


class LocalVm:
    """The guest booted by QEMU alone, its disk a qcow2 overlay over `backing` (a raw file's path or a JSON spec)."""

    def __init__(self, guest, backing, work, http_port, memory_mib=512):
        self.overlay = os.path.join(work, "overlay.qcow2")
        self.log = os.path.join(work, "qemu.log")
        subprocess.run([children.program("qemu-img", "qemu-utils"), "create", "-q", "-f", "qcow2", "-o",
                        "cluster_size=128k,extended_l2=on", "-F", "raw", "-b", backing, self.overlay], check=True)
        kvm = accelerator() == "kvm"
        self.began = time.monotonic()
        self.child = children.start(
            [children.program("qemu-system-x86_64", "qemu-system-x86"), "-accel", "kvm" if kvm else "tcg,thread=multi",
             "-cpu", "host" if kvm else "max", "-smp", "1", "-m", str(memory_mib),
             "-nodefaults", "-display", "none", "-no-reboot",
             "-serial", f"file:{os.path.join(work, 'console.log')}",
             "-kernel", guest.kernel, "-initrd", guest.initrd, "-append", guest.append,
             "-drive", f"if=none,id=d0,file={self.overlay},format=qcow2,cache=writeback,aio=threads,discard=unmap",
             "-device", "virtio-blk-pci,drive=d0",
             "-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{http_port}-:80",
             "-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "virtio-rng-pci"], self.log)

    def check_alive(self):
        if self.child.poll() is not None:
            raise children.Failure(f"QEMU ended with status {self.child.returncode}", self.log)

    def stop(self):
        children.stop(self.child)
        os.unlink(self.overlay)
