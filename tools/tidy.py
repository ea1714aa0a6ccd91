#!/usr/bin/env python3
"""Checks the house rules that a machine can check.

usage: tidy.py ROOT | --self-test
Prints each breach as path:line: what, and exits 1 if there is one. Looks at src/, sim/, tests/, bench/
and fuzz/ (some rules hold in src/ only), and holds docs/architecture.md against check_floors.py.
"""
import os
import re
import sys
import tempfile

import check_floors

COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
README_LINES_MAX = 40
# What makes every file that includes the header pay a second or more, or leaks a library into the house.
HEAVY = re.compile(r'^\s*#\s*include\s+<(boost/|CLI/|toml\+\+|toml\.hpp|nlohmann/|curl/|openssl/|gtest/|gmock/)[^>]*>')
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<][^">]+[">])')
UNFINISHED = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b')
THROW = re.compile(r'\bthrow\b')
# Says at the top of a long file why it is one.
WHY_LONG = re.compile(r'\b(in one file because|over 500 lines:)', re.IGNORECASE)
NOT_A_FUNCTION = re.compile(
    r'^\s*(if|else|for|while|switch|do|namespace|struct|class|enum|union|case|default|try|catch|extern)\b')
OPENS_BODY = re.compile(r'\)\s*((const|noexcept|override|final|mutable|try)\s*)*(->\s*[\w:<>&*,\s]+?)?\s*\{\s*$')

# The line before the first one of a definition: empty, a comment, the end of something, an access specifier.
ENDS_BEFORE = re.compile(r'(^|[;{}>]|\b(public|private|protected|default):|^case .*:|^\s*#.*)$')


def without_text(line):
    """Returns the line without string and character literals and without a trailing comment."""
    line = re.sub(r'"(\\.|[^"\\])*"', '""', line)
    line = re.sub(r"'(\\.|[^'\\])'", "''", line)
    return line.split("//", 1)[0]


def top_comment(lines):
    comment = []
    for line in lines:
        if not line.startswith("//"):
            break
        comment.append(line)
    return "\n".join(comment)


def function_lengths(lines):
    """Yields (first line number, length) of each function body, best effort: clang-format's layout is relied on."""
    for number, line in enumerate(lines):
        code = without_text(line)
        if not OPENS_BODY.search(code):
            continue
        first = number
        while first > 0 and not ENDS_BEFORE.search(without_text(lines[first - 1]).rstrip()):
            first -= 1
        if NOT_A_FUNCTION.match(lines[first]) or re.match(r'^\s*}', lines[first]):
            continue
        indent = len(lines[first]) - len(lines[first].lstrip())
        closing = re.compile(r'^ {%d}\}' % indent)
        for last in range(number + 1, len(lines)):
            if closing.match(lines[last]):
                yield first + 1, last - first + 1
                break
            if lines[last].strip() and not lines[last].startswith(" " * indent):
                break  # not a body after all


def check_source(path, text, problems, in_src):
    lines = text.split("\n")
    name = os.path.basename(path)
    is_test = name.endswith("_test.cpp")
    is_fixture = name.endswith(("_fixture.h", "_test.h"))  # for tests only
    own_header = re.sub(r'(_test)?\.cpp$', '.h', name)
    first_include = None
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if len(line) > COLUMNS_MAX:
            problems.append(f"{where}: {len(line)} columns, {COLUMNS_MAX} at most")
        if UNFINISHED.search(line):
            problems.append(f"{where}: unfinished work belongs into an issue")
        if in_src and not is_test and THROW.search(without_text(line)):
            problems.append(f"{where}: throws; errors are values (core/result.h)")
        if name.endswith(".h") and not is_fixture and HEAVY.match(line):
            problems.append(f"{where}: a header includes {INCLUDE.match(line).group(1)}")
        found = INCLUDE.match(line)
        if found and first_include is None:
            first_include = (number, found.group(1))
    if name.endswith(".h"):
        code = [line for line in lines if line.strip() and not line.startswith("//")]
        if not code or code[0] != "#pragma once":
            problems.append(f"{path}:1: a header begins with #pragma once")
    elif in_src and os.path.exists(os.path.join(os.path.dirname(path), own_header)) and first_include:
        if os.path.basename(first_include[1].strip('"<>')) != own_header:
            problems.append(f"{path}:{first_include[0]}: the first include is not {own_header}")
    if len(lines) > FILE_LINES_MAX and not WHY_LONG.search(top_comment(lines)):
        problems.append(f"{path}:1: {len(lines)} lines, and no word at the top on why they are in one file")
    for first, length in function_lengths(lines):
        if length > FUNCTION_LINES_MAX:
            problems.append(f"{path}:{first}: a function of {length} lines, {FUNCTION_LINES_MAX} at most")


def check_room(folder, problems):
    readme = os.path.join(folder, "README.md")
    if not os.path.exists(readme):
        problems.append(f"{folder}: no README.md")
        return
    with open(readme, encoding="utf-8") as lines:
        count = len(lines.readlines())
    if count > README_LINES_MAX:
        problems.append(f"{readme}: {count} lines, {README_LINES_MAX} at most")


