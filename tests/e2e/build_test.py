"""Components of folders and of Debian packages, and disks composed of them. Needs root."""
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import unittest

import lab

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
TIER = "[tier]\nmemory_bytes = 33554432\nfile_bytes = 134217728\n"


def compose(daemon, name, base, components=()):
    """Composes an image, copies its disk, checks it, and returns the copy's path."""
    manifest = os.path.join(daemon.folder, name + ".toml")
    with open(manifest, "w", encoding="utf-8") as file:
        file.write(f'version = 1\nbase = "{base}"\ncomponents = {json.dumps(list(components))}\n'
                   'writable_bytes = 16777216\n')
    daemon.cli("image", "compose", manifest, "--name", name)
    disk = os.path.join(daemon.folder, name + ".raw")
    lab.run("nbdcopy", daemon.uri("images/" + name), disk)
    lab.run("e2fsck", "-fn", disk)
    return disk


def debugfs(disk, request):
    return lab.run("debugfs", "-R", request, disk).stdout


class DirTest(unittest.TestCase):
    """A folder with everything odd in it."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = lab.Daemon(TIER).start()
        cls.source = os.path.join(cls.daemon.folder, "source")
        os.makedirs(os.path.join(cls.source, "dev"))
        os.chmod(cls.source, 0o700)
        os.mknod(cls.at("dev/null"), 0o20666, os.makedev(1, 3))
        os.chmod(cls.at("dev/null"), 0o666)
        os.mkfifo(cls.at("pipe"))
        os.symlink("/etc/shadow", cls.at("link out of it"))
        os.symlink("x" * 500, cls.at("long link"))
        with open(cls.at("sparse"), "wb") as file:
            file.truncate(128 << 20)
            file.seek(64 << 20)
            file.write(b"middle")
        with open(cls.at("-odd\nname"), "w", encoding="utf-8") as file:
            file.write("odd")
        os.link(cls.at("-odd\nname"), cls.at("second name"))
        os.chown(cls.at("second name"), 4_000_000, 70_000)
        os.chmod(cls.at("second name"), 0o6754)
        os.setxattr(cls.at("sparse"), "user.note", b"kept")
        os.setxattr(cls.at("dev"), "trusted.mine", b"y" * 3000)
        os.utime(cls.at("second name"), ns=(1_500_000_000_000_000_007, 1_500_000_000_000_000_007))
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(cls.at("socket"))

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    @classmethod
    def at(cls, name):
        return os.path.join(cls.source, name)

    def test_all_of_it_is_on_the_composed_disk(self):
        refused = self.daemon.cli("component", "import", "dir", self.source, "--name", "odd", check=False)
        self.assertIn("dev/null is a device", refused.stderr)
        self.daemon.cli("component", "import", "dir", self.source, "--name", "odd", "--allow-devices")
        disk = compose(self.daemon, "odd", "odd")
        listed = debugfs(disk, "ls -l /")
        self.assertNotIn("socket", listed)
        self.assertRegex(debugfs(disk, "stat /dev/null"), r"Type: character special.*Mode:\s+0666(.|\n)*01:03")
        self.assertIn("Type: FIFO", debugfs(disk, "stat /pipe"))
        self.assertIn('Fast link dest: "/etc/shadow"', debugfs(disk, 'stat "/link out of it"'))
        self.assertIn("Size: 500", debugfs(disk, 'stat "/long link"'))
        second = debugfs(disk, 'stat "/second name"')
        self.assertRegex(second, r"Mode:\s+06754")
        self.assertRegex(second, r"User:\s+4000000\s+Group:\s+70000")
        self.assertRegex(second, r"Links: 2\b")
        self.assertRegex(second, r"mtime: 0x59682f00")
        self.assertEqual(debugfs(disk, 'cat "/second name"'), "odd")
        self.assertIn("user.note (4) = \"kept\"", debugfs(disk, "ea_list /sparse"))
        self.assertIn("trusted.mine (3000)", debugfs(disk, "ea_list /dev"))
        self.assertRegex(debugfs(disk, "stat /"), r"Mode:\s+0755")
        self.assertRegex(debugfs(disk, "stat /sparse"), r"Size: 134217728(.|\n)*Blockcount: 8\b")

    def test_importing_again_is_the_same_component(self):
        digests = set()
        for name in ("one", "two"):
            self.daemon.cli("component", "import", "dir", self.source, "--name", "same", "--allow-devices")
            items = self.daemon.get("/api/v1/components")["items"]
            digests |= {item["digest"] for item in items if item["name"] == "same"}
        self.assertEqual(len(digests), 1)

    def test_an_overlays_upper_folder_removes_and_hides(self):
        lower, upper = self.at("../lower"), self.at("../upper")
        for folder in (lower + "/full", upper + "/full"):
            os.makedirs(folder)
        for path in (lower + "/gone", lower + "/kept", lower + "/full/hidden", upper + "/full/shown"):
            with open(path, "w", encoding="utf-8") as file:
                file.write(os.path.basename(path))
        os.mknod(upper + "/gone", 0o20000, 0)
        os.setxattr(upper + "/full", "trusted.overlay.opaque", b"y")
        self.daemon.cli("component", "import", "dir", lower, "--name", "lower")
        self.daemon.cli("component", "import", "dir", upper, "--name", "upper", "--overlay")
        disk = compose(self.daemon, "layers", "lower", ["upper"])
        self.assertEqual(debugfs(disk, "cat /kept"), "kept")
        self.assertEqual(debugfs(disk, "cat /full/shown"), "shown")
        self.assertNotIn("gone", debugfs(disk, "ls /"))
        self.assertNotIn("hidden", debugfs(disk, "ls /full"))
        self.assertEqual(debugfs(disk, "ea_list /full").strip(), "")


def missing():
    """What building needs and is not here."""
    for tool in ("mmdebstrap", "depmod", "busybox", "unshare"):
        if not shutil.which(tool):
            return tool
    found = subprocess.run(["grep", "-rlsw", "bookworm", "/etc/apt/sources.list", "/etc/apt/sources.list.d/"],
                           capture_output=True, check=False)
    return None if found.stdout else "package sources of bookworm"


def built_before():
    """Where a base and a kernel are kept from run to run, as long as the scripts that build them are the same."""
    digest = hashlib.sha256()
    for name in ("common.sh", "base", "kernel", "init"):
        with open(os.path.join(ROOT, "tools/components", name), "rb") as file:
            digest.update(file.read())
    return os.path.join(lab.BIN_DIR, "..", "e2e-components", digest.hexdigest()[:16])


@unittest.skipIf(missing(), f"{missing()} is missing")
class PackagesTest(unittest.TestCase):
    """Components of Debian packages, built apart on one base."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = lab.Daemon(TIER)
        repository, kept = os.path.join(cls.daemon.state_dir, "repository"), built_before()
        if os.path.isdir(kept):
            shutil.copytree(kept, repository)
        cls.daemon.start()
        if not os.path.isdir(kept):
            cls.build("--base", "debian-12")
            cls.build("--kernel", "kern")
            shutil.copytree(repository, kept + ".new", dirs_exist_ok=True)
            os.rename(kept + ".new", kept)
        cls.build("--on", "debian-12", "--apt", "nginx-light", "--name", "nginx")
        cls.build("--on", "debian-12", "--apt", "redis-server")
        cls.disk = compose(cls.daemon, "both", "debian-12", ["kern", "nginx", "redis-server"])

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    @classmethod
    def build(cls, *arguments):
        cls.daemon.cli("component", "build", *arguments, timeout=900)

    def components(self):
        return {item["name"]: item for item in self.daemon.get("/api/v1/components")["items"]}

    def names(self, folder):
        lines = debugfs(self.disk, "ls -p " + folder).splitlines()
        return {line.split("/")[5] for line in lines if line.count("/") > 5} - {".", ".."}

    def test_components_say_what_they_are(self):
        items = self.components()
        functions = {"debian-12": "base", "kern": "kernel", "nginx": "service", "redis-server": "service"}
        self.assertEqual({name: items[name]["function"] for name in functions}, functions)
        self.assertRegex(items["debian-12"]["version"], r"^12\.\d+$")
        self.assertRegex(items["nginx"]["version"], r"^1\.22")
        self.assertLess(items["nginx"]["data_bytes"], 8 << 20)

    def test_services_that_were_built_apart_are_installed_together(self):
        status = debugfs(self.disk, "cat /var/lib/dpkg/status")
        for package in ("nginx-light", "redis-server", "systemd"):
            self.assertRegex(status, rf"Package: {package}\nStatus: install ok installed\n")
        self.assertLessEqual({"nginx.service", "redis-server.service", "systemd-networkd.service"},
                             self.names("/etc/systemd/system/multi-user.target.wants"))
        uid = re.search(r"^redis:x:(\d+):", debugfs(self.disk, "cat /etc/passwd"), re.M).group(1)
        self.assertRegex(debugfs(self.disk, "stat /var/lib/redis"), rf"User:\s+{uid}\b")
        self.assertIn("redis:", debugfs(self.disk, "cat /etc/shadow"))

    def test_nothing_of_the_builder_is_left(self):
        self.assertIn("Size: 0\n", debugfs(self.disk, "stat /etc/machine-id"))
        self.assertTrue({"passwd", "apt", "nginx", "redis"} <= self.names("/etc"))
        self.assertFalse({"hostname", "resolv.conf", "passwd-", "shadow-"} & self.names("/etc"))
        self.assertNotIn("policy-rc.d", self.names("/usr/sbin"))
        self.assertNotIn("deb", debugfs(self.disk, "cat /etc/apt/sources.list").split())
        for folder in ("/etc/apt/sources.list.d", "/tmp", "/run", "/dev", "/var/log/nginx", "/var/cache/apt/archives",
                       "/var/lib/apt/lists"):
            self.assertLessEqual(self.names(folder), {"partial"}, folder)
        self.assertIn("nginx", self.names("/var/log"))
        self.assertLessEqual(self.names("/var/lib/dpkg") & {"lock", "lock-frontend", "status-old"}, set())

    def test_the_kernel_has_what_a_boot_needs(self):
        release, = self.names("/usr/lib/modules")
        self.assertLessEqual({f"vmlinuz-{release}", f"initrd.img-{release}"}, self.names("/boot"))
        self.assertIn("modules.dep.bin", self.names(f"/usr/lib/modules/{release}"))
        path = os.path.join(self.daemon.folder, "initrd")
        debugfs(self.disk, f"dump /boot/initrd.img-{release} {path}")
        listed = lab.run("sh", "-c", f"zcat {path} | busybox cpio -t 2>/dev/null").stdout.split()
        self.assertLessEqual({"init", "bin/busybox", "modules/virtio_blk.ko"}, set(listed))

    def test_building_again_is_the_same_component(self):
        before = self.components()
        self.build("--on", "debian-12", "--apt", "nginx-light", "--name", "nginx")
        self.build("--kernel", "kern")
        for name in ("nginx", "kern"):
            self.assertEqual(self.components()[name]["digest"], before[name]["digest"], name)

    def test_packages_are_installed_on_several_components(self):
        self.build("--on", "debian-12,nginx", "--apt", "libnginx-mod-stream", "--name", "stream")
        disk = compose(self.daemon, "deep", "debian-12", ["stream"])
        status = debugfs(disk, "cat /var/lib/dpkg/status")
        for package in ("nginx-light", "libnginx-mod-stream"):
            self.assertIn(f"Package: {package}\nStatus: install ok installed\n", status)
        self.assertIn("Type: regular", debugfs(disk, "stat /usr/sbin/nginx"), "what it depends on comes with it")
        self.assertIn("mod-stream", debugfs(disk, "ls /etc/nginx/modules-enabled"))
        items = self.components()
        self.assertLess(items["stream"]["name_count"], items["nginx"]["name_count"])

    def test_a_failed_build_says_why_and_leaves_nothing(self):
        done = self.daemon.cli("component", "build", "--on", "debian-12", "--apt", "no-such-package", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("Unable to locate package no-such-package", done.stderr)
        self.assertNotIn("no-such-package", self.components())
        self.assert_nothing_left()
        self.assertEqual(os.listdir(os.path.join(self.daemon.state_dir, "scratch")), [])
        done = self.daemon.cli("component", "build", "--on", "absent", "--apt", "hello", check=False)
        self.assertIn("absent", done.stderr)

    def test_a_killed_daemon_leaves_nothing_running_or_mounted(self):
        asked = self.daemon.post("/api/v1/components", {"source": "apt", "name": "killed", "on": ["debian-12"],
                                                        "packages": ["nginx-light"]})
        deadline = time.monotonic() + 120
        while not lab.run("losetup", "-a").stdout.count(self.daemon.state_dir):
            self.assertLess(time.monotonic(), deadline, self.daemon.log())
            self.assertEqual(self.daemon.get("/api/v1/operations/" + asked["id"])["state"], "running")
            time.sleep(0.05)
        self.daemon.kill()
        self.assert_nothing_left()
        self.daemon.start()
        self.assertFalse(os.path.exists(os.path.join(self.daemon.state_dir, "scratch")))

    def assert_nothing_left(self):
        """No process works in the daemon's folder, nothing of it is mounted or behind a loop device, after a moment."""
        deadline = time.monotonic() + 20
        while True:
            busy = [pid for pid in os.listdir("/proc") if pid.isdigit() and self.works_here(pid)]
            loops = lab.run("losetup", "-a").stdout
            with open("/proc/mounts", encoding="utf-8") as mounts:
                left = busy or self.daemon.state_dir in loops or self.daemon.state_dir in mounts.read()
            if not left:
                return
            self.assertLess(time.monotonic(), deadline, f"{busy} {loops}")
            time.sleep(0.05)

    def works_here(self, pid):
        try:
            return os.readlink(f"/proc/{pid}/cwd").startswith(os.path.join(self.daemon.state_dir, "scratch"))
        except OSError:
            return False


if __name__ == "__main__":
    if os.getuid() != 0:
        print("SKIP: needs root: devices, owners, namespaces")
        sys.exit(77)
    unittest.main()
