#!/usr/bin/env python3
"""The real forerun against the real API with a service that pretends: output, exit codes, console, hostile bytes.

usage: cli_test.py FORERUN FAKE_DAEMON
"""
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

FORERUN, FAKE_DAEMON = (sys.argv.pop(1), sys.argv.pop(1)) if len(sys.argv) > 2 else ("", "")


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="cli-test-")
        cls.socket = os.path.join(cls.folder, "s")
        cls.console = os.path.join(cls.folder, "c")
        cls.daemon = subprocess.Popen([FAKE_DAEMON, cls.socket, cls.console])
        deadline = time.monotonic() + 10
        while not os.path.exists(cls.socket) and time.monotonic() < deadline:
            time.sleep(0.01)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.terminate()
        cls.daemon.wait()
        shutil.rmtree(cls.folder)

    def run_cli(self, *words, code=0, sock=None, **more):
        environment = {**os.environ, "FORERUN_SOCKET": sock or self.socket, "LC_ALL": "C.UTF-8"}
        done = subprocess.run([FORERUN, *words], capture_output=True, text=True, timeout=60, check=False,
                              env=environment, **more)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
        return done

    def test_lists_in_every_form(self):
        table = self.run_cli("image", "list").stdout.splitlines()
        self.assertEqual(table[0].split()[:3], ["NAME", "SIZE", "STORED"])
        self.assertIn("debian", table[1])
        self.assertEqual(json.loads(self.run_cli("image", "list", "-o", "json").stdout)["items"][0]["name"], "debian")
        lines = self.run_cli("-o", "jsonl", "vm", "list").stdout.splitlines()
        self.assertEqual([json.loads(line)["name"] for line in lines], ["web-1"])

    def test_shows_stats_and_explains(self):
        self.assertIn("1.50 s", self.run_cli("vm", "stats", "web-1").stdout)
        self.assertIn("replay", self.run_cli("explain", "prefetch", "web-1").stdout)
        self.assertIn("critical", self.run_cli("stats").stdout)
        self.assertEqual(json.loads(self.run_cli("vm", "stats", "web-1", "-o", "json").stdout)["stall_seconds"], 1.5)

    def test_imports_with_progress(self):
        disk = os.path.join(self.folder, "disk.raw")
        open(disk, "wb").close()
        done = self.run_cli("image", "import", "disk.raw", "--name", "d", cwd=self.folder)
        self.assertIn(disk, done.stdout)   # made absolute
        lines = self.run_cli("image", "import", disk, "--name", "d", "-o", "jsonl").stdout.splitlines()
        self.assertEqual(json.loads(lines[-1])["state"], "succeeded")
        self.assertEqual(self.run_cli("image", "import", disk, "--name", "d", "--no-wait").stdout, "o-1\n")
        self.assertIn("it is no disk", self.run_cli("image", "import", disk, "--name", "bad", code=1).stderr)
        self.run_cli("image", "import", disk + ".none", "--name", "d", code=4)

    def test_runs_a_vm_as_asked(self):
        done = self.run_cli("vm", "run", "a", "--image", "debian", "--memory", "1G", "--forward", "tcp:8080:80",
                            "--forward", "tcp:0.0.0.0:2222:22", "--kernel", "/k", "--append", "a b", "--no-prefetch",
                            "-o", "json")
        vm = json.loads(done.stdout)
        self.assertEqual(vm["memory_bytes"], 1 << 30)
        self.assertEqual([f["host_port"] for f in vm["forwards"]], [8080, 2222])
        self.assertEqual(vm["prefetch"], "off")
        self.assertEqual(vm["detail"], "kernel=/k append=a b")

    def test_exit_codes(self):
        self.run_cli(code=2)
        self.run_cli("vm", "fly", code=2)
        self.run_cli("vm", "run", "a", "--image", "i", "--memory", "lots", code=2)
        self.run_cli("vm", "run", "a", "--image", "i", "--forward", "80", code=2)
        self.run_cli("vm", "show", "../etc", code=2)
        self.run_cli("vm", "list", sock=self.socket + "-none", code=3)
        self.assertIn("no VM 'none'", self.run_cli("vm", "show", "none", code=4).stderr)
        self.run_cli("vm", "run", "web-1", "--image", "debian", code=5)
        self.run_cli("vm", "stop", "web-1", code=6)
        self.run_cli("vm", "stop", "web-1", "--force")
        self.run_cli("--help")
        self.assertRegex(self.run_cli("--version").stdout, r"^forerun \d")

    def test_doctor_reports_warnings_and_failures(self):
        done = self.run_cli("doctor", sock=self.socket + "-none", code=2)
        self.assertIn("FAIL  daemon", done.stdout)
        self.assertIn("fix: start it", done.stdout)
        checks = [json.loads(line) for line in subprocess.run(
            [FORERUN, "--socket", self.socket, "doctor", "-o", "jsonl"], capture_output=True, text=True,
            timeout=60, check=False).stdout.splitlines()]
        self.assertIn(("repository", "warn"), [(check["name"], check["status"]) for check in checks])

    def serve_console(self, talk):
        """Accepts one client on the console's socket and calls talk(connection)."""
        listener = socket.socket(socket.AF_UNIX)
        if os.path.exists(self.console):
            os.unlink(self.console)
        listener.bind(self.console)
        listener.listen(1)

        def serve():
            connection, _ = listener.accept()
            with connection, listener:
                talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        return thread

    def test_console_passes_bytes_both_ways(self):
        got = []

        def talk(connection):
            got.append(connection.recv(100))
            connection.sendall(b"login: \xff\r\n")

        thread = self.serve_console(talk)
        environment = {**os.environ, "FORERUN_SOCKET": self.socket}
        done = subprocess.run([FORERUN, "vm", "console", "web-1"], input=b"root\n", capture_output=True, timeout=60,
                              check=False, env=environment)
        thread.join()
        self.assertEqual((done.returncode, done.stdout, got), (0, b"login: \xff\r\n", [b"root\n"]))

    def test_console_on_a_terminal_is_left_by_its_key(self):
        got = []

        def talk(connection):
            while data := connection.recv(100):
                got.append(data)

        thread = self.serve_console(talk)
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(FORERUN, [FORERUN, "--socket", self.socket, "vm", "console", "web-1"], os.environ)
        shown = b""
        while b"leaves" not in shown:
            shown += os.read(terminal, 1000)
        os.write(terminal, b"a\x03b\x1dnever")   # Ctrl-C goes to the guest
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        thread.join()
        self.assertEqual((os.waitstatus_to_exitcode(status), b"".join(got)), (0, b"a\x03b"))


if __name__ == "__main__":
    if not FAKE_DAEMON:
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    unittest.main(verbosity=2)
