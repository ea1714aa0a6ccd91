"""The S3 driver against a real radosgw: the store's contract, and forerund with a repository in a bucket."""
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import ceph  # noqa: E402  (beside this file, or in e2e/)
import compose_test  # noqa: E402
import lab  # noqa: E402
import s3_client  # noqa: E402

ACCESS_KEY, SECRET_KEY = "FORERUNTESTKEY", "forerun-test-secret/with+signs"


class S3Test(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ceph = ceph.Ceph()
        cls.addClassCleanup(cls.ceph.close)
        cls.ceph.start()
        cls.ceph.add_user("forerun", ACCESS_KEY, SECRET_KEY)
        cls.client = s3_client.Client(cls.ceph.port, ACCESS_KEY, SECRET_KEY)

    def make_bucket(self):
        name = self.id().rsplit(".", 1)[-1].replace("_", "-")[:40].rstrip("-")
        self.client.make_bucket(name)
        return name

    def test_holds_the_contract_of_a_store(self):
        environment = {**self.ceph.environment, "FORERUN_S3_ENDPOINT": f"http://127.0.0.1:{self.ceph.port}",
                       "FORERUN_S3_TLS_ENDPOINT": f"https://127.0.0.1:{self.ceph.tls_port}",
                       "FORERUN_S3_CA": self.ceph.path("ca.pem"), "FORERUN_S3_BUCKET": self.make_bucket(), "FORERUN_S3_KEY": ACCESS_KEY,
                       "FORERUN_S3_SECRET": SECRET_KEY,
                       "FORERUN_S3_COLLECT": "radosgw-admin gc process --include-all"}
        done = subprocess.run([os.environ["S3_CONTRACT_TEST"], "--gtest_brief=1"], env=environment, check=False,
                              timeout=600, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def forerund(self, bucket, access_key=ACCESS_KEY, secret=SECRET_KEY, more=""):
        """A forerund whose only repository is the bucket; not started."""
        daemon = lab.Daemon()
        self.addCleanup(daemon.close)
        daemon.keys = os.path.join(daemon.folder, "keys")
        self.write_keys(daemon, access_key, secret)
        daemon.config = (f'[[repository]]\ns3 = "s3://{bucket}/forerun"\nendpoint = "http://127.0.0.1:{self.ceph.port}"\n'
                         f'access_key_file = "{daemon.keys}"\nallow_unsigned = true\n{more}'
                         "[tier]\nmemory_bytes = 8388608\nfile_bytes = 0\n")
        return daemon

    @staticmethod
    def write_keys(daemon, access_key, secret):
        with open(daemon.keys, "w", encoding="utf-8") as out:
            os.fchmod(out.fileno(), 0o600)
            out.write(f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret}\n")

    def assert_knows_no_secret(self, daemon, text):
        self.assertNotIn(SECRET_KEY, text)
        self.assertNotIn(SECRET_KEY, daemon.log())

    def keys_in(self, bucket):
        status, _, body = self.client.request("GET", f"/{bucket}", {"list-type": "2", "prefix": "forerun/"})
        self.assertEqual(status, 200)
        return body.decode()

    def test_one_host_imports_and_another_reads(self):
        bucket = self.make_bucket()
        importer = self.forerund(bucket).start()
        disk = lab.random_disk(os.path.join(importer.folder, "disk.raw"), 12)
        importer.import_image(disk, "shared")
        for key in ("images.json", "images/shared.json", "indexes/", "chunks/"):
            self.assertIn(f"<Key>forerun/{key}", self.keys_in(bucket))
        self.assertFalse(os.path.exists(os.path.join(importer.state_dir, "repository")))

        reader = self.forerund(bucket).start()
        self.assertEqual([image["name"] for image in reader.get("/api/v1/images")["items"]], ["shared"])
        lab.run("qemu-img", "compare", "-f", "raw", "-F", "raw", disk, reader.uri("images/shared"))
        copy = os.path.join(reader.folder, "copy.raw")
        lab.run("nbdcopy", reader.uri("images/shared"), copy)
        lab.run("cmp", disk, copy)
        doctor = reader.cli("doctor", check=False).stdout
        self.assertIn(f"PASS  repository s3://{bucket}/forerun: answers; 1 images", doctor)
        self.assert_knows_no_secret(reader, doctor + reader.get("/metrics"))
        self.assert_knows_no_secret(importer, importer.get("/metrics"))

        # The same disk again, from the other host: everything is there and is relied upon.
        again = reader.cli("image", "import", disk, "--name", "again")
        self.assertIn(" 0 new chunks", again.stdout + again.stderr)

    def test_one_host_composes_what_another_imported(self):
        bucket = self.make_bucket()
        importer = self.forerund(bucket).start()
        users = "root:x:0:0:root:/root:/bin/sh\n"
        for name, files in (("base", {"etc/passwd": users, "sbin/init": "#!/bin/sh\n", "bin/sh": b"shell" * 50_000}),
                            ("tool", {"usr/bin/tool": b"tool" * 50_000})):
            path = os.path.join(importer.folder, name + ".tar.gz")
            compose_test.archive(path, files)
            importer.cli("component", "import", "tar", path, "--name", name, "--version", "1")

        composer = self.forerund(bucket).start()
        manifest = os.path.join(composer.folder, "both.toml")
        with open(manifest, "w", encoding="utf-8") as out:
            out.write('version = 1\nbase = "base"\ncomponents = ["tool"]\nwritable_bytes = 16777216\n')
        composer.cli("image", "compose", manifest, "--name", "both")
        self.assertIn("<Key>forerun/compositions/", self.keys_in(bucket))

        disk = os.path.join(importer.folder, "both.raw")
        lab.run("nbdcopy", importer.uri("images/both"), disk)
        lab.run("e2fsck", "-fn", disk)
        self.assertEqual(lab.run("debugfs", "-R", "cat /usr/bin/tool", disk).stdout, "tool" * 50_000)

    def test_a_wrong_secret_is_refused_and_says_so(self):
        bucket = self.make_bucket()
        daemon = self.forerund(bucket, secret="quite-another").start()
        disk = lab.random_disk(os.path.join(daemon.folder, "disk.raw"), 1)
        refused = daemon.cli("image", "import", disk, "--name", "d", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("the secret access key is wrong", refused.stderr)
        doctor = daemon.cli("doctor", check=False).stdout
        self.assertIn(f"FAIL  repository s3://{bucket}/forerun: ", doctor)
        self.assertIn("the secret access key is wrong", doctor)
        self.assertNotIn("quite-another", refused.stderr + doctor + daemon.log())

        self.write_keys(daemon, ACCESS_KEY, SECRET_KEY)  # mended while it runs
        daemon.import_image(disk, "d")

    def test_keys_come_from_the_environment_and_go_to_no_child(self):
        daemon = self.forerund(self.make_bucket())
        daemon.config = daemon.config.replace(f'access_key_file = "{daemon.keys}"\n', "")
        with self.assertRaisesRegex(AssertionError, "no keys: set repository.access_key_file"):
            daemon.start()
        os.environ.update({"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY})
        try:
            daemon.start()
        finally:
            del os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        disk = lab.random_disk(os.path.join(daemon.folder, "disk.raw"), 1)
        daemon.import_image(disk, "d")
        daemon.cli("vm", "run", "v", "--image", "d", "--memory", "64M")
        pids = [vm["pid"] for vm in daemon.get("/api/v1/vms")["items"]]
        self.assertEqual(len(pids), 1)
        with open(f"/proc/{pids[0]}/environ", "rb") as environment:
            inherited = environment.read()
        self.assertIn(b"PATH=", inherited)
        for name in (b"AWS_ACCESS_KEY_ID", b"AWS_SECRET_ACCESS_KEY", SECRET_KEY.encode()):
            self.assertNotIn(name, inherited)

    def test_reads_wait_for_a_gateway_that_went_and_came_back(self):
        bucket = self.make_bucket()
        importer = self.forerund(bucket).start()
        disk = lab.random_disk(os.path.join(importer.folder, "disk.raw"), 48)
        importer.import_image(disk, "shared")
        importer.stop()
        reader = self.forerund(bucket).start()
        reader.cli("vm", "run", "v", "--image", "shared", "--disk-only")  # a VM's reads wait; an image's would fail
        copy = os.path.join(reader.folder, "copy.raw")
        copying = subprocess.Popen(["nbdcopy", "--requests=4", "--connections=1", reader.uri("v"), copy],
                                   stderr=subprocess.PIPE, text=True)
        try:
            self.wait_for(lambda: os.path.exists(copy) and os.stat(copy).st_blocks > 2000)
            self.ceph.stop_gateway()
            self.assertIsNone(copying.poll(), "it was done before the gateway went: make the disk larger")
            time.sleep(3)
            self.assertIsNone(copying.poll(), "reads did not wait")
            self.ceph.start_gateway()
            _, errors = copying.communicate(timeout=240)
        finally:
            copying.kill()
        self.assertEqual(copying.returncode, 0, errors + reader.log()[-2000:])
        lab.run("cmp", disk, copy)

    def wait_for(self, condition):
        deadline = time.monotonic() + 120
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)


if __name__ == "__main__":
    if ceph.missing_programs():
        print(f"skipped: {', '.join(ceph.missing_programs())} not installed; `make test-s3` installs them")
        sys.exit(77)
    unittest.main(verbosity=2)
