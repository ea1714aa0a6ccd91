"""Child processes that never outlive us, and the end of a log when one fails."""

import atexit
import os
import signal
import socket
import subprocess
import sys


class Failure(Exception):
    """What went wrong, as a sentence for the user; `log` is a file whose end says why."""

    def __init__(self, message, log=None):
        super().__init__(message)
        self.log = log
        # Read now: the log's folder may be gone when the failure is told.
        self.log_tail = tail(log) if log else ""


def tail(path, lines=15):
    """Returns the last lines of a file, or a sentence that says why there are none."""
    try:
        with open(path, "rb") as file:
            text = file.read()[-64 * 1024:].decode("utf-8", "replace")
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def report_and_exit(failure, program):
    print(f"{program}: {failure}", file=sys.stderr)
    if failure.log:
        print(f"{program}: the end of {failure.log}:", file=sys.stderr)
        print(failure.log_tail, file=sys.stderr)
    sys.exit(1)


_children = []


def start(argv, log, **options):
    """Starts a program whose output goes to the file `log`; it is stopped when we exit."""
    try:
        with open(log, "ab") as output:
            # A session of its own: Ctrl-C reaches us alone, and we end the children in order.
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=options.pop("stdout", output),
                                     stderr=output, start_new_session=True, **options)
    except OSError as error:
        raise Failure(f"cannot start {argv[0]}: {error.strerror}") from error
    child.log = log
    _children.append(child)
    return child


def stop(child, timeout=10, number=signal.SIGTERM):
    """Ends a child by its pid; kills it after `timeout` seconds."""
    if child in _children:
        _children.remove(child)
    if child.poll() is None:
        child.send_signal(number)
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stdout:
        child.stdout.close()


@atexit.register
def stop_all():
    for child in reversed(list(_children)):
        stop(child, timeout=5)


def exit_on_signals():
    """Makes SIGTERM and SIGHUP end the program as SIGINT does: with its children stopped."""
    def leave(number, frame):
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def free_port():
    """Returns a TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def remove(path):
    """Deletes a file, if it is there: a stale socket looks like a server that listens."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def program(name, package):
    """Returns the path of a program, or says which package has it."""
    for folder in os.environ.get("PATH", "").split(":") + ["/usr/sbin", "/sbin"]:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    raise Failure(f"{name} is missing: install the package {package} (packaging/install does)")
