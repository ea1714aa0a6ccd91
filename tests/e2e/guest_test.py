"""A real guest that writes and checks its disk, while forerund is killed and restarted and the repository's link is cut.

The oracle is QEMU's own: blkverify compares every read through Forerun with a local reference, and blklogwrites records
every write and flush. At the end both disks are compared byte by byte.
"""
import os
import re
import shutil
import subprocess
import time
import unittest

import lab

APPEND = "console=ttyS0 quiet loglevel=3 mitigations=off no_timer_check panic=1"
DISK_MIB = 96

# The guest's whole user space: files are written, synced, read back past the page cache, and compared, round by round.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /data /bin
/bin/busybox mount -t proc proc /proc
echo GUEST-UP
i=0
while [ $i -lt ROUNDS ]; do
  i=$((i+1))
  /bin/busybox dd if=/dev/urandom of=/data/f$((i % 6)) bs=64k count=24 conv=fsync 2>/dev/null || echo GUEST-ERROR write
  before=$(/bin/busybox md5sum < /data/f$((i % 6)))
  echo 3 > /proc/sys/vm/drop_caches
  after=$(/bin/busybox md5sum < /data/f$((i % 6)))
  [ "$before" = "$after" ] || echo GUEST-ERROR compare
  /bin/busybox md5sum -c /sums >/dev/null 2>&1 || echo GUEST-ERROR image
  echo GUEST-ROUND $i
