#!/usr/bin/env python3
"""Checks that the includes of src/ go strictly downward through the floors of docs/architecture.md.

usage: check_floors.py SRC_DIR | --self-test
Prints each include that goes up, sideways without a listed pair, or into an unknown room, and exits 1 if there is one.
"""
import os
import re
import sys
import tempfile

FLOOR = {
    "core": 0, "os": 0,
    "trace": 1, "telemetry": 1,
    "predict": 2, "forecast": 2, "score": 2,
    "iosched": 3, "repository": 3, "tier": 3, "image": 3, "prefetch": 3, "disk": 3, "replay": 3, "migrate": 3, "lab": 3, "sculpt": 3, "place": 3,
    "export": 4, "vmm": 4, "net": 4, "store": 4, "cluster": 4,
    "api": 5, "cli": 5,
    "daemon": 6, "agent": 6,
}
# Rooms of one floor that may include each other, in this direction only.
PAIRS = {
    ("os", "core"),
    ("predict", "score"), ("forecast", "score"),
    ("tier", "repository"), ("image", "repository"),
    ("prefetch", "tier"), ("prefetch", "iosched"), ("prefetch", "repository"),
    ("disk", "image"), ("disk", "tier"), ("disk", "prefetch"), ("disk", "iosched"), ("disk", "repository"),
    ("replay", "tier"),
    ("migrate", "disk"), ("migrate", "prefetch"), ("migrate", "iosched"),
    ("cluster", "store"), ("cluster", "net"),
}
# Rooms that are pure: no operating system, so that sim/ can run them in virtual time.
PURE = {"telemetry", "predict", "forecast", "score", "iosched", "repository", "tier", "image", "prefetch", "disk", "replay", "migrate", "lab", "place"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
OS_HEADERS = re.compile(r'^\s*#\s*include\s+<(sys/.*|unistd\.h|fcntl\.h|poll\.h|thread|pthread\.h|netinet/.*|arpa/.*|linux/.*)>')
CLOCKS = re.compile(r'\b(steady_clock|system_clock|high_resolution_clock)\s*::\s*now\b|\bclock_gettime\b')


def check(src):
    problems = []
    for folder, _, files in sorted(os.walk(src)):
        for name in sorted(files):
            if not name.endswith((".h", ".cpp")):
                continue
            path = os.path.join(folder, name)
            room = os.path.relpath(path, src).split(os.sep)[0]
            if room not in FLOOR:
                problems.append(f"{path}: room '{room}' is on no floor")
                continue
            test = name.endswith("_test.cpp")
            with open(path, encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    where = f"{path}:{number}"
                    if room in PURE and not test and OS_HEADERS.match(line):
                        problems.append(f"{where}: '{room}' is pure and includes {line.split('<')[1].split('>')[0]}")
                    if room != "os" and not test and CLOCKS.search(line):
                        problems.append(f"{where}: reads the clock; pass a core::Clock in")
                    found = INCLUDE.match(line)
                    if not found or "/" not in found.group(1):
                        continue
                    target = found.group(1).split("/")[0]
                    if target == room:
                        continue
                    if target not in FLOOR:
                        problems.append(f"{where}: includes unknown room '{target}'")
                    elif room in PURE and target == "os" and not test:
                        problems.append(f"{where}: '{room}' is pure and includes os/")
                    elif FLOOR[target] >= FLOOR[room] and (room, target) not in PAIRS and not (test and target == "os"):
                        problems.append(f"{where}: '{room}' (floor {FLOOR[room]}) includes '{target}' (floor {FLOOR[target]})")
    return problems


def self_test():
    cases = {
        "tier/a.h": ('#include "core/bytes.h"\n#include "repository/chunk.h"\n', 0),
        "tier/b.h": ('#include "disk/disk.h"\n', 1),
        "core/c.h": ('#include "tier/a.h"\n', 1),
        "predict/d.cpp": ('#include <unistd.h>\n', 1),
        "predict/e.cpp": ('auto t = std::chrono::steady_clock::now();\n', 1),
        "cellar/f.h": ("\n", 1),
        "daemon/g.cpp": ('#include "api/x.h"\n#include "core/y.h"\n', 0),
    }
    for path, (text, expected) in cases.items():
        with tempfile.TemporaryDirectory() as src:
            os.makedirs(os.path.join(src, os.path.dirname(path)))
            with open(os.path.join(src, path), "w", encoding="utf-8") as out:
                out.write(text)
            found = check(src)
            if len(found) != expected:
                print(f"self-test: {path}: expected {expected} problem(s), found {found}")
                return 1
    print(f"self-test: {len(cases)} cases as expected")
    return 0


def main():
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    if sys.argv[1] == "--self-test":
        return self_test()
    problems = check(sys.argv[1])
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
