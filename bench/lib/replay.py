"""Recording the reads of a boot, and replaying them against an NBD export as a faster guest would issue them."""

import csv
import datetime
import os
import re
import socket
import struct
import threading
import time

from . import children

_LOG_LINE = re.compile(r"(\S+ \S+) connection=(\d+) (\.\.\.)?Read id=(\d+)(?: offset=(\S+) count=(\S+))?")


def record(workload, disk, work, path):
    """Boots the workload from its disk's file once and writes its reads: issue and completion in µs, offset, length."""
    sock = os.path.join(work, "record.sock")
    log = os.path.join(work, "record.log")
    children.remove(sock)
    children.remove(log)
    server = children.start(
        [children.program("nbdkit", "nbdkit"), "-f", "-r", "-U", sock, "--threads", "16", "--filter=log", "file",
         disk, f"logfile={log}"], os.path.join(work, "nbdkit.log"))
    while not os.path.exists(sock):
        if server.poll() is not None:
            raise children.Failure("nbdkit does not start", server.log)
        time.sleep(0.01)
    spec = f'json:{{"driver":"raw","file":{{"driver":"nbd","server":{{"type":"unix","path":"{sock}"}}}}}}'
    began, began_wall = time.monotonic(), time.time()
    try:
        with workload.local_vm(spec, work) as vm:
            began_wall += vm.began - began
            service_s = vm.service_s
    finally:
        children.stop(server)
    reads = _parse_log(log, began_wall, began_wall + service_s)
    with open(path + ".new", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["issue_us", "done_us", "offset", "length"])
        writer.writerows(reads)
    os.replace(path + ".new", path)


def _parse_log(path, begin, end):
    """Pairs requests with their completions, per connection. Times in the log are local or UTC: begin decides."""
    reads, under_way = [], {}
    shift = None
    with open(path, encoding="utf-8") as file:
        for line in file:
            match = _LOG_LINE.match(line)
            if not match:
                continue
            when = datetime.datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S.%f")
            stamp = when.replace(tzinfo=datetime.timezone.utc).timestamp()
            if shift is None:  # whole quarters of an hour between the log's zone and ours
                shift = round((stamp - begin) / 900) * 900
            micros = round((stamp - shift - begin) * 1e6)
            key = (match[2], match[4])
            if match[3]:
                if key in under_way:
                    under_way.pop(key)[1] = micros
            else:
                read = [micros, None, int(match[5], 0), int(match[6], 0)]
                under_way[key] = read
                reads.append(read)
    last = round((end - begin) * 1e6)
    return [[issue, done if done is not None else last, offset, length]
            for issue, done, offset, length in sorted(reads, key=lambda r: r[0]) if 0 <= issue <= last]


def load(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [tuple(int(row[name]) for name in ("issue_us", "done_us", "offset", "length"))
                for row in csv.DictReader(file)]


class NbdReader:
    """Just enough of an NBD client: fixed newstyle, simple replies, many reads under way on one connection."""

    def __init__(self, path, export):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(300)
        self.socket.connect(path)
        greeting = self._receive(18)
        if greeting[:16] != b"NBDMAGICIHAVEOPT":
            raise children.Failure("the NBD server does not speak newstyle")
        self.socket.sendall(struct.pack(">I", 3))  # fixed newstyle, no zeroes
        name = export.encode()
        data = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
        self.socket.sendall(struct.pack(">8sII", b"IHAVEOPT", 7, len(data)) + data)  # NBD_OPT_GO
        while True:
            _, _, kind, length = struct.unpack(">QIII", self._receive(20))
            payload = self._receive(length)
            if kind == 1:  # NBD_REP_ACK
                return
            if kind & 0x80000000:
                reason = payload.decode("utf-8", "replace")
                raise children.Failure(f"the NBD server refused export '{export}': {reason}")

    def _receive(self, size):
        data = bytearray(size)
        self._receive_into(memoryview(data))
        return bytes(data)

    def _receive_into(self, view):
        while view:
            count = self.socket.recv_into(view)
            if count == 0:
                raise children.Failure("the NBD server closed the connection")
            view = view[count:]

    def send_read(self, handle, offset, length):
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, handle, offset, length))

    def receive_reply(self, lengths):
        """Returns (handle, data) of the next reply."""
        magic, error, handle = struct.unpack(">IIQ", self._receive(16))
        if magic != 0x67446698:
            raise children.Failure("the NBD server sent no simple reply")
        if error:
            raise children.Failure(f"the NBD server answered read {handle} with error {error}")
        data = bytearray(lengths[handle])
        self._receive_into(memoryview(data))
        return handle, data

    def close(self):
        try:
            self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, 0, 0, 0))
        except OSError:
            pass
        self.socket.close()


def replay(path, export, trace, think_scale, began, check):
    """Issues the trace's reads in order and returns the seconds from `began` until the last one was answered.

    A read waits for the reads that had completed before it was issued when it was recorded, and for its think time
    (from the later of the last such completion and the issue before it) times `think_scale`.
    """
    reader = NbdReader(path, export)
    lengths = [length for _, _, _, length in trace]
    done_at = [None] * len(trace)
    contents = [None] * len(trace)
    changed = threading.Condition()
    failures = []

    def receive():
        try:
            for _ in trace:
                handle, data = reader.receive_reply(lengths)
                contents[handle] = data
                with changed:
                    done_at[handle] = time.monotonic()
                    changed.notify()
        except Exception as error:  # handed to the issuing thread
            with changed:
                failures.append(error)
                changed.notify()

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    by_completion = sorted(range(len(trace)), key=lambda i: trace[i][1])
    waited = 0  # of by_completion, how many the reads so far depend on
    ready_at, previous_issue = began, began
    last_event_us = 0
    for index, (issue_us, _, offset, length) in enumerate(trace):
        while waited < len(trace) and trace[by_completion[waited]][1] < issue_us:
            dependency = by_completion[waited]
            with changed:
                while done_at[dependency] is None and not failures:
                    changed.wait()
                if failures:
                    raise failures[0]
                ready_at = max(ready_at, done_at[dependency])
            last_event_us = max(last_event_us, trace[dependency][1])
            waited += 1
        issue_at = max(ready_at, previous_issue) + (issue_us - last_event_us) * 1e-6 * think_scale
        _sleep_until(issue_at)
        previous_issue = time.monotonic()
        last_event_us = max(last_event_us, issue_us)
        reader.send_read(index, offset, length)
    receiver.join()
    if failures:
        raise failures[0]
    span = max(done_at) - began
    reader.close()
    for (_, _, offset, _), data in zip(trace, contents):
        check(offset, data)
    return span


def _sleep_until(moment):
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)
