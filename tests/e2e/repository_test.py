"""The repository's own operations, beside importers and VMs: verification, garbage collection."""
import glob
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import unittest

import car_reader
import lab

OLD = 3 * 86400


def archive(path, files):
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), 1_700_000_000
            tar.addfile(entry, io.BytesIO(data))
    return path


class RepositoryTest(unittest.TestCase):
    def setUp(self):
        self.daemon = lab.Daemon()
        self.repository = os.path.join(self.daemon.folder, "repository")
        self.daemon.config = (f'[[repository]]\npath = "{self.repository}"\n'
                              "[tier]\nmemory_bytes = 8388608\nfile_bytes = 0\n")
        self.daemon.start()

    def tearDown(self):
        self.daemon.close()

    def disk(self, name, mib=3, seed=1):
        path = lab.random_disk(os.path.join(self.daemon.folder, name + ".raw"), mib, seed)
        self.daemon.import_image(path, name)
        return path

    def compose(self, name, components=("nginx",)):
        """Imports a base and components once, and composes them; returns the image's digest."""
        have = self.files("component-tags")
        contents = {"base": {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n",
                             "bin/sh": os.urandom(300_000)}}
        for component in components:
            contents[component] = {"usr/bin/" + component: os.urandom(200_000)}
        for component, files in contents.items():
            if f"component-tags/{component}.json" in have:
                continue
            path = archive(os.path.join(self.daemon.folder, component + ".tar"), files)
            self.daemon.cli("component", "import", "tar", path, "--name", component)
        manifest = os.path.join(self.daemon.folder, name + ".toml")
        with open(manifest, "w", encoding="utf-8") as file:
            file.write(f'version = 1\nbase = "base"\ncomponents = {json.dumps(list(components))}\n'
                       'writable_bytes = 16777216\n')
        self.daemon.cli("image", "compose", manifest, "--name", name)
        return json.loads(self.daemon.cli("image", "show", name, "-o", "json").stdout)["digest"]

    def files(self, folder=""):
        """The repository's objects, without locks, the list and what is being written."""
        found = set()
        for path in glob.glob(os.path.join(self.repository, folder, "**"), recursive=True):
            short = os.path.relpath(path, self.repository)
            if os.path.isfile(path) and "/" in short and not short.startswith("tmp/"):
                found.add(short)
        return found

    def age(self):
        """Makes all objects older than the grace."""
        then = time.time() - OLD
        for path in self.files():
            os.utime(os.path.join(self.repository, path), (then, then))

    def gc(self, *options):
        done = self.daemon.cli("repository", "gc", "-o", "json", *options)
        return json.loads(done.stdout)["result"]

    def verify(self, *options):
        done = self.daemon.cli("repository", "verify", "-o", "json", *options, check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        result = json.loads(done.stdout)["result"]
        self.assertEqual(done.returncode, 1 if result["problem_count"] else 0)
        return result

    def assert_same(self, disk, export):
        lab.run("qemu-img", "compare", "-f", "raw", "-F", "raw", disk, self.daemon.uri(export))

    def copy(self, export):
        """Reads all of an export."""
        path = os.path.join(self.daemon.folder, "copy.raw")
        lab.run("nbdcopy", self.daemon.uri(export), path)
        with open(path, "rb") as data:
            return data.read()

    # ---- garbage collection

    def test_what_no_tag_leads_to_is_removed_after_the_grace(self):
        kept = self.disk("kept", seed=1)
        before = self.files()
        self.disk("gone", seed=2)
        garbage = self.files() - before - {"images/gone.json"}
        self.daemon.cli("image", "rm", "gone")
        self.assertEqual(self.daemon.cli("image", "show", "gone", check=False).returncode, 4)
        self.assertEqual(self.gc()["removed_objects"], 0)          # young
        self.age()
        dry = self.gc("--dry-run")
        self.assertEqual((dry["garbage_objects"], dry["removed_objects"]), (len(garbage), 0))
        self.assertEqual(self.gc()["removed_objects"], len(garbage))
        self.assertEqual(self.files(), before)
        self.assertEqual(self.verify("--deep")["problem_count"], 0)
        self.assert_same(kept, "images/kept")

    def test_a_vm_keeps_its_disk_when_the_name_is_gone_or_means_another(self):
        disks = {name: self.disk(name, seed=seed) for seed, name in enumerate(("removed", "replaced", "stopped"), 5)}
        for name in disks:
            self.daemon.cli("vm", "run", "vm-" + name, "--image", name, "--disk-only", "--no-prefetch")
        self.daemon.cli("vm", "stop", "vm-stopped")
        self.daemon.cli("image", "rm", "removed")
        self.daemon.cli("image", "rm", "stopped")
        before = self.files("chunks")
        lab.random_disk(os.path.join(self.daemon.folder, "other.raw"), 1, 9)
        self.daemon.import_image(os.path.join(self.daemon.folder, "other.raw"), "replaced")
        self.age()
        self.assertEqual(self.gc()["removed_objects"], 0)
        self.daemon.stop()
        self.daemon.start()                                        # what is in use is known after a restart, too
        self.assertEqual(self.gc()["removed_objects"], 0)
        self.daemon.cli("vm", "run", "vm-stopped", "--image", "stopped", "--disk-only", "--no-prefetch")
        for name in disks:
            self.assert_same(disks[name], "vm-" + name)
        for name in disks:
            self.daemon.cli("vm", "stop", "vm-" + name)
            self.daemon.cli("vm", "rm", "vm-" + name)
        gone = self.gc()
        self.assertGreater(gone["removed_objects"], 60)
        self.assertTrue(self.files("chunks") < before | self.files("chunks"))
        self.assertEqual(self.verify("--deep")["problem_count"], 0)

    def test_composed_images_survive_and_go_with_their_names(self):
        digest = self.compose("web")
        whole = self.copy("images/web")
        self.age()
        for component in ("base", "nginx"):
            os.remove(os.path.join(self.repository, f"component-tags/{component}.json"))
        self.assertEqual(self.gc()["removed_objects"], 0)
        self.assertEqual(self.copy("images/web"), whole)
        self.assertEqual(self.verify("--deep")["problem_count"], 0)

        self.daemon.cli("vm", "run", "web-1", "--image", "web", "--disk-only", "--no-prefetch")
        self.daemon.cli("image", "rm", "web")
        self.assertEqual(self.gc()["removed_objects"], 0)
        self.assertEqual(self.copy("web-1"), whole)
        self.daemon.cli("vm", "stop", "web-1")
        self.daemon.cli("vm", "rm", "web-1")
        self.assertGreater(self.gc()["removed_objects"], 5)
        self.assertEqual(self.files(), set())
        self.assertNotIn(digest, str(self.files()))

    def test_an_open_export_keeps_its_image(self):
        self.disk("open", mib=4)
        # A client that reads slowly: half before, half after the name is gone and garbage is collected.
        script = ("import nbd, sys\nh = nbd.NBD()\nh.connect_uri(sys.argv[1])\nhalf = h.get_size() // 2\n"
                  "data = h.pread(half, 0)\nprint('half', flush=True)\nsys.stdin.readline()\n"
                  "data += h.pread(half, half)\nopen(sys.argv[2], 'wb').write(data)\n")
        result = os.path.join(self.daemon.folder, "read.out")
        client = subprocess.Popen(["/usr/bin/python3", "-c", script, self.daemon.uri("images/open"), result],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(client.stdout.readline(), "half\n")
            self.daemon.cli("image", "rm", "open")
            self.age()
            self.assertEqual(self.gc()["removed_objects"], 0)
            client.communicate("\n", timeout=60)
            self.assertEqual(client.returncode, 0)
        finally:
            client.kill()
            client.wait()
        lab.run("cmp", result, os.path.join(self.daemon.folder, "open.raw"))
        for _ in range(100):                                       # the server sees the client leave a little later
            if self.gc()["removed_objects"] > 0:
                break
            time.sleep(0.05)
        self.assertEqual(self.files(), set())

    def test_collection_beside_imports_and_reads(self):
        """With no grace at all: the daemon's own imports are safe, for it knows of them."""
        shared = self.disk("shared", mib=12, seed=3)
        self.daemon.cli("vm", "run", "reader", "--image", "shared", "--disk-only", "--no-prefetch")
        self.age()
        stop, failures, passes = threading.Event(), [], [0]

        def collect():
            while not stop.is_set():
                try:
                    self.gc("--grace", "0s")
                    passes[0] += 1
                except AssertionError as error:
                    failures.append(error)
                    return

        collector = threading.Thread(target=collect)
        collector.start()
        try:
            for seed in range(4):
                # Half of it is in the repository already, unreferenced from the second round on.
                path = os.path.join(self.daemon.folder, f"new{seed}.raw")
                lab.random_disk(path, 12, 3)
                with open(path, "r+b") as out:
                    out.write(os.urandom(1 << 20))
                self.daemon.import_image(path, "new")
                self.assert_same(path, "images/new")
                self.assert_same(shared, "reader")
                self.daemon.cli("image", "rm", "new")
                if seed == 1:
                    self.daemon.cli("image", "rm", "shared")
        finally:
            stop.set()
            collector.join()
        self.assertEqual(failures, [])
        self.assertGreater(passes[0], 2)
        self.assert_same(shared, "reader")

    # ---- verification

    def test_verify_names_what_is_damaged_and_what_needs_it(self):
        self.disk("one", seed=1)
        self.compose("web")
        self.assertEqual(self.verify()["problem_count"], 0)
        chunks = sorted(self.files("chunks"))
        damaged = os.path.join(self.repository, chunks[0])
        with open(damaged, "r+b") as chunk:
            middle = os.path.getsize(damaged) // 2
            chunk.seek(middle)
            byte = chunk.read(1)[0]
            chunk.seek(middle)
            chunk.write(bytes([byte ^ 1]))
        os.remove(os.path.join(self.repository, chunks[1]))
        looked = self.verify()
        self.assertEqual([(p["path"], p["code"]) for p in looked["problems"]], [(chunks[1], "not_found")])
        deep = {p["path"]: p for p in self.verify("--deep")["problems"]}
        self.assertEqual({path: p["code"] for path, p in deep.items()},
                         {chunks[0]: "corrupt", chunks[1]: "not_found"})
        for problem in deep.values():
            self.assertTrue(problem["needed_by"])
        table = self.daemon.cli("repository", "verify", "--deep", check=False)
        self.assertEqual(table.returncode, 1)
        self.assertIn(chunks[0], table.stdout)

        composition = self.files("compositions").pop()
        with open(os.path.join(self.repository, composition), "ab") as out:
            out.write(b"x")
        problems = {p["path"]: p for p in self.verify()["problems"]}
        self.assertEqual(problems[composition]["needed_by"], ["images/web.json"])
        # Nobody can tell what such a composition needs: nothing is collected.
        refused = self.daemon.cli("repository", "gc", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(composition, refused.stderr)

    # ---- a repository that is away

    def test_a_composed_image_is_read_over_a_repository_that_is_damaged_gone_and_back(self):
        self.compose("web")
        whole = self.copy("images/web")
        self.daemon.cli("vm", "run", "web-1", "--image", "web", "--disk-only", "--no-prefetch")
        self.daemon.stop()
        shutil.move(self.repository, self.repository + ".away")
        self.daemon.start()                                        # the kept composition is opened without it
        vm = self.daemon.get("/api/v1/vms/web-1")
        self.assertEqual(vm["state"], "running")
        self.assertNotEqual(lab.run("nbdcopy", self.daemon.uri("web-1"), "/dev/null", check=False).returncode, 0)
        self.daemon.stop()
        shutil.rmtree(self.repository)
        shutil.move(self.repository + ".away", self.repository)
        good = os.path.join(self.daemon.folder, "good")
        shutil.copytree(self.repository, good)
        chunks = sorted(self.files("chunks"))
        for path in chunks[::2]:
            with open(os.path.join(self.repository, path), "r+b") as chunk:
                chunk.write(b"\x07")                               # no such codec
        self.daemon.start()
        self.assertNotEqual(lab.run("nbdcopy", self.daemon.uri("web-1"), "/dev/null", check=False).returncode, 0)
        for path in chunks[::2]:
            shutil.copyfile(os.path.join(good, path), os.path.join(self.repository, path))
        self.assertEqual(self.copy("web-1"), whole)

    # ---- export

    def serve(self, folder):
        """nginx over a folder; returns its URL."""
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        if not nginx:
            self.skipTest("nginx is not installed (packaging/packages.txt lists nginx-light)")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        place = os.path.join(self.daemon.folder, "nginx")
        os.makedirs(place)
        temporary = "".join(f"{kind}_temp_path {place}/{kind};" for kind in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(os.path.join(place, "nginx.conf"), "w", encoding="utf-8") as out:
            out.write(f"daemon off; worker_processes 1; error_log {place}/error.log; pid {place}/pid;\n"
                      f"{'user root;' if os.getuid() == 0 else ''}\nevents {{}}\n"
                      f"http {{ access_log off; {temporary}\n"
                      f"server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n")
        server = subprocess.Popen([nginx, "-p", place, "-c", os.path.join(place, "nginx.conf"), "-e",
                                   os.path.join(place, "error.log")])

        def end():
            server.terminate()
            server.wait()

        self.addCleanup(end)
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return f"http://127.0.0.1:{port}/"
            self.assertIsNone(server.poll())
            time.sleep(0.02)
        raise AssertionError("nginx does not listen")

    def reader(self, url, more="allow_unsigned = true\n"):
        """Another daemon, that has nothing but that repository."""
        daemon = lab.Daemon(f'[[repository]]\nurl = "{url}"\n{more}'
                            "[tier]\nmemory_bytes = 8388608\nfile_bytes = 0\n")
        self.addCleanup(daemon.close)
        return daemon.start()

    def test_exported_folder_is_served_by_any_web_server(self):
        self.disk("other", seed=8)
        self.compose("web")
        whole = self.copy("images/web")
        folder = os.path.join(self.daemon.folder, "exported")
        done = json.loads(self.daemon.cli("repository", "export", folder, "web", "base", "-o", "json").stdout)["result"]
        exported = {os.path.relpath(path, folder) for path in glob.glob(folder + "/**", recursive=True)
                    if os.path.isfile(path)} - {"images.lock", "objects.lock"}
        self.assertEqual(exported - {"images.json"}, {path for path in exported if path in self.files()})
        self.assertNotIn("images/other.json", exported)
        self.assertNotIn("component-tags/nginx.json", exported)    # its data is there, its name was not asked for
        self.assertEqual(done["objects"], len(exported) - 1)
        self.assertGreater(done["objects_linked"], 0)
        reader = self.reader(self.serve(folder))
        self.assertEqual([image["name"] for image in reader.get("/api/v1/images")["items"]], ["web"])
        copy = os.path.join(self.daemon.folder, "far.raw")
        lab.run("nbdcopy", reader.uri("images/web"), copy)
        with open(copy, "rb") as data:
            self.assertEqual(data.read(), whole)

        # Interrupted, damaged, and taken up again.
        chunks = sorted(path for path in exported if path.startswith("chunks/"))
        os.remove(os.path.join(folder, chunks[0]))
        os.remove(os.path.join(folder, chunks[1]))
        with open(os.path.join(folder, chunks[1]), "wb") as out:
            out.write(b"torn")
        again = json.loads(self.daemon.cli("repository", "export", folder, "web", "base", "-o", "json").stdout)["result"]
        self.assertEqual(again["objects"], done["objects"])
        self.assertEqual(again["objects_reused"], done["objects"] - 4)    # two chunks, two tags
        self.assertEqual(self.verify("--deep")["problem_count"], 0)       # what it shares was not harmed
        self.assertEqual(self.daemon.cli("repository", "export", folder, "nobody", check=False).returncode, 4)

    def test_exported_archive_holds_every_object_under_its_path(self):
        # A component's index over 1 MiB, so that one object is more than a block.
        large = archive(os.path.join(self.daemon.folder, "large.tar"),
                        {f"{i % 100}/{os.urandom(45).hex()}": "" for i in range(30_000)})
        self.daemon.cli("component", "import", "tar", large, "--name", "large")
        self.disk("one", mib=1)
        self.compose("web")
        car = os.path.join(self.daemon.folder, "all.car")
        done = json.loads(self.daemon.cli("repository", "export", "--car", car, "-o", "json").stdout)["result"]
        with open(car, "rb") as data:
            read = car_reader.Car(data.read())
        self.assertEqual(read.root_text(), done["root"])
        found = read.files()
        listed = json.loads(found.pop("images.json"))
        self.assertEqual(sorted(listed["images"]), ["one", "web"])
        self.assertEqual(set(found), self.files())
        for path, content in found.items():
            with open(os.path.join(self.repository, path), "rb") as data:
                self.assertEqual(content, data.read(), path)
        self.assertGreater(max(len(content) for content in found.values()), 1 << 20)
        # Of what is named by its bytes, and is one block, the name is in the CID.
        for path in self.files("compositions") | self.files("components"):
            if os.path.getsize(os.path.join(self.repository, path)) > 1 << 20:
                continue
            digest = bytes.fromhex(os.path.basename(path))
            self.assertIn(bytes([1, 0x55, 0x12, 32]) + digest, read.blocks)
        again = os.path.join(self.daemon.folder, "again.car")
        self.daemon.cli("repository", "export", "--car", again)
        lab.run("cmp", car, again)
        with open(os.path.join(self.repository, sorted(self.files("chunks"))[3]), "ab") as out:
            out.write(b"x")
        failed = self.daemon.cli("repository", "export", "--car", again + "2", check=False)
        self.assertEqual(failed.returncode, 1)
        self.assertEqual(glob.glob(again + "2*"), [])

    # ---- trust

    def test_what_comes_over_a_network_must_be_signed_by_a_trusted_key(self):
        self.disk("one", mib=1, seed=1)
        self.disk("two", mib=1, seed=2)
        url = self.serve(self.repository)
        key, other = (os.path.join(self.daemon.folder, name) for name in ("key", "other"))
        for file in (key, other):
            self.assertTrue(self.daemon.cli("repository", "key", "generate", file).stdout.startswith("ed25519:"))
            self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        self.assertEqual(self.daemon.cli("repository", "key", "generate", key, check=False).returncode, 5)
        reader = self.reader(url, f'[trust]\nkeys = ["{key}.pub"]\n')

        def refusal(name):
            done = reader.cli("vm", "run", "x-" + name, "--image", name, "--disk-only", check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(reader.get("/api/v1/vms")["items"], [])
            return done.stderr

        self.assertIn("it is not signed", refusal("one"))
        self.daemon.cli("repository", "sign", "--all", "--key", other)
        self.assertIn("which is not trusted here", refusal("one"))
        self.assertEqual(reader.get("/api/v1/images")["items"], [])
        self.daemon.cli("repository", "sign", "one", "--key", key)
        reader.cli("image", "show", "one")
        self.assertIn("which is not trusted here", refusal("two"))
        self.assertEqual(self.daemon.cli("repository", "sign", "three", "--key", key, check=False).returncode, 4)

        # Another name's signature; another index under the signature.
        tags = {name: os.path.join(self.repository, f"images/{name}.json") for name in ("one", "two")}
        parsed = {}
        for name, path in tags.items():
            with open(path, encoding="utf-8") as tag:
                parsed[name] = json.load(tag)
        replayed = dict(parsed["two"], signature=parsed["one"]["signature"])
        tampered = dict(parsed["one"], index=parsed["two"]["index"])
        renamed = dict(parsed["one"], name="two")
        for name, tag, said in (("two", replayed, "is wrong"), ("one", tampered, "is wrong"),
                                ("two", renamed, "is wrong")):
            with open(tags[name], "w", encoding="utf-8") as out:
                json.dump(tag, out)
            self.assertIn(said, refusal(name))
            with open(tags[name], "w", encoding="utf-8") as out:
                json.dump(parsed[name], out)
        reader.cli("vm", "run", "x", "--image", "one", "--disk-only")

        # The key is revoked: no new VM by that name, but the one that runs keeps its disk.
        reader.stop()
        reader.config = reader.config.replace("[trust]\n", f'[trust]\nrevoked = ["{key}.pub"]\n')
        reader.start()
        done = reader.cli("vm", "run", "y", "--image", "one", "--disk-only", check=False)
        self.assertIn("revoked key", done.stderr)
        lab.run("qemu-img", "compare", "-f", "raw", "-F", "raw", os.path.join(self.daemon.folder, "one.raw"),
                reader.uri("x"))
        listed = self.daemon.cli("repository", "tags").stdout
        self.assertEqual(listed.count("images/"), 2)

    def test_a_daemon_with_a_key_signs_what_it_makes(self):
        key = os.path.join(self.daemon.folder, "key")
        public = self.daemon.cli("repository", "key", "generate", key).stdout.strip()
        self.daemon.stop()
        self.daemon.config = (f'[trust]\nsigning_key = "{key}"\n'
                              f'[[repository]]\npath = "{self.repository}"\nallow_unsigned = false\n')
        self.daemon.start()
        self.compose("web")                                        # composing asks for trust in the components
        self.disk("one", mib=1)
        tags = self.daemon.get("/api/v1/repository/tags")["items"]
        self.assertEqual({tag["path"] for tag in tags}, {"images/web.json", "images/one.json",
                                                         "component-tags/base.json", "component-tags/nginx.json"})
        for tag in tags:
            self.assertEqual(("ed25519:" + tag["key"], tag["refused"]), (public, None))
        # Without the key nothing new is believed, and what is composed of it neither.
        self.daemon.stop()
        self.daemon.config = f'[[repository]]\npath = "{self.repository}"\nallow_unsigned = false\n'
        self.daemon.start()
        refused = self.daemon.cli("image", "compose", os.path.join(self.daemon.folder, "web.toml"), "--name", "b",
                                  check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("component base: cannot trust component-tags/base.json", refused.stderr)
        reader = self.reader(self.serve(self.repository), f'[trust]\nkeys = ["{public}"]\n')
        reader.cli("image", "show", "web")


if __name__ == "__main__":
    unittest.main(verbosity=2)
