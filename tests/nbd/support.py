"""What the NBD tests share: starting nbd_test_server, and a client that speaks the protocol byte by byte."""
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

SERVER = os.environ.get("NBD_TEST_SERVER", "")
MIB = 1 << 20

OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO = 1, 2, 3, 5, 6, 7
OPT_STRUCTURED, OPT_LIST_META, OPT_SET_META = 8, 9, 10
REP_ACK = 1
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_TLS_REQD, ERR_UNKNOWN, ERR_TOO_BIG = (
    (1 << 31) + n for n in (1, 2, 3, 5, 6, 9))
CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_CACHE, CMD_ZEROES, CMD_STATUS = range(8)
EPERM, EIO, EINVAL, ENOSPC, ENOTSUP = 1, 5, 22, 28, 95
U32_MAX = (1 << 32) - 1


def require(*tools):
    """Ends the script as skipped, with the reason, if something it needs is missing."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if not os.access(SERVER, os.X_OK):
        missing.append(f"NBD_TEST_SERVER ({SERVER or 'not set'})")
    if missing:
        print("skipped: missing " + ", ".join(missing))
        sys.exit(77)


def run(*command, timeout=60, check=True):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\nended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Server:
    """nbd_test_server on a unix socket, and on TCP if asked."""

    def __init__(self, *arguments):
        self.folder = tempfile.mkdtemp(prefix="forerun-nbd-")
        self.path = os.path.join(self.folder, "s")
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([SERVER, "--unix", self.path, *arguments], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=log, text=True)
        ready = self.process.stdout.readline().split()
        if ready[:1] != ["ready"]:
            raise AssertionError(f"nbd_test_server did not start: {self.log()}")
        self.port = int(ready[1])

    def uri(self, export):
        return f"nbd+unix:///{export}?socket={self.path}"

    def log(self):
        with open(self.log_path, encoding="utf-8") as log:
            return log.read()

    def logs(self, text, limit_s=5):
        """Returns whether the log comes to hold `text`: a line may be written after the client has left."""
        deadline = time.monotonic() + limit_s
        while text not in self.log() and time.monotonic() < deadline:
            time.sleep(0.01)
        return text in self.log()

    def is_alive(self):
        return self.process.poll() is None

    def remove_export(self, name):
        self.process.stdin.write(f"remove {name}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def status(self, field):
        """Returns a kB field of /proc/PID/status."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))

    def is_sanitized(self):
        return self.status("VmSize") > 1 << 32  # shadow memory

    def stop(self):
        """Returns the exit code after SIGTERM."""
        if self.is_alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
        log = self.log() if os.path.exists(self.log_path) else ""
        for report in ("Sanitizer", "runtime error:", "assertion failed"):
            if report in log:
                raise AssertionError(f"the server reported:\n{log[log.index(report) - 100:][:4000]}")
        shutil.rmtree(self.folder, ignore_errors=True)
        return code


class Client:
    """A raw connection. Every wait has a limit."""

    def __init__(self, server, handshake=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(server.path)
        if handshake:
            self.greet()

    @classmethod
    def over(cls, connected):
        client = cls.__new__(cls)
        client.socket = connected
        return client

    def greet(self, flags=3):
        greeting = self.receive(18)
        assert greeting == b"NBDMAGICIHAVEOPT\x00\x03", greeting
        self.send(struct.pack(">I", flags))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def throw(self, data):
        """Sends to a server that may have closed already."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass

    def receive(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError(f"closed after {len(data)} of {size} bytes")
            data += part
        return data

    def is_closed(self):
        """Returns whether the server ends the connection (whatever it sends before)."""
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    # handshake
    def send_option(self, option, payload=b"", length=None):
        self.send(option_bytes(option, payload, length))

    def receive_reply(self):
        magic, option, kind, size = struct.unpack(">QIII", self.receive(20))
        assert magic == 0x3E889045565A9, hex(magic)
        return option, kind, self.receive(size)

    def ask(self, option, payload=b""):
        """Returns all replies to an option as (type, payload), up to an ACK or an error."""
        self.send_option(option, payload)
        replies = []
        while True:
            _, kind, data = self.receive_reply()
            replies.append((kind, data))
            if kind == REP_ACK or kind >> 31:
                return replies

    def go(self, name):
        return self.ask(OPT_GO, go_payload(name))[-1][0]

    # transmission
    def send_request(self, command, offset=0, length=0, flags=0, cookie=1, payload=b"", magic=0x25609513):
        self.send(struct.pack(">IHHQQI", magic, flags, command, cookie, offset, length) + payload)

    def receive_simple(self):
        magic, error, cookie = struct.unpack(">IIQ", self.receive(16))
        assert magic == 0x67446698, hex(magic)
        return error, cookie

    def receive_chunk(self):
        magic, flags, kind, cookie, size = struct.unpack(">IHHQI", self.receive(20))
        assert magic == 0x668E33EF, hex(magic)
        return flags, kind, cookie, self.receive(size)

    def error_of(self, *arguments, **named):
        """Sends a request and returns the error of its simple reply."""
        self.send_request(*arguments, **named)
        return self.receive_simple()[0]


def option_bytes(option, payload=b"", length=None):
    return b"IHAVEOPT" + struct.pack(">II", option, len(payload) if length is None else length) + payload


def go_payload(name):
    name = name.encode() if isinstance(name, str) else name
    return struct.pack(">I", len(name)) + name + struct.pack(">H", 0)


def meta_payload(name, *queries):
    payload = struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", len(queries))
    for query in queries:
        payload += struct.pack(">I", len(query)) + query.encode()
    return payload


class ServerTestCase(unittest.TestCase):
    """Starts one server for the class, and checks after each test that it is alive and ended well."""
    ARGUMENTS = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.ARGUMENTS)

    @classmethod
    def tearDownClass(cls):
        alive = cls.server.is_alive()
        log = cls.server.log()
        code = cls.server.stop()
        if not alive or code != 0:
            raise AssertionError(f"the server ended with {code}:\n{log[-4000:]}")

    def tearDown(self):
        self.assertTrue(self.server.is_alive(), self.server.log()[-4000:])
        # An honest client is served after whatever the test did.
        with Client(self.server) as client:
            self.assertEqual(client.go("disk"), REP_ACK)
            self.assertEqual(client.error_of(CMD_FLUSH), 0)
