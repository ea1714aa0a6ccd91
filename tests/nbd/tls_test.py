#!/usr/bin/env python3
"""TLS with client certificates: who is let in, who is not, and that nothing agreed in plain text holds inside."""
import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import unittest

import support
from support import (CMD_FLUSH, CMD_READ, CMD_STATUS, EINVAL, ERR_INVALID, ERR_TLS_REQD, MIB, OPT_EXPORT_NAME, OPT_GO,
                     OPT_INFO, OPT_LIST, OPT_SET_META, OPT_STARTTLS, OPT_STRUCTURED, REP_ACK, Client, Server,
                     go_payload, meta_payload, option_bytes, run, sha256_of)


class Authority:
    """A CA made with certtool, and the folders that libnbd and QEMU read."""

    def __init__(self, folder, name, common_name="authority"):
        self.folder = os.path.join(folder, name)
        os.mkdir(self.folder)
        self.key = os.path.join(self.folder, "ca-key.pem")
        self.certificate = os.path.join(self.folder, "ca-cert.pem")
        self.make_key(self.key)
        template = self.template(f"cn = {common_name}\nca\ncert_signing_key\nexpiration_days = 10\n")
        run("certtool", "--generate-self-signed", "--load-privkey", self.key, "--template", template, "--outfile",
            self.certificate)

    @staticmethod
    def make_key(path):
        run("certtool", "--generate-privkey", "--key-type=ecdsa", "--curve=secp256r1", "--outfile", path)

    def template(self, text):
        path = os.path.join(self.folder, "template")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def issue(self, role, common_name, expired=False, trusting=None):
        """Returns a folder with a certificate of this CA and the CA that its owner trusts (itself)."""
        folder = tempfile.mkdtemp(dir=self.folder)
        key = os.path.join(folder, f"{role}-key.pem")
        self.make_key(key)
        dates = ('activation_date = "2020-01-01 00:00:00"\nexpiration_date = "2020-02-01 00:00:00"\n' if expired else
                 "expiration_days = 10\n")
        template = self.template(f"cn = {common_name}\norganization = Forerun\nip_address = 127.0.0.1\n"
                                 f"tls_www_{role}\nsigning_key\n{dates}")
        run("certtool", "--generate-certificate", "--load-privkey", key, "--load-ca-privkey", self.key,
            "--load-ca-certificate", self.certificate, "--template", template, "--outfile",
            os.path.join(folder, f"{role}-cert.pem"))
        shutil.copy((trusting or self).certificate, os.path.join(folder, "ca-cert.pem"))
        return folder


class TlsTestCase(unittest.TestCase):
    ARGUMENTS = ()

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="forerun-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.authority = Authority(cls.folder, "authority")
        cls.client_a = cls.authority.issue("client", "client-a")
        cls.server = Server("--export", f"disk,size={64 * MIB}", "--export", f"waits,size={64 * MIB},slow-every=2,"
                            "slow-us=200", "--tcp", "--tls", cls.authority.issue("server", "host"), *cls.ARGUMENTS)
        cls.addClassCleanup(cls.server.stop)

    def tearDown(self):
        self.assertTrue(self.server.is_alive(), self.server.log()[-4000:])
        self.assertEqual(self.nbdinfo(self.client_a).returncode, 0)  # the honest one is still let in

    def uri(self, folder, export="disk"):
        return f"nbds://127.0.0.1:{self.server.port}/{export}?tls-certificates={folder}"

    def nbdinfo(self, folder):
        return run("nbdinfo", "--size", self.uri(folder), check=False)

    def qemu_io(self, folder, *commands):
        return run("qemu-io", "--object", f"tls-creds-x509,id=t0,endpoint=client,dir={folder}", "--image-opts",
                   f"driver=nbd,host=127.0.0.1,port={self.server.port},export=disk,tls-creds=t0",
                   *(part for command in commands for part in ("-c", command)), check=False)

    def connect(self):
        connected = socket.create_connection(("127.0.0.1", self.server.port), timeout=10)
        client = Client.over(connected)
        self.addCleanup(client.close)
        client.greet()
        return client

    def upgrade(self, client):
        self.assertEqual(client.ask(OPT_STARTTLS)[-1][0], REP_ACK)
        context = ssl.create_default_context(cafile=os.path.join(self.client_a, "ca-cert.pem"))
        context.load_cert_chain(os.path.join(self.client_a, "client-cert.pem"),
                                os.path.join(self.client_a, "client-key.pem"))
        inside = Client.over(context.wrap_socket(client.socket, server_hostname="127.0.0.1"))
        self.addCleanup(inside.close)
        return inside


