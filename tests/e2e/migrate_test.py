"""A guest that works on its memory and its disk moves between two hosts, in every mode; and what goes wrong leaves it
running where it was.

The guest is its own checker: it keeps random data in memory (tmpfs) and on its disk, writes some of it anew in every
round, and compares all of it with what it remembers; a page or block that the move lost or brought too old is a
GUEST-ERROR on its console, as is a kernel that stumbles.
"""
import glob
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import unittest

import checker
import lab

DISK_MIB = 64

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /ram
/bin/busybox mount -t proc proc /proc
FILL
i=0
while true; do
  i=$((i+1)); k=$((i % 8))
  dd if=/dev/urandom of=/ram/f$k bs=64k count=8 conv=notrunc 2>/dev/null
  md5sum < /ram/f$k > /ram/s$k
  n=$(((i * 5) % 8))
  [ "$(md5sum < /ram/f$n)" = "$(cat /ram/s$n)" ] || echo GUEST-ERROR memory $n
  dd if=/ram/f$k of=/data/f$k bs=64k count=4 conv=fsync,notrunc 2>/dev/null || echo GUEST-ERROR write
  dd if=/ram/f$k bs=64k count=4 2>/dev/null | md5sum > /data/s$k
  echo 3 > /proc/sys/vm/drop_caches
  if [ -e /data/s$n ]; then
    [ "$(dd if=/data/f$n bs=64k count=4 2>/dev/null | md5sum)" = "$(cat /data/s$n)" ] || echo GUEST-ERROR disk $n
  fi
  md5sum -c /sums >/dev/null 2>&1 || echo GUEST-ERROR image
  echo GUEST-BEAT $i
  sleep 0.1
