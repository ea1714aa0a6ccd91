"""A real etcd of several members on loopback. Standard library only."""
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time


def missing():
    """Returns what these tests need and is not here, or nothing."""
    return next((f"{name} (Debian: {package})" for name, package in (("etcd", "etcd-server"), ("openssl", "openssl"))
                 if shutil.which(name) is None), None)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def make_certificates(folder, names=("server", "client"), san="IP:127.0.0.1,DNS:localhost", ca="ca"):
    """Makes FOLDER/CA-cert.pem and a certificate and key for each name, signed by it."""
    def run(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(f"{folder}/{ca}-cert.pem"):
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=test CA", "-keyout", f"{ca}-key.pem", "-out", f"{ca}-cert.pem")
    for name in names:
        with open(f"{folder}/{name}.ext", "w", encoding="utf-8") as out:
            out.write(f"subjectAltName={san}\nextendedKeyUsage=serverAuth,clientAuth\n")
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}-key.pem", "-out", f"{name}.csr")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}-cert.pem", "-CAkey", f"{ca}-key.pem",
            "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}-cert.pem")


class Etcd:
    """Members 0 … size-1, each a process of its own; with `tls`, clients must show a certificate of tls_dir's CA."""

    def __init__(self, size=3, tls=False):
        self.folder = tempfile.mkdtemp(prefix="forerun-etcd-")
        self.tls_dir = f"{self.folder}/tls" if tls else None
        if tls:
            make_certificates(self.tls_dir)
        ports = free_ports(2 * size)
        scheme = "https" if tls else "http"
        self.endpoints = [f"{scheme}://127.0.0.1:{port}" for port in ports[:size]]
        self.peers = [f"http://127.0.0.1:{port}" for port in ports[size:]]
        self.processes = [None] * size
        for member in range(size):
            self.start(member)

    def start(self, member):
        command = ["etcd", "--name", f"m{member}", "--data-dir", f"{self.folder}/m{member}",
                   "--listen-peer-urls", self.peers[member], "--initial-advertise-peer-urls", self.peers[member],
                   "--listen-client-urls", self.endpoints[member],
                   "--advertise-client-urls", self.endpoints[member],
                   "--initial-cluster", ",".join(f"m{i}={peer}" for i, peer in enumerate(self.peers)),
                   "--initial-cluster-token", os.path.basename(self.folder), "--initial-cluster-state", "new"]
        if self.tls_dir:
            command += ["--cert-file", f"{self.tls_dir}/server-cert.pem", "--key-file", f"{self.tls_dir}/server-key.pem",
                        "--client-cert-auth", "--trusted-ca-file", f"{self.tls_dir}/ca-cert.pem"]
        with open(f"{self.folder}/m{member}.log", "ab") as log:
            self.processes[member] = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(self, member, path, body):
        """Posts JSON to a member; returns its answer. Raises OSError or http.client.HTTPException if there is none."""
        host = self.endpoints[member].split("//")[1]
        if self.tls_dir:
            context = ssl.create_default_context(cafile=f"{self.tls_dir}/ca-cert.pem")
            context.load_cert_chain(f"{self.tls_dir}/client-cert.pem", f"{self.tls_dir}/client-key.pem")
            connection = http.client.HTTPSConnection(host, timeout=2, context=context)
        else:
            connection = http.client.HTTPConnection(host, timeout=2)
        try:
            connection.request("POST", path, json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def wait_until_writable(self, member=0, seconds=60):
        """Returns once this member takes writes."""
        end = time.monotonic() + seconds
        while True:
            try:
                if "header" in self.ask(member, "/v3/kv/put", {"key": "cHJvYmU=", "value": "MQ=="}):
                    return
            except (OSError, http.client.HTTPException, ValueError):
                pass
            if time.monotonic() > end:
                raise AssertionError(f"etcd takes no writes after {seconds} s; see {self.folder}/m*.log")
            time.sleep(0.1)

    def leader(self):
        """Returns the number of the member that leads, as any of the living says."""
        for member, process in enumerate(self.processes):
            if process is None:
                continue
            try:
                status = self.ask(member, "/v3/maintenance/status", {})
                members = self.ask(member, "/v3/cluster/member/list", {})["members"]
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                continue
            for each in members:
                if each["ID"] == status.get("leader"):
                    return int(each["name"][1:])
        raise AssertionError("no member knows a leader")

    def kill(self, member, with_signal=signal.SIGKILL):
        self.processes[member].send_signal(with_signal)
        if with_signal in (signal.SIGKILL, signal.SIGTERM):
            self.processes[member].wait()
            self.processes[member] = None

    def close(self):
        for process in self.processes:
            if process is not None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
