"""Telling when the guest's services answer: a request every 50 ms to each, until each has answered once."""

import selectors
import socket
import time

from . import children

PROBE_EVERY_S = 0.05
PROBE_LIFE_S = 1.0

# protocol: (what is asked, whether this is its answer)
PROTOCOLS = {
    "http": (b"GET / HTTP/1.0\r\nHost: guest\r\n\r\n", lambda answer: answer[:16].split(b" ")[1:2] == [b"200"]),
    "redis": (b"PING\r\n", lambda answer: answer.startswith(b"+PONG")),
    "memcached": (b"version\r\n", lambda answer: answer.startswith(b"VERSION")),
    "postgresql": (bytes.fromhex("0000000804d2162f"), lambda answer: answer[:1] in (b"S", b"N")),  # SSLRequest
    "mariadb": (b"", lambda answer: len(answer) > 5 and answer[4] == 10),  # its handshake, unasked
}


class TcpQuestion:
    """One protocol at one port of 127.0.0.1.

    An accepted connection proves nothing: QEMU's user network accepts before the guest does, and a request to a
    guest without network hangs. So a new request starts every 50 ms and each has a second.
    """

    def __init__(self, protocol, port):
        self.name = f"{protocol} at port {port}"
        self.request, self.is_answer = PROTOCOLS[protocol]
        self.port = port
        self.is_answered = False
        self.attempts = {}  # socket: (born, bytes so far)

    def ask(self, selector):
        now = time.monotonic()
        for attempt in [a for a, (born, _) in self.attempts.items() if now - born > PROBE_LIFE_S]:
            self.end(attempt, selector)
        attempt = socket.socket()
        attempt.setblocking(False)
        attempt.connect_ex(("127.0.0.1", self.port))
        self.attempts[attempt] = (now, b"")
        selector.register(attempt, selectors.EVENT_WRITE, self)

    def go_on(self, attempt, events, selector):
        born, answer = self.attempts[attempt]
        try:
            if events & selectors.EVENT_WRITE:
                if self.request:
                    attempt.send(self.request)
                selector.modify(attempt, selectors.EVENT_READ, self)
                return
            data = attempt.recv(4096)
        except OSError:
            data = b""
        answer += data
        if self.is_answer(answer):
            self.is_answered = True
        if data and not self.is_answered:
            self.attempts[attempt] = (born, answer)
        else:
            self.end(attempt, selector)

    def end(self, attempt, selector):
        selector.unregister(attempt)
        del self.attempts[attempt]
        attempt.close()

    def end_all(self, selector):
        for attempt in list(self.attempts):
            self.end(attempt, selector)


class ConsoleQuestion:
    """Whether a line that begins with `mark` stands in the guest's console log; what follows it names what is broken."""

    def __init__(self, path, mark):
        self.name = "the guest's console"
        self.path, self.mark = path, mark
        self.is_answered = False

    def ask(self, _selector):
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            if self.mark not in line:
                continue
            broken = line.split(self.mark, 1)[1].strip()
            if broken:
                raise children.Failure(f"units of the guest do not run: {broken}", self.path)
            self.is_answered = True

    def end_all(self, _selector):
        pass


def wait_for_all(questions, began, alive, timeout=300):
    """Returns the seconds from `began` (monotonic) until the last of them was answered. `alive` raises once the guest
    has ended."""
    selector = selectors.DefaultSelector()
    try:
        while time.monotonic() - began < timeout:
            open_questions = [question for question in questions if not question.is_answered]
            for question in open_questions:
                question.ask(selector)
            until = time.monotonic() + PROBE_EVERY_S
            while (left := until - time.monotonic()) > 0:
                for key, events in selector.select(left):
                    key.data.go_on(key.fileobj, events, selector)
                for question in open_questions:
                    if question.is_answered:
                        question.end_all(selector)
                if all(question.is_answered for question in questions):
                    return time.monotonic() - began
                if not selector.get_map():
                    time.sleep(max(0, min(left, 0.01)))
            alive()
    finally:
        for question in questions:
            question.end_all(selector)
        selector.close()
    silent = ", ".join(question.name for question in questions if not question.is_answered)
    raise children.Failure(f"no answer within {timeout} s: {silent}")
