#!/usr/bin/env python3
"""Writes a C++ file that holds the bytes of another file.

usage: embed.py IN OUT.cpp HEADER NAMESPACE NAME
HEADER declares NAMESPACE::NAME as an extern const ByteView.
"""
import sys


def main():
    source, out, header, namespace, name = sys.argv[1:]
    with open(source, "rb") as file:
        data = file.read()
    lines = [",".join(str(byte) for byte in data[at:at + 32]) for at in range(0, len(data), 32)]
    with open(out, "w", encoding="ascii") as file:
        file.write(f'#include "{header}"\n\nnamespace {namespace} {{\nnamespace {{\n'
                   f"constexpr unsigned char kBytes[] = {{\n" + ",\n".join(lines) + "};\n}\n"
                   f"const ByteView {name}{{reinterpret_cast<const std::byte*>(kBytes), sizeof kBytes}};\n}}\n")


if __name__ == "__main__":
    main()
