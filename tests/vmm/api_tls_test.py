#!/usr/bin/env python3
"""The API on TCP: only clients with a certificate of our CA get an answer.

usage: api_tls_test.py FAKE_DAEMON
"""
import http.client
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import unittest

FAKE_DAEMON = sys.argv.pop(1) if len(sys.argv) > 1 else ""


def certtool(*words):
    subprocess.run(["certtool", *words], check=True, capture_output=True, timeout=60)


class ApiTls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="api-tls-")
        cls.make_ca("ca")
        cls.make_ca("other-ca")
        cls.issue("server", "ca", "tls_www_server\nip_address = 127.0.0.1")
        cls.issue("client", "ca", "tls_www_client")
        cls.issue("stranger", "other-ca", "tls_www_client")
        cls.daemon = subprocess.Popen([FAKE_DAEMON, cls.path("s"), cls.path("c"), cls.folder], stdout=subprocess.PIPE,
                                      text=True)
        cls.port = int(cls.daemon.stdout.readline())

    @classmethod
    def tearDownClass(cls):
        cls.daemon.terminate()
        cls.daemon.wait()
        cls.daemon.stdout.close()
        shutil.rmtree(cls.folder)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def template(cls, text):
        with open(cls.path("template"), "w", encoding="utf-8") as file:
            file.write(text)
        return cls.path("template")

    @classmethod
    def make_ca(cls, name):
        certtool("--generate-privkey", "--key-type", "ecdsa", "--outfile", cls.path(f"{name}-key.pem"))
        certtool("--generate-self-signed", "--load-privkey", cls.path(f"{name}-key.pem"), "--template",
                 cls.template(f"cn = {name}\nca\ncert_signing_key\n"), "--outfile", cls.path(f"{name}-cert.pem"))

    @classmethod
    def issue(cls, name, issuer, usage):
        certtool("--generate-privkey", "--key-type", "ecdsa", "--outfile", cls.path(f"{name}-key.pem"))
        certtool("--generate-certificate", "--load-privkey", cls.path(f"{name}-key.pem"), "--load-ca-certificate",
                 cls.path(f"{issuer}-cert.pem"), "--load-ca-privkey", cls.path(f"{issuer}-key.pem"), "--template",
                 cls.template(f"cn = {name}\nsigning_key\n{usage}\n"), "--outfile", cls.path(f"{name}-cert.pem"))

    def ask(self, client=None):
        context = ssl.create_default_context(cafile=self.path("ca-cert.pem"))
        if client:
            context.load_cert_chain(self.path(f"{client}-cert.pem"), self.path(f"{client}-key.pem"))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)
        try:
            connection.request("GET", "/api/v1/vms")
            return connection.getresponse().status
        finally:
            connection.close()

    def test_a_client_of_our_ca_is_answered(self):
        self.assertEqual(self.ask("client"), 200)

    def test_others_get_no_answer(self):
        for client in (None, "stranger"):
            with self.assertRaises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                self.ask(client)
        self.assertEqual(self.ask("client"), 200)

    def test_without_tls_there_is_no_answer(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with self.assertRaises((ConnectionError, http.client.HTTPException)):
            connection.request("GET", "/api/v1/vms")
            connection.getresponse()
        connection.close()


if __name__ == "__main__":
    if shutil.which("certtool") is None:
        print("skipped: no certtool here")
        sys.exit(77)
    if not FAKE_DAEMON:
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    unittest.main(verbosity=2)
