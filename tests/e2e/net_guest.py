"""A small guest with a network: Debian's kernel and an initial file system that serves a page, for VMs on a bridge."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import checker
import lab

ADDRESS = "10.77.0.100"
# In order of dependence.
MODULES = ["failover", "net_failover", "virtio_net"]

# What it serves (a page on port 80, an echo on port 7) it holds in memory. It checks itself (checker.py).
INIT = """#!/bin/busybox sh
b=/bin/busybox
$b --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk MODULES; do
  insmod /modules/$module.ko
done
address=$(sed -n 's/.*guest_address=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
ip link set lo up
ip addr add $address dev eth0
ip link set eth0 up
mkdir -p /www /ram
echo "served by $address" >/www/index.html
httpd -p 80 -h /www
nc -ll -p 7 -e cat &
FILL
i=0
while true; do
  i=$((i+1)); k=$((i % 8)); n=$(((i * 5) % 8))
  dd if=/dev/urandom of=/ram/f$k bs=64k count=4 conv=notrunc 2>/dev/null
  md5sum </ram/f$k >/ram/s$k
  [ "$(md5sum </ram/f$n)" = "$(cat /ram/s$n)" ] || echo GUEST-ERROR memory $n
  dd if=/ram/f$k of=/dev/vda bs=64k count=2 seek=$((k * 8)) conv=notrunc,fsync 2>/dev/null || echo GUEST-ERROR write
  dd if=/ram/f$k bs=64k count=2 2>/dev/null | md5sum >/ram/d$k
  echo 3 >/proc/sys/vm/drop_caches
  if [ -e /ram/d$n ]; then
    [ "$(dd if=/dev/vda bs=64k count=2 skip=$((n * 8)) 2>/dev/null | md5sum)" = "$(cat /ram/d$n)" ] ||
      echo GUEST-ERROR disk $n
  fi
  echo GUEST-BEAT $i
  sleep 0.1
done
"""

def build(folder):
    """Returns the kernel and an initial file system, made in `folder` from the small guest of tools/guest."""
    lab.build_guest()
    root = os.path.join(folder, "initrd")
    os.makedirs(root)
    lab.run("sh", "-c", f"zcat {lab.GUEST}/initrd.img | (cd {root} && busybox cpio -idm 2>/dev/null)")
    with open(os.path.join(lab.GUEST, "guest.json"), encoding="utf-8") as text:
        version = re.search(r'"kernel": "([^"]+)"', text.read()).group(1)
    drivers = f"/lib/modules/{version}/kernel"
    for module, path in (("failover", "net/core/failover"), ("net_failover", "drivers/net/net_failover"),
                         ("virtio_net", "drivers/net/virtio_net")):
        target = os.path.join(root, "modules", module + ".ko")
        lab.run("debugfs", "-R", f"dump {drivers}/{path}.ko {target}", os.path.join(lab.GUEST, "disk.raw"))
        if not os.path.exists(target) or os.path.getsize(target) == 0:
            raise AssertionError(f"the guest's disk has no {drivers}/{path}.ko")
    with open(os.path.join(root, "init"), "w", encoding="utf-8") as out:
        out.write(INIT.replace("MODULES", " ".join(MODULES)).replace("FILL\n", checker.FILL))
    os.chmod(os.path.join(root, "init"), 0o755)
    initrd = os.path.join(folder, "initrd.img")
    subprocess.run(f"cd {root} && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >{initrd}", shell=True, check=True)
    shutil.rmtree(root)
    return os.path.join(lab.GUEST, "vmlinuz"), initrd


class NetGuestTest(unittest.TestCase):
    """Tests with such a guest: made once, started where they want it."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="forerun-net-guest-")
        cls.kernel, cls.initrd = build(cls.folder)
        cls.disk = lab.random_disk(os.path.join(cls.folder, "disk.raw"), 4)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def run_guest(self, host, vm, *more, check=True, address=ADDRESS):
        return host.cli("vm", "run", vm, "--memory", "128M", "--kernel", self.kernel, "--initrd", self.initrd, "--append",
                        f"{checker.APPEND} guest_address={address}/24", *more, check=check)
