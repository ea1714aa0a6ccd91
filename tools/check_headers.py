#!/usr/bin/env python3
"""Compiles each header of src/ and sim/ alone, without the precompiled header.

usage: check_headers.py ROOT COMPILER [JOBS]
Prints the compiler's first errors of each header that does not stand alone, and exits 1 if there is one.
"""
import concurrent.futures
import os
import subprocess
import sys


def compile_alone(compiler, root, header):
    command = [compiler, "-std=c++23", "-fsyntax-only", "-Wno-pragma-once-outside-header", "-x", "c++",
               "-I", os.path.join(root, "src"), "-I", root, header]
    done = subprocess.run(command, capture_output=True, text=True)
    return header, done.returncode, "\n".join(done.stderr.splitlines()[:6])


def main():
    if len(sys.argv) not in (3, 4):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    root, compiler = sys.argv[1:3]
    jobs = int(sys.argv[3]) if len(sys.argv) == 4 else 2
    headers = [os.path.join(folder, name) for part in ("src", "sim")
               for folder, _, files in os.walk(os.path.join(root, part)) for name in files if name.endswith(".h")]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for header, code, errors in pool.map(lambda each: compile_alone(compiler, root, each), sorted(headers)):
            if code != 0:
                failed += 1
                print(f"{header} does not compile alone:\n{errors}")
    print(f"{len(headers)} headers, {failed} that do not compile alone")
    return 1 if failed or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
