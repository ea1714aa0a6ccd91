"""The guest of tools/guest/build, and booting a disk from local storage."""

import json
import os
import subprocess
import time

from . import children


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


def accelerator():
    """Returns what forerund's probe chooses: kvm needs the processor's flag, not only the device."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = next((line.split() for line in file if line.startswith("flags")), [])
    has_kvm = ("vmx" in flags or "svm" in flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)
    return "kvm" if has_kvm else "tcg"


class LocalVm:
    """A guest booted by QEMU alone, its disk a qcow2 overlay over `backing` (a raw file's path or a JSON spec).

    `forwards`: pairs of a port of 127.0.0.1 and the guest's.
    """

    def __init__(self, guest, backing, work, forwards, memory_mib=512):
        self.overlay = os.path.join(work, "overlay.qcow2")
        self.log = os.path.join(work, "qemu.log")
        self.console_log = os.path.join(work, "console.log")
        children.remove(self.console_log)
        network = ",".join(["user,id=n0", *(f"hostfwd=tcp:127.0.0.1:{ours}-:{its}" for ours, its in forwards)])
        subprocess.run([children.program("qemu-img", "qemu-utils"), "create", "-q", "-f", "qcow2", "-o",
                        "cluster_size=128k,extended_l2=on", "-F", "raw", "-b", backing, self.overlay], check=True)
        kvm = accelerator() == "kvm"
        self.began = time.monotonic()
        self.child = children.start(
            [children.program("qemu-system-x86_64", "qemu-system-x86"), "-accel", "kvm" if kvm else "tcg,thread=multi",
             "-cpu", "host" if kvm else "max", "-smp", "1", "-m", str(memory_mib),
             "-nodefaults", "-display", "none", "-no-reboot",
             "-serial", f"file:{self.console_log}",
             "-kernel", guest.kernel, "-initrd", guest.initrd, "-append", guest.append,
             "-drive", f"if=none,id=d0,file={self.overlay},format=qcow2,cache=writeback,aio=threads,discard=unmap",
             "-device", "virtio-blk-pci,drive=d0",
             "-netdev", network,
             "-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "virtio-rng-pci"], self.log)

    def check_alive(self):
        if self.child.poll() is not None:
            raise children.Failure(f"QEMU ended with status {self.child.returncode}", self.log)

    def stop(self):
        children.stop(self.child)
        os.unlink(self.overlay)
