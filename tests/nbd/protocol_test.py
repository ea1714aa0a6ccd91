#!/usr/bin/env python3
"""The protocol's corners: by libnbd without its own checks, and byte by byte."""
import errno
import struct
import unittest

import support
from support import (CMD_CACHE, CMD_FLUSH, CMD_READ, CMD_STATUS, CMD_TRIM, CMD_WRITE, CMD_ZEROES, EINVAL, EIO, ENOSPC,
                     ENOTSUP, EPERM, ERR_INVALID, ERR_UNKNOWN, ERR_UNSUP, MIB, OPT_ABORT, OPT_GO, OPT_INFO, OPT_LIST,
                     OPT_LIST_META, OPT_SET_META, OPT_STARTTLS, OPT_STRUCTURED, REP_ACK, U32_MAX, Client, go_payload,
                     meta_payload)

try:
    import nbd
except ImportError:
    nbd = None

GIB = 1 << 30


class ProtocolTestCase(support.ServerTestCase):
    ARGUMENTS = ("--export", f"disk,size={64 * MIB}", "--export", f"rom,size={MIB},ro", "--export",
                 f"big,size={8 * GIB}", "--export", f"failing,size={2 * MIB},fail-from={MIB}", "--export",
                 f"waits,size={64 * MIB},slow-every=2,slow-us=1000")

    def errno_of(self, call, *arguments, **named):
        with self.assertRaises(nbd.Error) as caught:
            call(*arguments, **named)
        return caught.exception.errnum