class WhoIsLetInTest(TlsTestCase):
    # certtool writes O before CN into the certificate, so RFC 4514 puts CN first; QEMU compares the former.
    ARGUMENTS = ("--tls-allow", "CN=client-a,O=Forerun", "--tls-allow", "O=Forerun,CN=client-c", "--tls-allow",
                 "CN=client-b", "--handshake-s", "2")

    def test_the_right_certificate(self):
        done = self.nbdinfo(self.client_a)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, str(64 * MIB)), done.stderr)
        done = self.qemu_io(self.client_a, "write -P 0xa5 0 1M", "read -P 0xa5 0 1M", "write -z 4k 8k", "flush",
                            "read -P 0 4k 8k")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_name_openssl_prints_is_the_name_to_allow(self):
        done = run("openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb", "-in",
                   os.path.join(self.client_a, "client-cert.pem"))
        self.assertEqual(done.stdout.strip(), "subject=CN=client-a,O=Forerun")

    def test_copies_through_tls(self):
        source = os.path.join(self.folder, "source")
        target = os.path.join(self.folder, "target")
        with open(source, "wb") as file:
            file.write(os.urandom(64 * MIB))
        for export in ("disk", "waits"):
            with self.subTest(export):
                uri = self.uri(self.client_a, export)
                run("nbdcopy", "--connections=2", "--requests=16", source, uri)
                run("nbdcopy", "--connections=2", "--requests=16", uri, target)
                self.assertEqual(sha256_of(target), sha256_of(source))

    def assert_refused(self, folder, reason):
        for done in (self.nbdinfo(folder), self.qemu_io(folder, "read 0 4k")):
            self.assertNotEqual(done.returncode, 0)
        self.assertTrue(self.server.logs(reason), self.server.log())

    def test_a_certificate_of_another_authority(self):
        other = Authority(self.folder, "other")  # of the same name, so that clients do show what it signed
        self.assert_refused(other.issue("client", "client-a", trusting=self.authority),
                            "NBD client refused: the client's certificate is refused")

    def test_an_expired_certificate(self):
        folder = self.authority.issue("client", "client-a", expired=True)
        self.assertNotEqual(self.nbdinfo(folder).returncode, 0)
        self.assertTrue(self.server.logs("certificate has expired"), self.server.log())

    def test_a_name_that_is_not_allowed(self):
        self.assert_refused(self.authority.issue("client", "client-b"),
                            'client "CN=client-b,O=Forerun" is not on the list')

    def test_a_name_in_the_order_that_qemu_compares(self):
        done = self.nbdinfo(self.authority.issue("client", "client-c"))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_certificate(self):
        folder = os.path.join(self.folder, "bare")
        os.mkdir(folder)
        shutil.copy(self.authority.certificate, folder)
        self.assertNotEqual(self.nbdinfo(folder).returncode, 0)

    def test_plain_text(self):
        done = run("nbdinfo", "--size", f"nbd://127.0.0.1:{self.server.port}/disk", check=False)
        self.assertNotEqual(done.returncode, 0)
        client = self.connect()
        for option, payload in ((OPT_LIST, b""), (OPT_INFO, go_payload("disk")), (OPT_GO, go_payload("disk")),
                                (OPT_STRUCTURED, b""), (OPT_SET_META, meta_payload("disk", "base:allocation")),
                                (99, bytes(1000))):
            self.assertEqual(client.ask(option, payload)[-1][0], ERR_TLS_REQD)
        client.send_option(OPT_EXPORT_NAME, b"disk")
        self.assertTrue(client.is_closed())

    def test_a_client_that_stops_in_the_tls_handshake(self):
        client = self.connect()
        self.assertEqual(client.ask(OPT_STARTTLS)[-1][0], REP_ACK)
        self.assertTrue(client.is_closed())  # within the handshake's 2 s, or the socket's 10 s would pass

    def test_an_old_protocol_version(self):
        client = self.connect()
        self.assertEqual(client.ask(OPT_STARTTLS)[-1][0], REP_ACK)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(client.socket)


