"""The far side: a static web server over the repository, and the slow link before it."""

import json
import os
import socket
import time

from . import children

# Round trips of 5 and 20 ms; a delay is one way.
LINKS = {
    "100mbit-5ms": {"rate": "100mbit", "delay": "2500us"},
    "20mbit-20ms": {"rate": "20mbit", "delay": "10ms"},
}

_NGINX_CONF = """
daemon off;
master_process off;
pid {prefix}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  {access_log}
  sendfile on;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 10000000;
  open_file_cache max=20000;
  client_body_temp_path {prefix}/body;
  proxy_temp_path {prefix}/proxy;
  fastcgi_temp_path {prefix}/fastcgi;
  uwsgi_temp_path {prefix}/uwsgi;
  scgi_temp_path {prefix}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; default_type application/octet-stream; }}
}}
"""


class Nginx:
    """A static web server over a folder, as one unprivileged-style process on 127.0.0.1.

    With `keeps_log`, `access_log` has a line "PATH STATUS BYTES" for each request once the server has ended.
    """

    def __init__(self, root, work, keeps_log=False):
        self.port = children.free_port()
        prefix = os.path.join(work, "nginx")
        os.makedirs(prefix, exist_ok=True)
        conf = os.path.join(prefix, "nginx.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(_NGINX_CONF.format(prefix=prefix, port=self.port, root=os.path.abspath(root),
                                          access_log=self._log_to(prefix) if keeps_log else "access_log off;"))
        self.log = os.path.join(prefix, "error.log")
        self.child = children.start(
            [children.program("nginx", "nginx-light"), "-p", prefix, "-c", conf, "-e", self.log], self.log)
        wait_for_port(self.port, self.child, "nginx")

    def _log_to(self, prefix):
        self.access_log = os.path.join(prefix, "access.log")
        return f"log_format served '$uri $status $body_bytes_sent';\n  access_log {self.access_log} served;"

    def stop(self):
        children.stop(self.child)


class Link:
    """forerun-link before a port of 127.0.0.1."""

    def __init__(self, bin_folder, to_port, link, work):
        self.control_path = os.path.join(work, "link.control")
        self.log = os.path.join(work, "link.log")
        self.child = children.start(
            [os.path.join(bin_folder, "forerun-link"), "--to", f"127.0.0.1:{to_port}",
             "--rate", link["rate"], "--delay", link["delay"], "--control", self.control_path],
            self.log, stdout=-1)
        words = self.child.stdout.readline().split()
        if len(words) != 2 or words[0] != b"ready":
            raise children.Failure("forerun-link did not start", self.log)
        self.port = int(words[1])

    def control(self, line):
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(self.control_path)
            control.sendall(line.encode() + b"\n")
            return control.makefile().readline().strip()

    def stats(self):
        return json.loads(self.control("stats"))

    def stop(self):
        children.stop(self.child)


def wait_for_port(port, child, what, timeout=20):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise children.Failure(f"{what} ended with status {child.returncode}", child.log)
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise children.Failure(f"{what} does not answer on port {port} after {timeout} s", child.log)
