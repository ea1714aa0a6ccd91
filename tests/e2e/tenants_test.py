"""Tenants on one host: what one's VMs teach serves the other's only where it is marked shareable."""
import unittest

import lab

MIB = 12
READS = [arg for mib in (1, 9, 3, 10, 2) for arg in ("-c", f"read {mib}M 256k")]


class TenantsTest(unittest.TestCase):
    def setUp(self):
        self.daemon = lab.daemon_with_disk(self, MIB)

    def boot(self, name, tenant):
        """Boots a VM of the tenant that reads the disk. Returns how many blocks replay said."""
        whose = ["--tenant", tenant] if tenant else []
        self.daemon.cli("vm", "run", name, "--image", "disk", "--disk-only", *whose)
        lab.run("qemu-io", "-r", "-f", "raw", self.daemon.uri(name), *READS)
        self.daemon.cli("vm", "stop", name, "--force")
        models = self.daemon.get(f"/api/v1/vms/{name}/stats")["models"]
        return next(model["said_blocks"] for model in models if model["name"] == "replay")

    def test_what_one_tenant_taught_serves_another_once_it_is_marked(self):
        self.assertEqual(self.boot("red-1", "red"), 0)
        self.assertGreater(self.boot("red-2", "red"), 0, "its own VMs learn from it")
        self.assertEqual(self.boot("blue-1", "blue"), 0)
        self.assertEqual(self.boot("none-1", ""), 0)
        self.daemon.cli("component", "mark", "disk", "--shareable")
        self.assertGreater(self.boot("green-1", "green"), 0)
        self.daemon.stop()
        self.daemon.start()
        self.assertGreater(self.boot("green-2", "green"), 0, "the mark outlives the daemon")
        self.daemon.cli("component", "mark", "disk", "--private")
        self.assertEqual(self.boot("white-1", "white"), 0)

    def test_wrong_marks_are_refused(self):
        done = self.daemon.cli("component", "mark", "absent", "--shareable", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no component and no image absent", done.stderr)
        self.assertNotEqual(self.daemon.cli("component", "mark", "disk", check=False).returncode, 0)


if __name__ == "__main__":
    unittest.main()
