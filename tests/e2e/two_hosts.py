"""A lab of a test's own (`forerun lab`): hosts in network namespaces, joined by a switch whose links can be slowed and cut.
Several may be up at once: each has a folder and names of its own."""
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from lab import Api, BIN_DIR, Failed  # noqa: F401: for those that use a lab


def skip_unless_possible():
    """Ends the test with the code for "skipped", and why, where no lab can be put up."""
    reason = None
    if os.geteuid() != 0:
        reason = "a lab takes root"
    elif not os.path.exists("/dev/net/tun"):
        reason = "there is no /dev/net/tun"
    else:
        for program in ("ip", "nsenter", "openssl"):
            if shutil.which(program) is None:
                reason = f"there is no program {program}"
    if reason is None:
        probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
        if probe.returncode != 0:
            reason = "no network namespace can be made: " + probe.stderr.strip()
    if reason:
        print("skipped: " + reason, file=sys.stderr)
        sys.exit(77)


class Host(Api):
    """One of a lab's hosts: its API, its command line, programs in its network."""

    def __init__(self, lab, name):
        self.lab = lab
        self.name = name

    @property
    def seen(self):
        return next(host for host in self.lab.list()["hosts"] if host["name"] == self.name)

    @property
    def address(self):
        return self.seen["address"]

    @property
    def socket(self):
        return f"{self.lab.folder}/{self.name}/run/forerund.sock"

    def answers(self):
        try:
            self.get("/api/v1/vms")
            return True
        except (OSError, http.client.HTTPException):
            return False

    def cli(self, *arguments, check=True, timeout=300):
        return self.lab.forerun("--socket", self.socket, *arguments, check=check, timeout=timeout)

    def command(self, *command):
        """Returns the arguments that run a command in this host's network."""
        return ["ip", "netns", "exec", self.seen["namespace"], *command]

    def kill(self):
        """SIGKILL to this host's forerund; its VMs go on."""
        os.kill(self.seen["pid"], signal.SIGKILL)
        wait_for(lambda: self.seen["state"] == "ended", "the daemon to end")

    def start(self):
        self.lab.forerun("lab", "start", self.name, "--dir", self.lab.folder)

    def log(self):
        with open(f"{self.lab.folder}/{self.name}/forerund.log", encoding="utf-8", errors="replace") as text:
            return text.read()


class Lab:
    """`with Lab(delay="5ms") as lab:` puts one up and takes it down; lab.a and lab.b are its hosts."""

    def __init__(self, hosts=2, delay="0ms", rate="none"):
        self.folder = tempfile.mkdtemp(prefix="forerun-lab-")
        self.prefix = "t" + os.path.basename(self.folder).replace("_", "-")[len("forerun-lab-"):]
        self.count = hosts
        self.links = ["--delay", delay, "--rate", rate]
        self.hosts = [Host(self, chr(ord("a") + i)) for i in range(hosts)]
        self.a, self.b = self.hosts[:2]

    def forerun(self, *arguments, check=True, timeout=300):
        command = [os.path.join(BIN_DIR, "forerun"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{command} exited {done.returncode}: {done.stderr}")
        return done

    def up(self, check=True):
        return self.forerun("lab", "up", "--dir", self.folder, "--hosts", str(self.count), "--prefix", self.prefix,
                            *self.links, check=check)

    def down(self, *flags):
        return self.forerun("lab", "down", "--dir", self.folder, *flags)

    def list(self):
        return json.loads(self.forerun("lab", "list", "--dir", self.folder, "-o", "json").stdout)

    def link(self, first, second, *flags, check=True):
        return self.forerun("lab", "link", first.name, second.name, "--dir", self.folder, *flags, check=check)

    def cut(self):
        self.link(self.a, self.b, "--down")

    def heal(self):
        self.link(self.a, self.b, "--up")

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            for host in self.hosts:
                if os.path.exists(f"{self.folder}/{host.name}/forerund.log"):
                    print(f"-- forerund of {host.name}:\n{host.log()[-3000:]}", file=sys.stderr)
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)


def is_running(pid):
    """Returns whether a process runs; one that ended may not have been reaped yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, what, seconds=60):
    """Waits for a condition; the time is a limit for a run that hangs, not a promise."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
