"""A Ceph of a test's own with an S3 gateway: one monitor, one OSD in memory, radosgw, all on loopback and in one folder.

Standard library only. Nothing outlives the test: each daemon is killed with us (PR_SET_PDEATHSIG) or by its pid.
"""
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "ceph-authtool", "monmaptool")
START_TIMEOUT_S = 600  # of the whole cluster, on a loaded machine

CONFIG = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon_port},v1:127.0.0.1:{mon_port_v1}]
public_network = 127.0.0.0/8
ms_bind_ipv6 = false
run_dir = {folder}/run
admin_socket = {folder}/run/$name.asok
pid_file = {folder}/run/$name.pid
log_file = {folder}/log/$name.log
crash_dir = {folder}/log
keyring = {folder}/admin.keyring
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_warn = 2
mon_data_avail_crit = 1
mon_osd_nearfull_ratio = 0.95
mon_osd_backfillfull_ratio = 0.96
mon_osd_full_ratio = 0.97
auth_allow_insecure_global_id_reclaim = false
[mon]
keyring = {folder}/mon.keyring
mon_data = {folder}/mon
mon_initial_members = a
[osd]
keyring = {folder}/osd0/keyring
osd_data = {folder}/osd0
osd_objectstore = memstore
memstore_device_bytes = 2147483648
osd_memory_target = 939524096
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 1
[client.rgw.a]
keyring = {folder}/rgw/keyring
rgw_data = {folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{port} ssl_endpoint=127.0.0.1:{tls_port} ssl_certificate={folder}/server.pem ssl_private_key={folder}/server.key tcp_nodelay=1
rgw_thread_pool_size = 32
rgw_dns_name = s3.localhost
"""


def missing_programs():
    return [name for name in PROGRAMS if shutil.which(name) is None]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent():  # with the thread that started it, to be exact
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Ceph:
    """with Ceph() as ceph: … ceph.port, ceph.add_user(…), ceph.stop_gateway(), ceph.start_gateway()."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="forerun-ceph-")
        self.port = free_port()
        self.tls_port = free_port()  # with server.pem, which ca.pem vouches for
        self.processes = {}
        self.environment = {**os.environ, "CEPH_CONF": os.path.join(self.folder, "ceph.conf")}
        self.deadline = time.monotonic() + START_TIMEOUT_S

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def run(self, *command, check=True, timeout=120, stdin=None):
        done = subprocess.run(command, env=self.environment, input=stdin, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def spawn(self, name, *command):
        with open(self.path("log", name + ".out"), "ab") as log:
            self.processes[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log,
                                                    preexec_fn=die_with_parent)

    def wait_until(self, what, condition):
        while not condition():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise AssertionError(f"{name} ended with {process.returncode}: {self.log_of(name)}")
            if time.monotonic() > self.deadline:
                raise AssertionError(f"{what}: not within {START_TIMEOUT_S} s")
            time.sleep(0.2)

    def log_of(self, name):
        with open(self.path("log", name + ".out"), encoding="utf-8", errors="replace") as log:
            return log.read()[-2000:]

    def start(self):
        for name in ("mon", "osd0", "rgw", "run", "log"):
            os.mkdir(self.path(name))
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        ports = {"mon_port": free_port(), "mon_port_v1": free_port(), "port": self.port,
                 "tls_port": self.tls_port}
        with open(self.path("ceph.conf"), "w", encoding="utf-8") as out:
            out.write(CONFIG.format(folder=self.folder, fsid=fsid, **ports))
        self.make_certificates()
        self.start_monitor(fsid, ports)
        self.start_osd(osd)
        self.run("ceph", "auth", "get-or-create", "client.rgw.a", "mon", "allow rw", "osd", "allow rwx", "-o",
                 self.path("rgw", "keyring"))
        self.start_gateway()

    def make_certificates(self):
        def make(name, extension, *issuer):
            self.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                     "2", "-subj", f"/O=Forerun/CN={name}", "-addext", extension, "-keyout", self.path(name + ".key"),
                     "-out", self.path(name + ".pem"), *issuer)
        make("ca", "basicConstraints=critical,CA:TRUE")
        make("server", "subjectAltName=IP:127.0.0.1", "-CA", self.path("ca.pem"), "-CAkey", self.path("ca.key"))

    def start_monitor(self, fsid, ports):
        monmap, keyring, admin = self.path("monmap"), self.path("mon.keyring"), self.path("admin.keyring")
        self.run("monmaptool", "--create", "--clobber", "--addv", "a",
                 f"[v2:127.0.0.1:{ports['mon_port']},v1:127.0.0.1:{ports['mon_port_v1']}]", "--fsid", fsid, monmap)
        self.run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self.run("ceph-authtool", "--create-keyring", admin, "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *",
                 "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
        self.run("ceph-authtool", keyring, "--import-keyring", admin)
        self.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
        self.spawn("mon", "ceph-mon", "-f", "-i", "a")
        self.wait_until("the monitor answers", lambda: self.run("timeout", "10", "ceph", "-s", check=False).returncode == 0)

    def start_osd(self, osd):
        key = self.run("ceph-authtool", "--gen-print-key").stdout.strip()
        self.run("ceph", "osd", "new", osd, "-i", "-", stdin=f'{{"cephx_secret": "{key}"}}')
        self.run("ceph-authtool", "--create-keyring", self.path("osd0", "keyring"), "-n", "osd.0", "--add-key", key)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.spawn("osd", "ceph-osd", "-f", "-i", "0")
        self.wait_until("the OSD is up", lambda: " 1 up" in self.run("ceph", "osd", "stat").stdout)

    def answers(self):
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def start_gateway(self):
        self.deadline = time.monotonic() + START_TIMEOUT_S
        self.spawn("rgw", "radosgw", "-f", "-n", "client.rgw.a")
        self.wait_until("the gateway listens", self.answers)

    def stop_gateway(self):
        """Kills it as a crash would."""
        process = self.processes.pop("rgw")
        process.kill()
        process.wait()

    def add_user(self, name, access_key, secret_key):
        self.run("radosgw-admin", "user", "create", "--uid", name, "--display-name", name, "--access-key", access_key,
                 "--secret-key", secret_key)

    def close(self):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