done
sync
echo GUEST-DONE
/bin/busybox poweroff -f
"""


def build_disk(folder, rounds):
    """Builds a small ext4 disk: busybox, the script above, and 20 MiB of data that every round reads and checks."""
    root = os.path.join(folder, "root")
    for name in ("bin", "sbin", "data", "proc", "sys", "dev", "work", "m"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    for name in ("sh", "dd", "md5sum", "sync", "mount"):
        os.symlink("busybox", os.path.join(root, "bin", name))
    sums = []
    for i in range(10):
        path = lab.random_disk(os.path.join(root, f"data/d{i}"), 2, seed=i)
        sums.append(subprocess.run(["md5sum", path], capture_output=True, text=True, check=True).stdout.split()[0])
    with open(os.path.join(root, "sums"), "w", encoding="utf-8") as out:
        out.writelines(f"{digest}  /data/d{i}\n" for i, digest in enumerate(sums))
    with open(os.path.join(root, "sbin/init"), "w", encoding="utf-8") as out:
        out.write(INIT.replace("ROUNDS", str(rounds)))
    os.chmod(os.path.join(root, "sbin/init"), 0o755)
    disk = os.path.join(folder, "disk.raw")
    lab.run("truncate", "-s", f"{DISK_MIB}M", disk)
    lab.run("mkfs.ext4", "-q", "-d", root, disk)
    return disk


class GuestTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lab.build_guest()

    def setUp(self):
        self.daemon = lab.Daemon("[tier]\nmemory_bytes = 16777216\nfile_bytes = 67108864\n")
        self.others = []

    def tearDown(self):
        for process in self.others:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
        self.daemon.close()

    def spawn(self, *command):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.others.append(process)
        return process

    def wait_for(self, path, pattern, seconds, process=None):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            text = ""
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as console:
                    text = console.read()
            self.assertNotIn("GUEST-ERROR", text)
            if re.search(pattern, text):
                return text
            if process is not None and process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"no '{pattern}' in {seconds} s; the console ends:\n{text[-800:]}\n{self.daemon.log()[-1500:]}")

    def test_blkverify_over_kills(self):
        self.daemon.start()
        disk = build_disk(self.daemon.folder, rounds=14)
        self.daemon.import_image(disk, "checker")
        self.daemon.cli("vm", "run", "checked", "--image", "checker", "--disk-only")
        reference = os.path.join(self.daemon.folder, "reference.raw")
        shutil.copyfile(disk, reference)
        log = os.path.join(self.daemon.folder, "writes.log")
        lab.run("truncate", "-s", "2G", log)
        console = os.path.join(self.daemon.folder, "console.log")
        socket = os.path.join(self.daemon.run_dir, "nbd.sock")
        qemu = self.spawn(
            "qemu-system-x86_64", "-accel", "tcg", "-m", "262152K", "-nodefaults", "-display", "none", "-no-reboot",
            "-serial", f"file:{console}", "-kernel", f"{lab.GUEST}/vmlinuz", "-initrd", f"{lab.GUEST}/initrd.img", "-append", APPEND,
            "-blockdev", f"driver=nbd,node-name=n0,server.type=unix,server.path={socket},export=checked,reconnect-delay=60",
            "-blockdev", f"driver=file,node-name=l0,filename={log}",
            "-blockdev", "driver=blklogwrites,node-name=lw,file=n0,log=l0,log-sector-size=512",
            "-blockdev", f"driver=file,node-name=rf,filename={reference}", "-blockdev", "driver=raw,node-name=r0,file=rf",
            "-blockdev", "driver=blkverify,node-name=bv,test=lw,raw=r0", "-device", "virtio-blk-pci,drive=bv")
        for kill_at in (2, 5, 9):
            self.wait_for(console, rf"GUEST-ROUND {kill_at}\b", 180, qemu)
            self.daemon.kill()
            time.sleep(0.5)
            self.daemon.start()
        text = self.wait_for(console, "GUEST-DONE", 300, qemu)
        self.assertEqual(text.count("GUEST-ROUND"), 14)
        self.assertEqual(qemu.wait(timeout=60), 0, qemu.stdout.read())
        lab.run("qemu-img", "compare", "-f", "raw", "-F", "raw", reference, self.daemon.uri("checked"))

    def test_guest_waits_for_a_cut_link_and_goes_on(self):
        repository = os.path.join(self.daemon.folder, "repository")
        self.daemon.config += f'[[repository]]\npath = "{repository}"\n'
        self.daemon.start()
        disk = build_disk(self.daemon.folder, rounds=1)
        self.daemon.import_image(disk, "far")
        self.daemon.stop()
        server, port = self.serve(repository)
        control = os.path.join(self.daemon.folder, "link.sock")
        link = self.spawn(os.path.join(lab.BIN_DIR, "forerun-link"), "--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{port}",
                          "--rate", "20mbit", "--delay", "10ms", "--control", control)
        link_port = int(link.stdout.readline().split()[1])
        self.daemon.config = (f'[[repository]]\nurl = "http://127.0.0.1:{link_port}/"\nallow_unsigned = true\n'
                              '[tier]\nmemory_bytes = 67108864\n')
        shutil.rmtree(os.path.join(self.daemon.state_dir, "tier"))
        self.daemon.start()
        self.daemon.cli("vm", "run", "patient", "--image", "far", "--memory", "256M", "--kernel", f"{lab.GUEST}/vmlinuz",
                        "--initrd", f"{lab.GUEST}/initrd.img", "--append", APPEND)
        console = self.daemon.get("/api/v1/vms/patient")["log_path"]
        self.wait_for(console, "GUEST-UP", 120)
        self.tell(control, "cut")
        time.sleep(3)
        before = self.daemon.get("/api/v1/vms/patient/stats")["stall_seconds"]
        self.tell(control, "reset")   # connections die too
        time.sleep(2)
        self.assertEqual(self.daemon.get("/api/v1/vms/patient")["state"], "running")
        self.tell(control, "heal")
        self.wait_for(console, "GUEST-DONE", 240)
        stalled = self.daemon.get("/api/v1/vms/patient/stats")["stall_seconds"]
        self.assertGreater(stalled, before)
        self.assertEqual(server.poll(), None)

    def serve(self, folder):
        """Serves a folder with Debian's nginx on a free port of the loopback address."""
        import socket as sockets
        with sockets.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        prefix = os.path.join(self.daemon.folder, "nginx")
        os.makedirs(prefix)
        config = os.path.join(prefix, "nginx.conf")
        with open(config, "w", encoding="utf-8") as out:
            out.write(f"daemon off; master_process off; pid {prefix}/pid; error_log {prefix}/error.log;\n"
                      "events {}\n"
                      f"http {{ access_log off; client_body_temp_path {prefix}/b; proxy_temp_path {prefix}/p;\n"
                      f"  fastcgi_temp_path {prefix}/f; uwsgi_temp_path {prefix}/u; scgi_temp_path {prefix}/s;\n"
                      f"  server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n")
        for path, folders, _ in os.walk(folder):
            os.chmod(path, 0o755)
        os.chmod(self.daemon.folder, 0o755)
        server = self.spawn("nginx", "-p", prefix, "-c", config)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with sockets.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return server, port
            time.sleep(0.05)
        raise AssertionError("nginx did not start")

    def tell(self, control, line):
        import socket as sockets
        with sockets.socket(sockets.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(control)
            connection.sendall(line.encode() + b"\n")
            connection.recv(4096)


if __name__ == "__main__":
    unittest.main(verbosity=2)