def check_architecture(root, rooms, problems):
    """The page's table of floors is the table that the build checks, for the rooms that exist."""
    page = os.path.join(root, "docs", "architecture.md")
    if not os.path.exists(page):
        return
    floors, pairs = {}, set()
    with open(page, encoding="utf-8") as lines:
        for line in lines:
            row = re.match(r'^\| (\d)[^|]*\|([^|]*)\|([^|]*)\|$', line)
            if not row:
                continue
            floors.update({room.strip(): int(row.group(1)) for room in row.group(2).split(",")})
            for entry in row.group(3).split(";"):
                if "→" in entry:
                    upper, lowers = entry.split("→")
                    pairs.update((upper.strip(), lower.strip()) for lower in lowers.split(","))
    for room in sorted(set(rooms) | set(floors)):
        if room not in rooms:
            problems.append(f"{page}: room '{room}' does not exist")
        elif floors.get(room) != check_floors.FLOOR.get(room):
            problems.append(f"{page}: room '{room}' stands on floor {floors.get(room)}, "
                            f"check_floors.py says {check_floors.FLOOR.get(room)}")
    known = {pair for pair in check_floors.PAIRS if set(pair) <= set(rooms)}
    for pair in sorted(pairs ^ known):
        problems.append(f"{page}: the pair {pair[0]} → {pair[1]} is not in both page and check_floors.py")


def check(root):
    problems = []
    for part in ("src", "sim", "tests", "bench", "fuzz"):
        for folder, folders, files in sorted(os.walk(os.path.join(root, part))):
            folders.sort()
            for name in sorted(files):
                if not name.endswith((".h", ".cpp")):
                    continue
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as file:
                    check_source(path, file.read(), problems, part == "src")
    src = os.path.join(root, "src")
    rooms = [room for room in sorted(os.listdir(src))
             if any(name.endswith((".h", ".cpp")) for name in os.listdir(os.path.join(src, room)))]
    for room in rooms:
        check_room(os.path.join(src, room), problems)
    check_architecture(root, rooms, problems)
    return problems


def self_test():
    header = "// A thing.\n#pragma once\n"
    body = "void f(int a,\n       int b) {\n" + "  a += b;\n" * 68 + "}\n"
    cases = [
        ({"a.h": header}, 0),
        ({"a.h": "// A thing.\n#include <vector>\n#pragma once\n"}, 1),
        ({"a.h": header + "#include <boost/asio.hpp>\n"}, 1),
        ({"a.h": header + "#include <openssl/sha.h>\n", "b.cpp": "#include <openssl/sha.h>\n"}, 1),
        ({"a.h": header + "x" * 101 + "\n"}, 1),
        ({"a.h": header + "ä" * 100 + "\n"}, 0),
        ({"a.h": header, "a.cpp": '#include "tier/a.h"\n#include <map>\n'}, 0),
        ({"a.h": header, "a.cpp": '#include <map>\n#include "tier/a.h"\n'}, 1),
        ({"a.h": header, "a_test.cpp": '#include <map>\n\n#include "tier/a.h"\n'}, 1),
        ({"a.cpp": "void f() { throw 1; }\n"}, 1),
        ({"a.cpp": '// They throw.\nauto s = "throw";\n'}, 0),
        ({"a_test.cpp": "void f() { throw 1; }\n"}, 0),
        ({"a.cpp": "// TO" "DO: more\n"}, 1),
        ({"a.cpp": "int x;\n" * 501}, 1),
        ({"a.cpp": "// In one file because it is one table.\n" + "int x;\n" * 501}, 0),
        ({"a.cpp": body}, 1),
        ({"a.cpp": body.replace("  a += b;\n", "", 1)}, 0),
        ({"a.cpp": "A::A(int a)\n    : a_(a),\n      b_(a) {\n  f();\n}\n" + "  x();\n" * 80 + "      }\n"}, 0),
        ({"a.cpp": "A::A(int a)\n    : a_(a),\n      b_(a) {\n" + "  f();\n" * 70 + "}\n"}, 1),
        ({"a.cpp": "int f() {\n  return g(\n      [](int a) {\n        h();\n      },\n      1);\n}\n"
                   + "void k() {}\n" * 80 + "  }\n"}, 0),
        ({"a_fixture.h": header + "#include <gtest/gtest.h>\n"}, 0),
        ({"a.cpp": "namespace x {\n" + "int f();\n" * 100 + "}\n"}, 0),
        ({"README.md": "line\n" * 41, "a.h": header}, 1),
        ({"README.md": None, "a.h": header}, 1),
        ({"README.md": None}, 0),
        ({"a.h": header, "../../docs/architecture.md": "| 3 act | tier | |\n"}, 0),
        ({"a.h": header, "../../docs/architecture.md": "| 2 act | tier | |\n"}, 1),
        ({"a.h": header, "../../docs/architecture.md": "| 3 act | tier, disk | |\n"}, 1),
        ({"a.h": header, "../../docs/architecture.md": "| 3 act | tier | tier → core |\n"}, 1),
        ({"a.h": header, "../../docs/architecture.md": "nothing\n"}, 1),
    ]
    for files, expected in cases:
        with tempfile.TemporaryDirectory() as root:
            room = os.path.join(root, "src", "tier")
            os.makedirs(os.path.join(root, "docs"))
            os.makedirs(room)
            for name, text in {"README.md": "A room.\n", **files}.items():
                if text is not None:
                    with open(os.path.join(room, name), "w", encoding="utf-8") as out:
                        out.write(text)
            found = check(root)
            if len(found) != expected:
                print(f"self-test: {sorted(files)}: expected {expected} problem(s), found {found}")
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
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