class InsideTest(TlsTestCase):
    ARGUMENTS = ("--tls-optional",)

    def test_nothing_agreed_in_plain_text_holds_inside(self):  # CVE-2021-3716
        client = self.connect()
        self.assertEqual(client.ask(OPT_STRUCTURED)[-1][0], REP_ACK)
        self.assertEqual(client.ask(OPT_SET_META, meta_payload("disk", "base:allocation"))[-1][0], REP_ACK)
        inside = self.upgrade(client)
        self.assertEqual(inside.go("disk"), REP_ACK)
        inside.send_request(CMD_READ, 0, 8, cookie=9)
        self.assertEqual(inside.receive_simple(), (0, 9))
        self.assertEqual(inside.receive(8), bytes(8))
        self.assertEqual(inside.error_of(CMD_STATUS, 0, 4096), EINVAL)

    def test_bytes_injected_behind_starttls_are_not_taken_for_the_clients(self):
        client = self.connect()
        client.send(option_bytes(OPT_STARTTLS) + option_bytes(OPT_GO, go_payload("disk")))
        self.assertEqual(client.receive_reply()[1], REP_ACK)
        self.assertTrue(client.is_closed())

    def test_tls_inside_tls(self):
        inside = self.upgrade(self.connect())
        self.assertEqual(inside.ask(OPT_STARTTLS)[-1][0], ERR_INVALID)
        self.assertEqual(inside.go("disk"), REP_ACK)

    def test_cut_off_in_the_middle(self):
        for _ in range(10):
            client = self.connect()
            inside = self.upgrade(client)
            inside.go("waits")
            for cookie in range(50):
                inside.send_request(CMD_READ, 0, MIB, cookie=cookie)
            inside.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            inside.close()

    def test_plain_connections_are_served_when_tls_is_only_offered(self):
        client = self.connect()
        self.assertEqual(client.go("disk"), REP_ACK)
        self.assertEqual(client.error_of(CMD_FLUSH), 0)


class SetUpTest(unittest.TestCase):
    def start(self, folder):
        return subprocess.run([support.SERVER, "--tcp", "--tls", folder], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=10, check=False)

    def test_bad_folders_are_reported_before_the_server_listens(self):
        with tempfile.TemporaryDirectory(prefix="forerun-tls-") as folder:
            authority = Authority(folder, "authority")
            other = Authority(folder, "other")
            expired = authority.issue("server", "host", expired=True)
            foreign = authority.issue("server", "host", trusting=other)
            missing = authority.issue("server", "host")
            os.unlink(os.path.join(missing, "server-key.pem"))
            wrong_role = authority.issue("client", "host")
            for suffix in ("cert.pem", "key.pem"):
                os.rename(os.path.join(wrong_role, f"client-{suffix}"), os.path.join(wrong_role, f"server-{suffix}"))
            for bad, reason in ((expired, "expired"), (foreign, "clients would refuse"), (missing, "is missing"),
                                (wrong_role, "clients would refuse")):
                done = self.start(bad)
                self.assertEqual(done.returncode, 2)
                self.assertIn(reason, done.stderr)


if __name__ == "__main__":
    support.require("certtool", "nbdinfo", "nbdcopy", "qemu-io", "openssl")
    unittest.main(verbosity=2)
