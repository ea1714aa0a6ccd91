"""Debian packages and container images imported as components; show and rm."""
import gzip
import hashlib
import io
import json
import os
import tarfile
import unittest

import lab

STATUS = "Package: base-files\nStatus: install ok installed\nVersion: 12\nArchitecture: amd64\nMaintainer: A <a@b.c>\n" \
         "Description: base\n\n"
OCI = "application/vnd.oci.image."


def tar_of(files, mode="w"):
    """Returns a tar of {name: text}, None for a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mtime = 1_700_000_000
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            else:
                data = content.encode()
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """An OCI image layout in a folder."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(os.path.join(folder, "blobs/sha256"))
        self.write("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def write(self, name, data):
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(data)

    def blob(self, kind, data):
        self.write("blobs/sha256/" + hashlib.sha256(data).hexdigest(), data)
        return {"mediaType": OCI + kind, "digest": digest_of(data), "size": len(data)}

    def put(self, layers):
        config = {"architecture": "amd64", "os": "linux",
                  "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
                  "history": [{"created_by": f"RUN step {i}"} for i in range(len(layers))]}
        packed = [self.blob("layer.v1.tar+gzip", gzip.compress(layer, mtime=0)) for layer in layers]
        manifest = {"schemaVersion": 2, "layers": packed,
                    "config": self.blob("config.v1+json", json.dumps(config).encode())}
        index = {"schemaVersion": 2, "manifests": [self.blob("manifest.v1+json", json.dumps(manifest).encode())]}
        self.write("index.json", json.dumps(index).encode())


class ArchivesTest(unittest.TestCase):
    def setUp(self):
        self.daemon = lab.Daemon("[tier]\nmemory_bytes = 33554432\nfile_bytes = 134217728\n")
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    def path(self, name):
        return os.path.join(self.daemon.folder, name)

    def compose(self, name, base, components):
        with open(self.path(name + ".toml"), "w", encoding="utf-8") as file:
            file.write(f'version = 1\nbase = "{base}"\ncomponents = {json.dumps(components)}\nwritable_bytes = 16777216\n')
        self.daemon.cli("image", "compose", self.path(name + ".toml"), "--name", name)
        disk = self.path(name + ".raw")
        lab.run("nbdcopy", self.daemon.uri("images/" + name), disk)
        lab.run("e2fsck", "-fn", disk)
        return disk

    def content(self, disk, path):
        return lab.run("debugfs", "-R", "cat " + path, disk).stdout

    def test_package_built_by_dpkg_is_known_to_dpkg(self):
        root = self.path("tool")
        for name, text in {"DEBIAN/control": "Package: tool\nVersion: 1.0-1\nArchitecture: all\nMaintainer: A <a@b.c>\n"
                                             "Depends: base-files\nDescription: a tool\n",
                           "DEBIAN/conffiles": "/etc/tool.conf\n", "etc/tool.conf": "a = 1\n",
                           "lib/tool/data": "in usr\n", "usr/bin/tool": "#!/bin/sh\n"}.items():
            os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
            with open(os.path.join(root, name), "w", encoding="utf-8") as file:
                file.write(text)
        lab.run("dpkg-deb", "--root-owner-group", "-b", root, self.path("tool.deb"))
        base = io.BytesIO(tar_of({"usr/": None, "usr/lib/": None, "var/": None, "var/lib/": None, "var/lib/dpkg/": None,
                                  "var/lib/dpkg/info/": None, "var/lib/dpkg/updates/": None,
                                  "var/lib/dpkg/info/base-files.list": "/.\n", "var/lib/dpkg/info/base-files.md5sums": "",
                                   "var/lib/dpkg/status": STATUS}))
        with tarfile.open(fileobj=base, mode="a") as tar:
            link = tarfile.TarInfo("lib")
            link.type, link.linkname = tarfile.SYMTYPE, "usr/lib"
            tar.addfile(link)
        with open(self.path("base.tar"), "wb") as file:
            file.write(base.getvalue())
        self.daemon.cli("component", "import", "tar", self.path("base.tar"), "--name", "base")
        self.daemon.cli("component", "import", "deb", self.path("tool.deb"), "--name", "mytool", "--depends", "base")
        shown = json.loads(self.daemon.cli("component", "show", "mytool", "-o", "json").stdout)
        self.assertEqual((shown["version"], shown["architecture"], shown["depends"], shown["provides"]),
                         ("1.0-1", "all", ["base"], ["tool"]))
        disk = self.compose("one", "base", ["mytool"])
        # The base's /lib is a link: what the package has there is below /usr.
        self.assertEqual(self.content(disk, "/usr/lib/tool/data"), "in usr\n")
        self.assertIn("usr/lib", lab.run("debugfs", "-R", "stat /lib", disk).stdout)
        # dpkg itself reads the database.
        lab.run("debugfs", "-R", f"rdump /var {self.daemon.folder}", disk)
        admin = "--admindir=" + self.path("var/lib/dpkg")
        self.assertEqual(lab.run("dpkg", admin, "--audit").stdout, "")
        known = lab.run("dpkg-query", admin, "-W", "-f", "${db:Status-Abbrev} ${Version} ${Conffiles}", "tool").stdout
        self.assertEqual(known.split(), ["ii", "1.0-1", "/etc/tool.conf", hashlib.md5(b"a = 1\n").hexdigest()])
        self.assertIn("/usr/bin/tool\n", lab.run("dpkg", admin, "-L", "tool").stdout)
        self.assertEqual(self.content(disk, "/etc/tool.conf"), "a = 1\n")

    def test_layers_of_a_container_image(self):
        layout = Layout(self.path("layout"))
        lower = tar_of({"etc/": None, "etc/a": "one", "etc/b": "two", "srv/": None, "srv/x": "x"})
        upper = tar_of({"etc/": None, "etc/.wh.a": "", "etc/b": "changed", "srv/": None, "srv/.wh..wh..opq": "",
                        "srv/y": "y"})
        layout.put([lower, upper])
        self.daemon.cli("component", "import", "oci", layout.folder, "--name", "web")
        names = [item["name"] for item in
                 json.loads(self.daemon.cli("component", "list", "-o", "json").stdout)["items"]]
        self.assertEqual(names, ["web-0", "web-1"])
        shown = json.loads(self.daemon.cli("component", "show", "web-1", "-o", "json").stdout)
        self.assertEqual(shown["depends"], ["web-0"])
        self.assertEqual((shown["inodes"]["whiteouts"], shown["inodes"]["opaque_directories"]), (1, 1))
        self.assertIn("RUN step 1", shown["origin"])
        disk = self.compose("web", "web-0", ["web-1"])
        self.assertEqual(self.content(disk, "/etc/b"), "changed")
        self.assertEqual(self.content(disk, "/srv/y"), "y")
        for gone in ("/etc/a", "/srv/x"):
            self.assertIn("File not found", lab.run("debugfs", "-R", "stat " + gone, disk).stderr)

        # The same image in an archive, plain and packed, gives the same components.
        for kind in ("", "gz"):
            path = self.path("layout.tar" + kind)
            with tarfile.open(path, "w:" + kind) as tar:
                tar.add(layout.folder, arcname=".")
            name = "archive" + kind
            self.daemon.cli("component", "import", "oci", path, "--name", name)
            again = json.loads(self.daemon.cli("component", "show", name + "-1", "-o", "json").stdout)
            self.assertEqual(again["inodes"], shown["inodes"])

        # One bit of a layer is wrong.
        blob = os.path.join(layout.folder, "blobs/sha256", hashlib.sha256(gzip.compress(upper, mtime=0)).hexdigest())
        with open(blob, "r+b") as file:
            file.seek(4)
            file.write(b"\x01")
        done = self.daemon.cli("component", "import", "oci", layout.folder, "--name", "bad", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("not what its digest says", done.stderr)

    def test_removing_a_component_removes_its_name(self):
        with open(self.path("a.tar"), "wb") as file:
            file.write(tar_of({"a": "a"}))
        self.daemon.cli("component", "import", "tar", self.path("a.tar"), "--name", "a")
        self.assertIn("a.tar", self.daemon.cli("component", "show", "a").stdout)
        self.daemon.cli("component", "rm", "a")
        self.assertEqual(self.daemon.cli("component", "show", "a", check=False).returncode, 4)
        self.assertEqual(self.daemon.cli("component", "rm", "a", check=False).returncode, 4)
        self.assertEqual(json.loads(self.daemon.cli("component", "list", "-o", "json").stdout)["items"], [])


if __name__ == "__main__":
    unittest.main()
