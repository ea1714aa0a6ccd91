"""Components imported from archives, an image composed of them, its disk as a client sees it."""
import io
import json
import os
import tarfile
import unittest

import lab

PASSWD = "root:x:0:0:root:/root:/bin/sh\n"
GROUP = "root:x:0:\n"


def archive(path, files, owner=0):
    """Writes a tar of {name: bytes or text}; files below var/lib belong to `owner`."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), 1_700_000_000
            if name.startswith("var/lib"):
                entry.uid = entry.gid = owner
            tar.addfile(entry, io.BytesIO(data))


def service(name, uid):
    return {"etc/passwd": PASSWD + f"{name}:x:{uid}:{uid}::/:/bin/false\n",
            "etc/group": GROUP + f"{name}:x:{uid}:\n",
            f"usr/bin/{name}": name.encode() * 50_000, f"var/lib/{name}/state": f"{name}'s state\n"}


class ComposeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = lab.Daemon("[tier]\nmemory_bytes = 33554432\nfile_bytes = 134217728\n")
        cls.daemon.start()
        base = {"etc/passwd": PASSWD, "etc/group": GROUP, "sbin/init": "#!/bin/sh\n", "bin/sh": b"shell" * 30_000}
        for name, files, owner in (("base", base, 0), ("redis", service("redis", 101), 101),
                                   ("memcached", service("memcached", 101), 101)):
            path = os.path.join(cls.daemon.folder, name + ".tar.gz")
            archive(path, files, owner)
            cls.daemon.cli("component", "import", "tar", path, "--name", name, "--version", "1")
        cls.manifest = os.path.join(cls.daemon.folder, "two.toml")
        with open(cls.manifest, "w", encoding="utf-8") as file:
            file.write('version = 1\nbase = "base"\ncomponents = ["redis", "memcached"]\nhostname = "two"\n'
                       'writable_bytes = 16777216\n')
        cls.daemon.cli("image", "compose", cls.manifest, "--name", "two")

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def copy(self, image):
        copy = os.path.join(self.daemon.folder, image + ".raw")
        lab.run("nbdcopy", self.daemon.uri("images/" + image), copy)
        return copy

    def test_disk_is_a_clean_file_system_of_all_components(self):
        disk = self.copy("two")
        lab.run("e2fsck", "-fn", disk)

        def content(path):
            return lab.run("debugfs", "-R", "cat " + path, disk).stdout

        self.assertEqual(content("/usr/bin/redis"), "redis" * 50_000)
        self.assertEqual(content("/var/lib/memcached/state"), "memcached's state\n")
        self.assertEqual(content("/etc/hostname"), "two\n")
        users = dict(line.split(":")[0:3:2] for line in content("/etc/passwd").splitlines())
        self.assertEqual(users["redis"], "101")
        self.assertNotEqual(users["memcached"], "101")
        owner = lab.run("debugfs", "-R", "stat /var/lib/memcached/state", disk).stdout
        self.assertRegex(owner, rf"User:\s+{users['memcached']}\b")

    def test_same_manifest_is_the_same_image(self):
        self.daemon.cli("image", "compose", self.manifest, "--name", "again")
        one, two = (json.loads(self.daemon.cli("image", "show", name, "-o", "json").stdout)["digest"]
                    for name in ("two", "again"))
        self.assertEqual(one, two)

    def test_components_are_listed(self):
        items = json.loads(self.daemon.cli("component", "list", "-o", "json").stdout)["items"]
        self.assertEqual([item["name"] for item in items], ["base", "memcached", "redis"])

    def test_vm_of_a_composed_image_keeps_its_writes_over_a_kill(self):
        self.daemon.cli("vm", "run", "v", "--image", "two", "--disk-only")
        size = int(lab.run("nbdinfo", "--size", self.daemon.uri("v")).stdout)
        at = (size - 65536) // 65536 * 65536
        lab.run("qemu-io", "-f", "raw", "-c", f"write -P 7 {at} 64k", "-c", "flush", self.daemon.uri("v"))
        self.daemon.kill()
        self.daemon.start()
        lab.run("qemu-io", "-f", "raw", "-r", "-c", f"read -P 7 {at} 64k", self.daemon.uri("v"))
        superblock = lab.run("nbdcopy", self.daemon.uri("v"), os.path.join(self.daemon.folder, "v.raw"))
        self.assertEqual(superblock.returncode, 0)
        lab.run("e2fsck", "-fn", os.path.join(self.daemon.folder, "v.raw"))

    def test_show_says_what_comes_from_where(self):
        with open(self.manifest, encoding="utf-8") as file:
            other = os.path.join(self.daemon.folder, "other.toml")
            with open(other, "w", encoding="utf-8") as out:
                out.write(file.read().replace(', "memcached"', ""))
        self.daemon.cli("image", "compose", other, "--name", "other")
        shown = json.loads(self.daemon.cli("image", "show", "two", "-o", "json").stdout)
        parts = {part["name"]: part for part in shown["parts"]}
        self.assertEqual(set(parts), {"base", "redis", "memcached", "metadata"})
        self.assertIn("other", parts["redis"]["shared_with"])
        self.assertNotIn("other", parts["memcached"]["shared_with"])
        self.assertEqual(parts["redis"]["unique_stored_bytes"], 0)
        self.assertEqual(parts["base"]["kind"], "component")
        self.assertEqual(parts["base"]["function"], "service")
        for part in shown["parts"]:
            self.assertGreater(sum(part["residence"].values()), 0, part)
        self.assertGreater(shown["gap_bytes"], 16777216 / 2)
        text = self.daemon.cli("image", "show", "other").stdout
        self.assertRegex(text, r"(?m)^redis .*two")

    def test_vm_is_composed_as_it_starts(self):
        self.daemon.cli("vm", "run", "made", "--base", "base", "--with", "redis,memcached", "--hostname", "made",
                        "--disk-only")
        disk = os.path.join(self.daemon.folder, "made.raw")
        lab.run("nbdcopy", self.daemon.uri("made"), disk)
        lab.run("e2fsck", "-fn", disk)
        self.assertEqual(lab.run("debugfs", "-R", "cat /etc/hostname", disk).stdout, "made\n")
        self.daemon.cli("vm", "stop", "made")
        for arguments in (["--base", "base", "--with", "redis,memcached", "--hostname", "made"], []):
            self.daemon.cli("vm", "run", "made", *arguments, "--disk-only")
            self.daemon.cli("vm", "stop", "made")
        done = self.daemon.cli("vm", "run", "made", "--base", "base", "--with", "redis", "--disk-only", check=False)
        self.assertIn("composed of something else", done.stderr)
        self.assertIn("vm.made ", self.daemon.cli("image", "list").stdout)
        self.assertNotIn("vm.made.next", self.daemon.cli("image", "list").stdout)
        self.daemon.cli("vm", "rm", "made")
        self.assertNotIn("vm.made", self.daemon.cli("image", "list").stdout)

    def test_vm_of_components_needs_a_kernel(self):
        done = self.daemon.cli("vm", "run", "k", "--base", "base", check=False)
        self.assertIn("no kernel to boot with", done.stderr)
        done = self.daemon.cli("vm", "run", "k", "--manifest", self.manifest, check=False)
        self.assertIn("without a kernel", done.stderr)
        done = self.daemon.cli("vm", "run", "k", check=False)
        self.assertIn("no VM k", done.stderr)
        done = self.daemon.cli("vm", "run", "k", "--base", 'a"b', check=False)
        self.assertIn("base must name components", done.stderr)
        vms = json.loads(self.daemon.cli("vm", "list", "-o", "json").stdout)["items"]
        self.assertNotIn("k", [vm["name"] for vm in vms])
        self.assertNotIn("vm.k", self.daemon.cli("image", "list").stdout)

    def test_what_is_wrong_is_said(self):
        bad = os.path.join(self.daemon.folder, "bad.toml")
        with open(bad, "w", encoding="utf-8") as file:
            file.write('version = 1\nbase = "base"\ncomponents = ["absent"]\n')
        done = self.daemon.cli("image", "compose", bad, "--name", "bad", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("component absent", done.stderr)
        with open(bad, "a", encoding="utf-8") as file:
            file.write("colour = 1\n")
        done = self.daemon.cli("image", "compose", bad, "--name", "bad", check=False)
        self.assertIn("manifest:4: 'colour' is unknown", done.stderr)
        path = os.path.join(self.daemon.folder, "evil.tar")
        archive(path, {"../../etc/passwd": "x"})
        done = self.daemon.cli("component", "import", "tar", path, "--name", "evil", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("..", done.stderr)


if __name__ == "__main__":
    unittest.main()
