"""Base, kernel and services as components, built once, and images composed of any of them."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

from . import children, workloads
from .forerund import Forerund

BASE, KERNEL = "bench-base", "bench-kernel"
APPEND = "console=ttyS0 quiet loglevel=3 mitigations=off no_timer_check panic=1 systemd.show_status=0"


class ComposedGuest:
    """What boots a composed image: kernel and initrd of its kernel component, as files of the host."""

    def __init__(self, folder, version):
        self.kernel = os.path.join(folder, "vmlinuz")
        self.initrd = os.path.join(folder, "initrd.img")
        self.append = APPEND
        self.facts = {"kernel": version, "append": APPEND}


class Library:
    """A repository of components in `folder`, and the images composed of them.

    What is there is not built again: remove the folder to build from newer packages. `base`: the name of the base
    component; `include`: packages that it has besides the usual ones.
    """

    def __init__(self, bin_folder, folder, say, base=BASE, include=""):
        self.bin_folder = bin_folder
        self.folder = os.path.abspath(folder)
        self.repository = os.path.join(self.folder, "repository")
        self.say = say
        self.base, self.include = base, include
        self.images = {}  # workload names: the image's figures

    def build(self, sets):
        """Builds what is missing of the sets' components, then composes an image of each set. Returns the guest."""
        with self._daemon("build-") as daemon:
            self._build_components(daemon, dict.fromkeys(name for names in sets for name in names))
            for names in dict.fromkeys(sets):
                self._compose(daemon, names)
            return self._guest(daemon, sets[0])

    def build_components(self, names):
        """Builds what is missing of base, kernel and these workloads' components."""
        with self._daemon("build-") as daemon:
            self._build_components(daemon, names)

    def ensure(self, daemon, name, how):
        """Builds component `name` with `forerun component build HOW` if it is not there."""
        if name not in {item["name"] for item in daemon.request("GET", "/api/v1/components")["items"]}:
            self.say(f"building component {name}")
            began = time.monotonic()
            self._forerun(daemon, "component", "build", *how)
            self.say(f"building component {name} took {time.monotonic() - began:.0f} s")

    def _build_components(self, daemon, names):
        self.ensure(daemon, self.base, ["--base", self.base, *(["--include", self.include] if self.include else [])])
        self.ensure(daemon, KERNEL, ["--kernel", KERNEL])
        for name in names:
            one = workloads.workload(name)
            self.ensure(daemon, one.component,
                        ["--on", self.base, "--apt", " ".join(one.packages), "--name", one.component])

    @contextlib.contextmanager
    def _daemon(self, prefix):
        """A daemon over the repository, with a state folder of its own."""
        os.makedirs(self.repository, exist_ok=True)
        state = tempfile.mkdtemp(prefix=prefix, dir=self.folder)
        daemon = Forerund(self.bin_folder, state, self.repository)
        try:
            yield daemon
        finally:
            daemon.stop()
            shutil.rmtree(state, ignore_errors=True)

    def _forerun(self, daemon, *arguments):
        done = subprocess.run([os.path.join(self.bin_folder, "forerun"), "--socket", daemon.socket, *arguments],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise children.Failure(f"forerun {' '.join(arguments[:3])} failed: {done.stderr.strip()[-2000:]}", daemon.log)
        return json.loads(done.stdout) if "json" in arguments else None

    def _compose(self, daemon, names):
        manifest = os.path.join(self.folder, image_name(names) + ".toml")
        with open(manifest, "w", encoding="utf-8") as file:
            file.write(workloads.manifest(self.base, KERNEL, [workloads.workload(name) for name in names]))
        began = time.monotonic()
        self._forerun(daemon, "image", "compose", manifest, "--name", image_name(names))
        figures = self._forerun(daemon, "image", "show", image_name(names), "-o", "json")
        figures["compose_s"] = round(time.monotonic() - began, 3)
        self.images[names] = figures

    def _guest(self, daemon, names):
        """Takes kernel and initrd out of a composed disk, once."""
        known = os.path.join(self.folder, "kernel")
        try:
            with open(os.path.join(known, "version"), encoding="utf-8") as file:
                return ComposedGuest(known, file.read())
        except FileNotFoundError:
            pass
        raw = os.path.join(self.folder, "kernel.raw")
        self.copy(daemon, names, raw)
        try:
            version = self._extract(raw, known)
        finally:
            os.unlink(raw)
        return ComposedGuest(known, version)

    def copy_disk(self, names, raw):
        """Copies the composed disk of `names` into a sparse file, from the repository itself."""
        with self._daemon("copy-") as daemon:
            self.copy(daemon, names, raw)

    def stored_bytes(self, names):
        """Returns {component: stored bytes} of what an image of these workloads is composed of."""
        with self._daemon("list-") as daemon:
            stored = {item["name"]: item["stored_bytes"]
                      for item in daemon.request("GET", "/api/v1/components")["items"]}
        return {name: stored[name] for name in
                [self.base, KERNEL] + [workloads.workload(name).component for name in names]}

    @staticmethod
    def copy(daemon, names, raw):
        """Copies the composed disk of `names` into a sparse file."""
        socket = daemon.nbd_socket()
        uri = f"nbd+unix:///images/{image_name(names)}?socket={socket}"
        done = subprocess.run([children.program("nbdcopy", "libnbd-bin"), uri, raw], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise children.Failure(f"nbdcopy failed: {done.stderr.strip()}", daemon.log)

    @staticmethod
    def _extract(raw, folder):
        debugfs = children.program("debugfs", "e2fsprogs")

        def ask(request):
            return subprocess.run([debugfs, "-R", request, raw], capture_output=True, text=True, check=False).stdout

        found = re.search(r"vmlinuz-(\S+)", ask("ls /boot"))
        if not found:
            raise children.Failure("the kernel component has no /boot/vmlinuz-VERSION")
        version = found[1]
        os.makedirs(folder, exist_ok=True)
        for inside, outside in ((f"vmlinuz-{version}", "vmlinuz"), (f"initrd.img-{version}", "initrd.img")):
            path = os.path.join(folder, outside)
            ask(f"dump /boot/{inside} {path}")
            if not os.path.exists(path) or os.path.getsize(path) == 0:
                raise children.Failure(f"the kernel component has no /boot/{inside}")
        with open(os.path.join(folder, "version"), "w", encoding="utf-8") as file:
            file.write(version)
        return version


def image_name(names):
    """Returns the name of the image composed of these workloads; names have at most 64 characters."""
    name = "bench." + ".".join(workloads.workload(name).component.removeprefix("bench-") for name in names)
    return name if len(name) <= 64 else name[:51] + "." + hashlib.sha256(name.encode()).hexdigest()[:12]
