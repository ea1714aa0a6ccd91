"""forerund as a child: its configuration, its REST interface, VMs and their figures."""

import http.client
import json
import os
import shutil
import signal
import socket
import tempfile
import time

from . import children


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("forerun", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Forerund:
    """One daemon. `state_dir` holds what it keeps: VMs, histories, its tier.

    It fetches nothing for launches to come: on demand would not be on demand.
    """

    def __init__(self, bin_folder, state_dir, repository, mode="on", extra_toml=""):
        os.makedirs(state_dir, exist_ok=True)
        self.state_dir = os.path.abspath(state_dir)
        # A unix socket's path is short; the state's may be long.
        self.run_dir = tempfile.mkdtemp(prefix="forerun-")
        self.socket = os.path.join(self.run_dir, "forerund.sock")
        self.log = os.path.join(self.state_dir, "forerund.log")
        kind = "url" if repository.startswith("http") else "path"
        config = os.path.join(self.state_dir, "forerund.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'[daemon]\nstate_dir = "{self.state_dir}"\nrun_dir = "{self.run_dir}"\n'
                       f'socket = "{self.socket}"\n\n[[repository]]\n{kind} = "{repository}"\n'
                       'allow_unsigned = true\n\n'
                       f'[launches]\nmode = "off"\n\n[prefetch]\nmode = "{mode}"\n{extra_toml}')
        self.child = children.start([os.path.join(bin_folder, "forerund"), "--config", config], self.log)
        self._wait_until_ready()

    def _wait_until_ready(self, timeout=30):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise children.Failure(f"forerund ended with status {self.child.returncode}", self.log)
            try:
                self.request("GET", "/api")
                return
            except OSError:
                time.sleep(0.02)
        raise children.Failure(f"forerund does not answer after {timeout} s", self.log)

    def request(self, method, path, body=None, timeout=300):
        connection = _UnixConnection(self.socket, timeout)
        try:
            data = json.dumps(body).encode() if body is not None else None
            headers = {"Content-Type": "application/json"} if data else {}
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise children.Failure(f"forerund broke off {method} {path}: {error!r}", self.log) from error
        finally:
            connection.close()
        if answer.status >= 400:
            try:
                detail = json.loads(text).get("detail")
            except ValueError:
                detail = text[:200]
            raise children.Failure(f"forerund refused {method} {path}: {detail}", self.log)
        return json.loads(text) if text else None

    def import_image(self, path, name, on_progress=None):
        """Imports a disk and returns the image's figures."""
        operation = self.request("POST", "/api/v1/images", {"source_path": os.path.abspath(path), "name": name})
        while operation["state"] == "running":
            time.sleep(0.1)
            operation = self.request("GET", f"/api/v1/operations/{operation['id']}")
            if on_progress:
                on_progress(operation.get("progress_ratio") or 0)
        if operation["state"] != "succeeded":
            raise children.Failure(f"the import failed: {operation['error']['detail']}", self.log)
        return self.request("GET", f"/api/v1/images/{name}")

    def run_vm(self, name, image, guest, forwards, prefetch="on", memory_mib=512):
        """`forwards`: pairs of a port of 127.0.0.1 and the guest's."""
        return self.request("POST", "/api/v1/vms", {
            "name": name, "image": image, "memory_bytes": memory_mib << 20, "cpus": 1,
            "kernel": guest.kernel, "initrd": guest.initrd, "append": guest.append, "prefetch": prefetch,
            "forwards": [{"host_port": ours, "guest_port": its} for ours, its in forwards]})

    def export_disk(self, name, image, prefetch="on"):
        """Exports a new disk of the image without a VM and returns its NBD URI."""
        return self.request("POST", "/api/v1/vms", {
            "name": name, "image": image, "disk_only": True, "prefetch": prefetch})["export_uri"]

    def vm(self, name):
        return self.request("GET", f"/api/v1/vms/{name}")

    def vm_stats(self, name):
        return self.request("GET", f"/api/v1/vms/{name}/stats")

    def stop_vm(self, name):
        return self.request("POST", f"/api/v1/vms/{name}/stop", {"force": True})

    def remove_vm(self, name):
        self.request("DELETE", f"/api/v1/vms/{name}")

    def nbd_socket(self):
        return os.path.join(self.run_dir, "nbd.sock")

    def stop(self):
        """Ends the daemon and every VM of it: its VMs would outlive it."""
        if self.child.poll() is None:
            try:
                for vm in self.request("GET", "/api/v1/vms")["items"]:
                    if vm["state"] == "running":
                        self.stop_vm(vm["name"])
            except (children.Failure, OSError):
                pass  # it is ending already
        children.stop(self.child)
        self._kill_orphans()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def _kill_orphans(self):
        """Kills QEMUs that a daemon which crashed left behind, known by our state folder in their command line."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    command = file.read()
                if command.startswith(b"qemu-system") and f"path={self.state_dir}/vms/".encode() in command:
                    os.kill(int(pid), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass  # it ended while we looked