class LibnbdTest(ProtocolTestCase):
    def connect(self, export, structured=True, contexts=()):
        handle = nbd.NBD()
        handle.set_strict_mode(0)
        handle.set_request_structured_replies(structured)
        for context in contexts:
            handle.add_meta_context(context)
        handle.connect_uri(self.server.uri(export))
        return handle

    def test_ranges_past_the_end_are_refused_and_the_connection_stays(self):
        for structured in (True, False):
            with self.subTest(structured=structured):
                handle = self.connect("disk", structured)
                end = 64 * MIB
                self.assertEqual(self.errno_of(handle.pread, 2, end - 1), errno.EINVAL)
                self.assertEqual(self.errno_of(handle.pread, 1, (1 << 64) - 1), errno.EINVAL)
                self.assertEqual(self.errno_of(handle.pwrite, b"xx", end - 1), errno.ENOSPC)
                self.assertEqual(self.errno_of(handle.zero, 2, end - 1), errno.ENOSPC)
                self.assertEqual(self.errno_of(handle.trim, 2, end - 1), errno.EINVAL)
                self.assertEqual(handle.pread(1, end - 1), b"\0")

    def test_oversized_requests_are_refused_and_the_connection_stays(self):
        handle = self.connect("big")
        self.assertEqual(self.errno_of(handle.pread, 32 * MIB + 1, 0), errno.EINVAL)
        self.assertEqual(self.errno_of(handle.pwrite, bytes(32 * MIB + 1), 0), errno.EINVAL)
        self.assertEqual(len(handle.pread(32 * MIB, 0)), 32 * MIB)
        handle.pwrite(b"end" * (32 * MIB // 3), 5)
        self.assertEqual(handle.pread(6, 5), b"endend")

    def test_write_to_read_only_export(self):
        handle = self.connect("rom")
        self.assertEqual(self.errno_of(handle.pwrite, b"x", 0), errno.EPERM)
        self.assertEqual(self.errno_of(handle.zero, 1, 0), errno.EPERM)
        self.assertEqual(self.errno_of(handle.trim, 1, 0), errno.EPERM)
        self.assertEqual(handle.pread(4, 0), bytes(4))

    def test_failures_of_the_disk_reach_the_client(self):
        for structured in (True, False):
            with self.subTest(structured=structured):
                handle = self.connect("failing", structured)
                self.assertEqual(self.errno_of(handle.pread, 8, MIB - 4), errno.EIO)
                self.assertEqual(self.errno_of(handle.pwrite, bytes(8), MIB - 4), errno.EIO)
                self.assertEqual(handle.pread(4, MIB - 4), bytes(4))

    def test_unknown_flags_are_refused(self):
        handle = self.connect("disk")
        self.assertEqual(self.errno_of(handle.pread, 1, 0, flags=1 << 6), errno.EINVAL)
        self.assertEqual(self.errno_of(handle.pwrite, b"x", 0, flags=nbd.CMD_FLAG_DF), errno.EINVAL)
        self.assertEqual(self.errno_of(handle.flush, flags=1 << 15), errno.EINVAL)
        handle.flush()

    def test_fast_zero(self):
        handle = self.connect("disk")
        handle.zero(4096, 0, flags=nbd.CMD_FLAG_FAST_ZERO)
        self.assertEqual(
            self.errno_of(handle.zero, 4096, 0, flags=nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE), errno.ENOTSUP)

    def test_zeroes_and_trim(self):
        handle = self.connect("disk")
        handle.pwrite(b"x" * 200_000, 1000, flags=nbd.CMD_FLAG_FUA)
        handle.zero(100_000, 2000, flags=nbd.CMD_FLAG_NO_HOLE)
        handle.trim(50_000, 110_000, flags=nbd.CMD_FLAG_FUA)
        self.assertEqual(handle.pread(201_000, 500), bytes(500) + b"x" * 1000 + bytes(100_000) + b"x" * 8000 +
                         bytes(50_000) + b"x" * 41_000 + bytes(500))

    def test_do_not_fragment_and_cache(self):
        handle = self.connect("waits")
        self.assertEqual(handle.pread(MIB, 3, flags=nbd.CMD_FLAG_DF), bytes(MIB))
        handle.cache(4 * MIB, 0)

    def test_block_status_of_the_largest_length(self):  # CVE-2025-47711
        handle = self.connect("big", contexts=["base:allocation"])
        handle.pwrite(b"x", 5 * 65536)
        for flags in (0, nbd.CMD_FLAG_REQ_ONE):
            extents = []
            handle.block_status(U32_MAX, 0, lambda _context, _offset, found, _error: extents.extend(found), flags=flags)
            self.assertEqual(extents[:2], [5 * 65536, 3])
            self.assertLessEqual(sum(extents[::2]), U32_MAX)
            self.assertEqual(len(extents), 2 if flags else 6)

    def test_block_status_needs_a_context(self):
        handle = self.connect("disk")
        with Client(self.server) as client:
            client.go("disk")
            self.assertEqual(client.error_of(CMD_STATUS, 0, 4096), EINVAL)
        self.assertEqual(len(handle.pread(1, 0)), 1)

    def test_unknown_export_leaves_the_negotiation_open(self):
        handle = nbd.NBD()
        handle.set_opt_mode(True)
        handle.set_export_name("nothing")
        handle.connect_unix(self.server.path)
        with self.assertRaises(nbd.Error):
            handle.opt_go()
        names = []
        handle.opt_list(lambda name, _description: names.append(name))
        self.assertEqual(names, ["big", "disk", "failing", "rom", "waits"])
        handle.set_export_name("rom")
        handle.opt_go()
        self.assertTrue(handle.is_read_only())

    def test_many_reads_in_flight_of_which_half_wait(self):
        handle = self.connect("waits")
        handle.pwrite(bytes(range(256)) * 4096, 0)
        buffers = [nbd.Buffer(4096) for _ in range(300)]
        cookies = [handle.aio_pread(buffer, 256 * i + i) for i, buffer in enumerate(buffers)]
        while handle.aio_in_flight() > 0:
            handle.poll(-1)
        for i, (buffer, cookie) in enumerate(zip(buffers, cookies)):
            self.assertTrue(handle.aio_command_completed(cookie))
            self.assertEqual(bytes(buffer.to_bytearray()), (bytes(range(256)) * 18)[i % 256:i % 256 + 4096])


class RawTest(ProtocolTestCase):
    def opened(self, export, structured=False):
        client = Client(self.server)
        self.addCleanup(client.close)
        if structured:
            self.assertEqual(client.ask(OPT_STRUCTURED)[-1][0], REP_ACK)
        self.assertEqual(client.go(export), REP_ACK)
        return client

    def test_lengths_of_2_32_minus_1(self):
        client = self.opened("big")
        self.assertEqual(client.error_of(CMD_READ, 0, U32_MAX), EINVAL)
        self.assertEqual(client.error_of(CMD_TRIM, 0, U32_MAX), 0)
        self.assertEqual(client.error_of(CMD_ZEROES, 0, U32_MAX), 0)
        self.assertEqual(client.error_of(CMD_STATUS, 0, U32_MAX), EINVAL)
        self.assertEqual(client.error_of(CMD_FLUSH, 0, U32_MAX), EINVAL)
        self.assertEqual(client.error_of(CMD_READ, (1 << 64) - 1, U32_MAX), EINVAL)
        self.assertEqual(client.error_of(CMD_WRITE, 0, U32_MAX), EINVAL)
        self.assertTrue(client.is_closed())  # nobody waits for 4 GiB of refused payload

    def test_lengths_of_2_32_minus_1_on_a_small_disk(self):
        client = self.opened("disk")
        self.assertEqual(client.error_of(CMD_TRIM, 0, U32_MAX), EINVAL)
        self.assertEqual(client.error_of(CMD_ZEROES, 0, U32_MAX), ENOSPC)
        self.assertEqual(client.error_of(CMD_CACHE, 0, U32_MAX), EINVAL)

    def test_unknown_commands(self):
        for structured in (False, True):
            client = self.opened("disk", structured)
            for command in (8, 9, 255, 65535):
                self.assertEqual(client.error_of(command, 0, 8), EINVAL)

    def test_refused_write_on_read_only_export_is_drained(self):
        client = self.opened("rom")
        self.assertEqual(client.error_of(CMD_WRITE, 0, 100_000, payload=bytes(100_000)), EPERM)
        client.send_request(CMD_READ, 0, 4)
        self.assertEqual(client.receive_simple()[0], 0)
        self.assertEqual(client.receive(4), bytes(4))

    def test_structured_errors(self):
        client = self.opened("failing", structured=True)
        client.send_request(CMD_READ, MIB, 1, cookie=77)
        flags, kind, cookie, payload = client.receive_chunk()
        self.assertEqual((flags, kind, cookie, payload), (1, 0x8001, 77, struct.pack(">IH", EIO, 0)))

    def test_fast_zero_without_holes_is_not_supported(self):
        self.assertEqual(self.opened("disk").error_of(CMD_ZEROES, 0, 4096, flags=(1 << 4) | (1 << 1)), ENOTSUP)

    def test_wrong_magic_closes(self):
        client = self.opened("disk")
        client.send_request(CMD_READ, 0, 1, magic=0x25609514)
        self.assertTrue(client.is_closed())

    def test_requests_before_the_export_is_open_close(self):
        with Client(self.server) as client:
            client.send_request(CMD_READ, 0, 4096)
            self.assertTrue(client.is_closed())

    def test_pipelined_handshake_and_requests(self):
        with Client(self.server, handshake=False) as client:
            client.send(struct.pack(">I", 3))
            client.send_option(OPT_STRUCTURED)
            client.send_option(OPT_GO, go_payload("disk"))
            client.send_request(CMD_FLUSH, cookie=5)
            client.receive(18)
            kinds = [client.receive_reply()[1] for _ in range(4)]
            self.assertEqual(kinds, [REP_ACK, 3, 3, REP_ACK])
            self.assertEqual(client.receive_simple(), (0, 5))

    def test_options_in_any_order(self):
        with Client(self.server) as client:
            self.assertEqual(client.ask(OPT_SET_META, meta_payload("disk", "base:allocation"))[-1][0], ERR_INVALID)
            self.assertEqual(client.ask(OPT_INFO, go_payload("nothing"))[-1][0], ERR_UNKNOWN)
            self.assertEqual(client.ask(OPT_INFO, go_payload("rom"))[-1][0], REP_ACK)
            self.assertEqual(client.ask(OPT_STARTTLS)[-1][0], ERR_UNSUP)
            self.assertEqual(client.ask(11)[-1][0], ERR_UNSUP)
            self.assertEqual(client.ask(OPT_STRUCTURED)[-1][0], REP_ACK)
            self.assertEqual(client.ask(OPT_LIST)[-1][0], REP_ACK)
            self.assertEqual(client.ask(OPT_LIST_META, meta_payload("disk"))[0][1], bytes(4) + b"base:allocation")
            self.assertEqual(client.ask(OPT_SET_META, meta_payload("rom", "base:allocation"))[-1][0], REP_ACK)
            # The context was chosen for another export.
            self.assertEqual(client.go("disk"), REP_ACK)
            client.send_request(CMD_STATUS, 0, 4096)
            self.assertEqual(client.receive_chunk()[3][:4], struct.pack(">I", EINVAL))

    def test_abort(self):
        with Client(self.server) as client:
            self.assertEqual(client.ask(OPT_ABORT)[-1][0], REP_ACK)
            self.assertTrue(client.is_closed())

    def test_disconnect_answers_what_was_asked_before(self):
        client = self.opened("waits")
        for cookie in range(8):
            client.send_request(CMD_READ, 0, 8, cookie=cookie)
        client.send_request(support.CMD_DISC)
        cookies = set()
        for _ in range(8):
            cookies.add(client.receive_simple()[1])
            client.receive(8)
        self.assertEqual(cookies, set(range(8)))
        self.assertTrue(client.is_closed())


if __name__ == "__main__":
    support.require()
    if nbd is None:
        print("skipped: missing python3-libnbd")
        raise SystemExit(77)
    unittest.main(verbosity=2)
