"""A small guest with a network: Debian's kernel and an initial file system that serves a page, for VMs on a bridge."""
import os
import re
import shutil
import subprocess

import lab

APPEND = "console=ttyS0 quiet loglevel=4 mitigations=off no_timer_check panic=1"
# In order of dependence.
MODULES = ["failover", "net_failover", "virtio_net"]

INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci MODULES; do
  $b insmod /modules/$module.ko
done
address=$($b sed -n 's/.*guest_address=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
$b ip link set lo up
$b ip addr add $address dev eth0
$b ip link set eth0 up
$b mkdir -p /www
echo "served by $address" >/www/index.html
$b httpd -p 80 -h /www
echo GUEST-UP
# Sends back what it is sent, on one connection after the other.
while true; do $b nc -l -p 7 -e $b cat; done
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
        out.write(INIT.replace("MODULES", " ".join(MODULES)))
    os.chmod(os.path.join(root, "init"), 0o755)
    initrd = os.path.join(folder, "initrd.img")
    subprocess.run(f"cd {root} && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >{initrd}", shell=True, check=True)
    shutil.rmtree(root)
    return os.path.join(lab.GUEST, "vmlinuz"), initrd
