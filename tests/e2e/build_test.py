"""Components of folders and of Debian packages, and disks composed of them. Needs root."""
import json
import os
import socket
import sys
import unittest

import lab


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
        cls.daemon = lab.Daemon("[tier]\nmemory_bytes = 33554432\nfile_bytes = 134217728\n").start()
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


if __name__ == "__main__":
    if os.getuid() != 0:
        print("SKIP: needs root: devices, owners, namespaces")
        sys.exit(77)
    unittest.main()
