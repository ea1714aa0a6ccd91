"""A forerund of a test's own: its folders, its process, its API, its clients. Standard library only."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BIN_DIR = os.environ.get("FORERUN_BIN_DIR", os.path.join(os.getcwd(), "build/release/bin"))
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
GUEST = os.path.join(ROOT, "build/guest")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Failed(Exception):
    """An API call that was answered with an error."""

    def __init__(self, status, problem):
        super().__init__(f"{status}: {problem}")
        self.status = status
        self.problem = problem


class Api:
    """Asks the daemon that listens on `self.socket`."""

    def request(self, method, path, body=None):
        connection = UnixConnection(self.socket)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
            answer = connection.getresponse()
            text = answer.read().decode()
            value = json.loads(text) if text and "json" in answer.getheader("Content-Type", "") else text
            if answer.status >= 400:
                raise Failed(answer.status, value)
            return value
        finally:
            connection.close()

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, body):
        return self.request("POST", path, body)

    def delete(self, path):
        return self.request("DELETE", path)


class Daemon(Api):
    """forerund in a temporary folder; kill() is SIGKILL, stop() is SIGTERM, start() begins again on the same state."""

    def __init__(self, config=""):
        self.folder = tempfile.mkdtemp(prefix="forerun-e2e-")
        self.config = config
        self.process = None
        self.log_path = os.path.join(self.folder, "forerund.log")
        self.run_dir = os.path.join(self.folder, "run")
        self.state_dir = os.path.join(self.folder, "state")

    def start(self):
        path = os.path.join(self.folder, "forerund.toml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(f'[daemon]\nstate_dir = "{self.state_dir}"\nrun_dir = "{self.run_dir}"\n{self.config}')
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([os.path.join(BIN_DIR, "forerund"), "--config", path], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.get("/api/v1/vms")
                return self
            except (OSError, http.client.HTTPException):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"forerund did not start:\n{self.log()}")
                time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        return self.process.returncode

    def close(self):
        if self.process and self.process.poll() is None:
            for vm in self.get("/api/v1/vms")["items"]:
                self.post(f"/api/v1/vms/{vm['name']}/stop", {"force": True})
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            return text.read()

    @property
    def socket(self):
        return os.path.join(self.run_dir, "forerund.sock")

    def cli(self, *arguments, check=True, timeout=300):
        command = [os.path.join(BIN_DIR, "forerun"), "--socket", self.socket, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{command} exited {done.returncode}: {done.stderr}\n{self.log()[-2000:]}")
        return done

    def import_image(self, path, name, *more):
        self.cli("image", "import", path, "--name", name, *more)

    def uri(self, export):
        return f"nbd+unix:///{export}?socket={os.path.join(self.run_dir, 'nbd.sock')}"


def run(*command, check=True, timeout=300):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def build_guest():
    """Makes the small guest of tools/guest in GUEST, once for all tests; without root, and without it, skips them."""
    if os.geteuid() != 0 and not os.path.exists(os.path.join(GUEST, "vmlinuz")):
        print("skipped: building the guest's kernel needs root", file=sys.stderr)
        sys.exit(77)
    run(os.path.join(ROOT, "tools/guest/build"), timeout=900)


def random_disk(path, mib, seed=1):
    """Writes a disk of `mib` MiB: random data with a hole of zeroes in its middle third."""
    import random
    generator = random.Random(seed)
    with open(path, "wb") as out:
        out.truncate(mib << 20)
        for i in range(mib):
            if mib // 3 <= i < 2 * mib // 3:
                continue
            out.seek(i << 20)
            out.write(generator.randbytes(1 << 20))
    return path


def daemon_with_disk(case, mib):
    """Returns a daemon that runs for as long as the test `case`, with the image "disk" of random_disk()."""
    daemon = Daemon()
    daemon.start()
    case.addCleanup(daemon.close)
    disk = os.path.join(daemon.folder, "disk.raw")
    random_disk(disk, mib)
    daemon.import_image(disk, "disk")
    return daemon