done
"""


def build_disk(folder):
    root = os.path.join(folder, "root")
    for name in ("bin", "sbin", "data", "proc", "sys", "dev", "ram", "work", "m"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    for name in ("sh", "dd", "md5sum", "cat", "sleep", "mount"):
        os.symlink("busybox", os.path.join(root, "bin", name))
    path = lab.random_disk(os.path.join(root, "data/image"), 2)
    digest = subprocess.run(["md5sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    with open(os.path.join(root, "sums"), "w", encoding="utf-8") as out:
        out.write(f"{digest}  /data/image\n")
    with open(os.path.join(root, "sbin/init"), "w", encoding="utf-8") as out:
        out.write(INIT.replace("FILL\n", checker.FILL))
    os.chmod(os.path.join(root, "sbin/init"), 0o755)
    disk = os.path.join(folder, "disk.raw")
    lab.run("truncate", "-s", f"{DISK_MIB}M", disk)
    lab.run("mkfs.ext4", "-q", "-d", root, disk)
    return disk


def make_certificates(folder, names, ca="ca"):
    """A CA, and a certificate of it for each host, as docs/migration.md has it."""
    subject = ["-subj", f"/CN={ca}"]
    lab.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-keyout", f"{folder}/{ca}.key", "-out", f"{folder}/{ca}.pem", *subject)
    for name in names:
        lab.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.csr")
        lab.run("openssl", "x509", "-req", "-in", f"{folder}/{name}.csr", "-CA", f"{folder}/{ca}.pem", "-CAkey",
                f"{folder}/{ca}.key", "-CAcreateserial", "-days", "2", "-out", f"{folder}/{name}.pem")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class MigrateTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lab.build_guest()
        cls.shared = tempfile.mkdtemp(prefix="forerun-migrate-")
        make_certificates(cls.shared, ["a", "b"])
        make_certificates(cls.shared, ["stranger"], ca="others")
        cls.disk = build_disk(cls.shared)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared)

    def setUp(self):
        self.ports = {name: free_port() for name in "ab"}
        self.hosts = {}
        for name in "ab":
            self.hosts[name] = self.host(name)
        self.repository = os.path.join(self.hosts["a"].folder, "repository")
        self.a, self.b = self.hosts["a"], self.hosts["b"]
        for name, daemon in self.hosts.items():
            daemon.config = self.config(name)
            daemon.start()
        self.a.import_image(self.disk, "checker")

    def tearDown(self):
        for daemon in (self.b, self.a):
            daemon.close()

    def host(self, _name):
        return lab.Daemon()

    def config(self, name, certificate=None, known="ab", ca="ca"):
        own = certificate or name
        text = (f'[[repository]]\npath = "{self.repository}"\n[tier]\nmemory_bytes = 16777216\nfile_bytes = 67108864\n'
                f'[migration]\nlisten = "127.0.0.1:{self.ports[name]}"\ncertificate = "{self.shared}/{own}.pem"\n'
                f'key = "{self.shared}/{own}.key"\nca = "{self.shared}/{ca}.pem"\n')
        for other in known:
            text += f'[hosts.{other}]\naddress = "127.0.0.1:{self.ports[other]}"\n'
        return text

    def console(self, daemon, vm="m"):
        return checker.read_console(daemon.get(f"/api/v1/vms/{vm}")["log_path"])

    def beats(self, daemon):
        return max(checker.beats(self.console(daemon)), default=0)

    def wait_for_beat(self, daemon, number, seconds=60):
        checker.wait_for_beat(lambda: self.console(daemon), number, seconds,
                              lambda: f"{self.a.log()[-1500:]}\n{self.b.log()[-1500:]}")

    def run_guest(self, daemon):
        daemon.cli("vm", "run", "m", "--image", "checker", "--memory", "128M", "--kernel", f"{lab.GUEST}/vmlinuz", "--initrd",
                   f"{lab.GUEST}/initrd.img", "--append", checker.APPEND)
        self.wait_for_beat(daemon, 10, 120)

    def state(self, daemon, vm="m"):
        return daemon.get(f"/api/v1/vms/{vm}")["state"]

    def move(self, source, target, to, mode, *more):
        before = self.beats(source)
        done = source.cli("vm", "migrate", "m", "--to", to, "--mode", mode, *more, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, f"{done.stderr}\n{source.log()[-2000:]}\n{target.log()[-2000:]}")
        print(f"{mode}: {done.stdout.strip()}", flush=True)
        self.assertEqual(self.state(source), "moved")
        self.assertEqual(self.state(target), "running")
        self.assertEqual(source.get("/api/v1/vms/m")["pid"], None)
        frozen = self.beats(source)
        self.wait_for_beat(target, max(before, frozen) + 12)
        self.assertEqual(self.beats(source), frozen, "the guest runs on at its source")
        return done.stdout

    def damage_chunks(self, daemon):
        """Loses every fifth chunk of the checkpoints that a host has."""
        chunks = sorted(glob.glob(os.path.join(daemon.state_dir, "checkpoints/store/chunks/*/*")))
        self.assertGreater(len(chunks), 50)
        for chunk in chunks[::5]:
            os.remove(chunk)

    def test_there_and_back_again(self):
        self.run_guest(self.a)
        self.assertIn("yes", self.a.cli("host", "list").stdout)
        self.a.cli("vm", "checkpoint", "create", "m")
        self.move(self.a, self.b, "b", "postcopy")
        # What host a has of the guest, of a checkpoint, does not come again.
        back = self.move(self.b, self.a, "a", "precopy", "--max-downtime", "3s")
        self.assertRegex(back, r"[1-9][0-9.]* MiB were there already, of checkpoint 1[;,]")
        self.a.cli("vm", "checkpoint", "create", "m")
        self.assertRegex(self.a.cli("vm", "checkpoint", "copy", "m", "--to", "b").stdout, "checkpoint 2 is at host b: [1-9]")
        self.damage_chunks(self.b)
        there = self.move(self.a, self.b, "b", "hybrid")
        self.assertRegex(there, r"were there already, of checkpoint 2 of host a \([1-9]\d* pages of it could not be read")
        self.assertEqual(glob.glob(os.path.join(self.b.state_dir, "checkpoints/copies/a/m/*")), [])
        listed = self.a.cli("vm", "list").stdout
        self.assertIn("moved → b", listed)
        again = self.a.cli("vm", "run", "m", check=False)
        self.assertIn("moved to host b", again.stderr)
        self.a.cli("vm", "rm", "m")
        self.b.cli("vm", "stop", "m", "--force")

    def refused(self, to, reason):
        """The VM stays, runs on, and nothing of it is at the target."""
        before = self.beats(self.a)
        done = self.a.cli("vm", "migrate", "m", "--to", to, check=False, timeout=120)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, reason)
        self.assertEqual(self.state(self.a), "running")
        self.wait_for_beat(self.a, before + 3)

    def restart(self, name, **more):
        daemon = self.hosts[name]
        daemon.stop()
        daemon.config = self.config(name, **more)
        daemon.start()

    def test_what_fails_leaves_it_running(self):
        self.run_guest(self.a)
        self.refused("c", "no host c")
        self.b.cli("vm", "run", "m", "--image", "checker", "--disk-only")
        self.refused("b", "there is a VM m already")
        self.b.cli("vm", "stop", "m", "--force")
        self.b.cli("vm", "rm", "m")

        self.restart("b", certificate="stranger", ca="others")
        self.refused("b", "certificate is refused")
        self.restart("b", certificate="a")
        self.refused("b", "is not that of host b")
        self.restart("b", known="b")
        self.refused("b", "alert|cut|closed")
        self.b.stop()
        self.refused("b", "cannot connect|refused")
        self.b.config = self.config("b").replace(self.repository, self.shared)
        shutil.rmtree(os.path.join(self.b.state_dir, "indexes"))
        self.b.start()
        self.refused("b", "host b cannot take VM m: cannot open the folder indexes in .*No such file")
        self.assertEqual(self.b.get("/api/v1/vms")["items"], [])

    @unittest.skipUnless(os.geteuid() == 0, "a file system of a size takes root")
    def test_a_full_target_refuses(self):
        self.b.stop()
        lab.run("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", self.b.state_dir)
        self.addCleanup(shutil.rmtree, self.b.folder, ignore_errors=True)
        self.addCleanup(lab.run, "umount", "-l", self.b.state_dir)
        self.b.start()
        self.run_guest(self.a)
        self.wait_for_beat(self.a, 20)
        space = os.statvfs(self.b.state_dir)
        with open(os.path.join(self.b.state_dir, "filler"), "wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, space.f_bavail * space.f_bsize - (256 << 10))
        self.refused("b", r"host b cannot take VM m: .*own writes take \d+ MiB, .* has 0 MiB left")
        self.assertEqual(self.b.get("/api/v1/vms")["items"], [])

    def talk(self, *sent):
        """Says frames to host b with the certificate of a; returns what b answers until it ends the connection."""
        context = ssl.create_default_context(cafile=f"{self.shared}/ca.pem")
        context.check_hostname = False
        context.load_cert_chain(f"{self.shared}/a.pem", f"{self.shared}/a.key")
        heard = b""
        with socket.create_connection(("127.0.0.1", self.ports["b"]), timeout=30) as plain:
            with context.wrap_socket(plain) as secure:
                try:
                    for each in sent:
                        secure.sendall(each)
                    while b'"failed"' not in heard and (piece := secure.recv(65536)):
                        heard += piece
                except (OSError, ssl.SSLError):
                    pass
        return heard.decode(errors="replace")

    def test_a_host_that_breaks_the_rules_harms_nobody(self):
        def message(**members):
            text = json.dumps(members).encode()
            text = struct.pack(">I", len(text)) + text
            return struct.pack(">BBI", 1, 0, len(text)) + text

        for members, words in (({"kind": "ping", "version": 2}, "speaks version 2"),
                               ({"kind": "dance", "version": 1}, "unknown kind"),
                               ({"kind": "commit", "version": 1, "vm": "m"}, "out of turn"),
                               ({"kind": "prepare", "version": 1, "id": "x", "vm": "m", "record": "{}"}, "failed"),
                               ({"kind": "prepare", "version": 1, "id": "x", "vm": "../m", "record": ""}, "failed"),
                               ({"kind": "resume", "version": 1, "id": "x", "vm": "m", "ownership": 9}, "failed")):
            self.assertIn(words, self.talk(message(**members)), members)
        for frames in ((b"\x09\x00\x00\x00\x00\x04",), (b"\x01\x06\x00\x00\x00\x01x",),  # no such type, no such channel
                       (struct.pack(">BBI", 1, 0, 1 << 30),), (struct.pack(">BBII", 2, 1, 4, 0xffffffff),),
                       (struct.pack(">BBI", 1, 3, 8192) + bytes(8192),) * 129,  # more than the window
                       (struct.pack(">BBII", 1, 0, 4, 0xffffffff),), (b"GET / HTTP/1.1\r\n\r\n",)):
            self.talk(*frames)
        self.assertEqual(self.b.get("/api/v1/vms")["items"], [])
        self.assertIn("yes", self.a.cli("host", "list").stdout)

    def test_a_migration_that_is_called_off(self):
        self.run_guest(self.a)
        before = self.beats(self.a)
        operation = self.a.post("/api/v1/vms/m/migrate", {"to": "b", "mode": "precopy", "rate_bytes_per_s_max": 2 << 20})
        deadline = time.monotonic() + 60
        while "round" not in self.a.get(f"/api/v1/operations/{operation['id']}")["message"]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertEqual(self.state(self.a), "migrating")
        self.assertEqual(self.state(self.b), "incoming")
        busy = self.a.cli("vm", "stop", "m", check=False)
        self.assertIn("is being migrated to host b", busy.stderr)
        self.a.cli("vm", "migrate", "m", "--cancel")
        while self.a.get(f"/api/v1/operations/{operation['id']}")["state"] == "running":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertEqual(self.state(self.a), "running")
        self.wait_for_beat(self.a, before + 12)
        while self.b.get("/api/v1/vms")["items"]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        # Nothing is in the way of another one.
        self.move(self.a, self.b, "b", "postcopy")


if __name__ == "__main__":
    unittest.main(verbosity=2)
