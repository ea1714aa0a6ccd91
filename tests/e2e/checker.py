"""What guests that check themselves have in common: random data in memory and on a disk, some of it written anew in every round,
all of it compared with what was remembered. A page or block that was lost, or that is too old, is a GUEST-ERROR on the console;
a round is a GUEST-BEAT and its number."""
import re
import time

APPEND = "console=ttyS0 quiet loglevel=4 mitigations=off no_timer_check panic=1"
# Makes the data in memory; of its init.
FILL = """mount -t tmpfs -o size=48m tmpfs /ram
for i in 0 1 2 3 4 5 6 7; do
  dd if=/dev/urandom of=/ram/f$i bs=64k count=32 2>/dev/null
  md5sum </ram/f$i >/ram/s$i
done
echo GUEST-UP
"""
# What must not be on a guest's console.
SIGNS = ("GUEST-ERROR", "Oops", "BUG:", "general protection", "Kernel panic", "I/O error")


def read_console(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as text:
            return text.read()
    except FileNotFoundError:
        return ""


def beats(console):
    """Returns the rounds that a console tells of, in order."""
    for sign in SIGNS:
        if sign in console:
            raise AssertionError(f"the guest stumbled:\n{console[-1000:]}")
    return [int(number) for number in re.findall(r"GUEST-BEAT (\d+)\n", console)]


def wait_for_beat(read, number, seconds, logs):
    """Waits until the console that `read` returns tells of a round; `logs` returns what explains why it does not."""
    deadline = time.monotonic() + seconds
    while (last := max(beats(read()), default=0)) < number:
        if time.monotonic() > deadline:
            raise AssertionError(f"beat {last} of {number}\n{read()[-600:]}\n{logs()}")
        time.sleep(0.05)
