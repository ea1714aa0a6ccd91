"""The S3 driver against a real radosgw: the store's contract, and forerund with a repository in a bucket."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import ceph  # noqa: E402  (both stand beside this file or in e2e/)
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
        name = self.id().rsplit(".", 1)[-1].replace("_", "-")[:40]
        self.client.make_bucket(name)
        return name

    def test_holds_the_contract_of_a_store(self):
        environment = {**self.ceph.environment, "FORERUN_S3_ENDPOINT": f"http://127.0.0.1:{self.ceph.port}",
                       "FORERUN_S3_BUCKET": self.make_bucket(), "FORERUN_S3_KEY": ACCESS_KEY,
                       "FORERUN_S3_SECRET": SECRET_KEY,
                       "FORERUN_S3_COLLECT": "radosgw-admin gc process --include-all"}
        done = subprocess.run([os.environ["S3_CONTRACT_TEST"], "--gtest_brief=1"], env=environment, check=False,
                              timeout=600, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    if ceph.missing_programs():
        print(f"skipped: {', '.join(ceph.missing_programs())} not installed; `make test-s3` installs them")
        sys.exit(77)
    unittest.main(verbosity=2)
