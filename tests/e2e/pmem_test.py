"""Two real guests map one image as persistent memory: they read what it holds, and the host has it in memory once.

The guests are Debian's kernel and an initial file system made here: busybox and the modules, which come out of the
demo guest's disk (tools/guest). TCG only.
"""
import os
import re
import shutil
import subprocess
import time
import unittest

import lab

APPEND = "console=ttyS0 quiet loglevel=3 mitigations=off no_timer_check panic=1"
MODULES = ("virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_modern_dev", "virtio/virtio_pci_legacy_dev",
           "virtio/virtio_pci", "nvdimm/libnvdimm", "nvdimm/nd_virtio", "nvdimm/nd_btt", "nvdimm/nd_pmem",
           "nvdimm/virtio_pmem")
FILE_MIB = 24

# Mounts both devices, reads the files through DAX, and stays.
INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for m in MODULES; do $b insmod /modules/$m.ko || echo GUEST-ERROR insmod $m; done
i=0
while [ ! -b /dev/pmem1 ] && [ $i -lt 500 ]; do $b usleep 20000; i=$((i+1)); done
for i in 0 1; do
  $b mount -t ext4 -o ro,noload,dax=always /dev/pmem$i /m$i || echo GUEST-ERROR mount $i
  echo GUEST-SUM $i $($b md5sum < /m$i/data)
done
$b grep -c dax=always /proc/mounts | $b sed 's/^/GUEST-DAX /'
echo GUEST-DONE
while :; do $b sleep 5; done
"""


def build_initrd(folder, modules=MODULES, init=INIT, programs=None):
    """Writes an initial file system of busybox, modules of build/guest's kernel, a script and more programs."""
    disk = os.path.join(lab.GUEST, "disk.raw")
    listing = lab.run("debugfs", "-R", "ls -p /usr/lib/modules", disk).stdout
    version = re.search(r"/(\d+\.\d+[^/]*)/", listing).group(1)
    root = os.path.join(folder, "initrd")
    for name in ("bin", "modules", "proc", "sys", "dev", "m0", "m1"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    for source, place in (programs or {}).items():
        shutil.copy(source, os.path.join(root, place))
    for module in modules:
        out = os.path.join(root, "modules", os.path.basename(module) + ".ko")
        lab.run("debugfs", "-R", f"dump /usr/lib/modules/{version}/kernel/drivers/{module}.ko {out}", disk)
        if not os.path.getsize(out):
            raise AssertionError(f"{module} is not on the guest's disk")
    with open(os.path.join(root, "init"), "w", encoding="utf-8") as out:
        out.write(init.replace("MODULES", " ".join(os.path.basename(module) for module in modules)))
    os.chmod(os.path.join(root, "init"), 0o755)
    initrd = os.path.join(folder, "initrd.img")
    with open(initrd, "wb") as out:
        found = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=found, stdout=out,
                       stderr=subprocess.DEVNULL, check=True)
    return initrd


def build_image(folder, name, mib, seed):
    """Builds an ext4 disk with one file of random data; returns its path and the file's MD5."""
    root = os.path.join(folder, name)
    os.makedirs(root)
    with open(lab.random_disk(os.path.join(root, "data"), FILE_MIB, seed), "rb") as data:
        digest = subprocess.run(["md5sum"], stdin=data, capture_output=True, text=True, check=True).stdout.split()[0]
    disk = os.path.join(folder, name + ".raw")
    lab.run("truncate", "-s", f"{mib}M", disk)
    lab.run("mkfs.ext4", "-q", "-b", "4096", "-O", "^has_journal", "-d", root, disk)
    return disk, digest


def mapping_of(pid, path):
    """Returns what smaps says of a process's mapping of a file, in KiB."""
    figures, inside = {}, False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as text:
        for line in text:
            if re.match(r"^[0-9a-f]+-[0-9a-f]+ ", line):
                inside = line.rstrip().endswith(path)
            elif inside and line.endswith(" kB\n"):
                key, value = line.split()[:2]
                figures[key[:-1]] = figures.get(key[:-1], 0) + int(value)
    return figures


class PmemTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lab.build_guest()

    def setUp(self):
        self.daemon = lab.Daemon().start()

    def tearDown(self):
        self.daemon.close()

    def pmem_files(self):
        folder = os.path.join(self.daemon.state_dir, "pmem")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def wait_for_guest(self, name):
        path = self.daemon.get(f"/api/v1/vms/{name}")["log_path"]
        deadline = time.monotonic() + 240
        text = ""
        while time.monotonic() < deadline:
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as console:
                    text = console.read()
            self.assertNotIn("GUEST-ERROR", text)
            if "GUEST-DONE" in text:
                return text
            time.sleep(0.1)
        raise AssertionError(f"{name} did not come up; its console ends:\n{text[-800:]}\n{self.daemon.log()[-800:]}")

    def test_two_guests_share_the_pages_of_one_image(self):
        folder = self.daemon.folder
        libs, libs_sum = build_image(folder, "libs", 66, seed=1)
        data, data_sum = build_image(folder, "data", 49, seed=2)   # no whole 2 MiB
        self.daemon.import_image(libs, "libs")
        self.daemon.import_image(data, "data")
        self.daemon.import_image(lab.random_disk(os.path.join(folder, "root.raw"), 1), "root")
        initrd = build_initrd(folder)
        guests = ("one", "two")
        for name in guests:
            self.daemon.cli("vm", "run", name, "--image", "root", "--memory", "256M", "--pmem", "libs,data",
                            "--kernel", f"{lab.GUEST}/vmlinuz", "--initrd", initrd, "--append", APPEND)
        files = self.pmem_files()
        self.assertEqual(len(files), 2, files)
        for name in guests:
            text = self.wait_for_guest(name)
            self.assertIn(f"GUEST-SUM 0 {libs_sum}", text)
            self.assertIn(f"GUEST-SUM 1 {data_sum}", text)
            self.assertIn("GUEST-DAX 2", text)
        self.assertEqual(self.daemon.get("/api/v1/vms/one")["pmem_images"], ["libs", "data"])
        for name in guests:
            pid = self.daemon.get(f"/api/v1/vms/{name}")["pid"]
            for file in files:
                figures = mapping_of(pid, f"/pmem/{file}")
                # What the guest read of the file that is no hole: two thirds of it are data.
                self.assertGreaterEqual(figures["Shared_Clean"], FILE_MIB * 1024 * 2 // 3, figures)
                self.assertEqual(figures["Private_Dirty"] + figures["Shared_Dirty"], 0, figures)
                self.assertLessEqual(figures["Pss"], figures["Rss"] * 0.6, figures)
        self.check_files_live_as_long_as_their_vms(files)

    def check_files_live_as_long_as_their_vms(self, files):
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(self.pmem_files(), files)
        for name in ("one", "two"):
            self.assertEqual(self.pmem_files(), files)
            self.daemon.cli("vm", "stop", name, "--force")
            self.assertEqual(self.pmem_files(), files, "a stopped VM keeps them")
            self.daemon.cli("vm", "rm", name)
        self.assertEqual(self.pmem_files(), [])

    def test_what_cannot_be_mapped_is_refused(self):
        disk = os.path.join(self.daemon.folder, "large.raw")
        lab.run("truncate", "-s", "9G", disk)
        self.daemon.import_image(disk, "large")
        refused = self.daemon.cli("vm", "run", "a", "--image", "large", "--memory", "512M", "--pmem", "large", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("over a quarter of 512 MiB", refused.stderr)
        refused = self.daemon.cli("vm", "run", "b", "--image", "large", "--pmem", "none", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("none", refused.stderr)
        refused = self.daemon.cli("vm", "run", "c", "--image", "large", "--pmem", "large", "--disk-only", check=False)
        self.assertIn("disk_only starts none", refused.stderr)
        # Left by a daemon that was killed while it made one.
        os.makedirs(os.path.join(self.daemon.state_dir, "pmem"), exist_ok=True)
        with open(os.path.join(self.daemon.state_dir, "pmem", "0" * 64 + ".raw.new"), "wb") as half:
            half.write(b"x")
        self.daemon.kill()
        self.daemon.start()
        self.assertNotIn("0" * 64 + ".raw.new", self.pmem_files())


if __name__ == "__main__":
    unittest.main(verbosity=2)
