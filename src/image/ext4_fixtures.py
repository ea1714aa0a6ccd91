#!/usr/bin/env python3
"""Makes the small file systems that ext4_test.cpp and boot_prior_test.cpp read, with mke2fs and e2fsck; needs no root.

usage: ext4_fixtures.py OUT_DIR
What stands in them is repeated in the tests.
"""
import os
import subprocess
import sys
import tempfile

TIME = 1_700_000_000
ENV = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin", MKE2FS_CONFIG="/dev/null",
           E2FSPROGS_FAKE_TIME=str(TIME), LC_ALL="C")
UUID = "00000000-0000-4000-8000-000000000001"
BASE = "none,filetype,dir_index,sparse_super,large_file,ext_attr"
EXT4 = BASE + ",extent,huge_file,flex_bg,dir_nlink,extra_isize,64bit"
# name: (block size, blocks, inodes, features, tree (False: large, True: small), index directories afterwards)
IMAGES = {
    "ext4": (4096, 4096, 1024, EXT4 + ",metadata_csum,has_journal", False, True),
    "ext4_1k": (1024, 8192, 1024, EXT4 + ",metadata_csum", False, True),
    "ext2": (1024, 8192, 1024, BASE, False, False),
    "inline": (1024, 8192, 1024, EXT4 + ",inline_data", False, False),
    "small_ext4": (1024, 1024, 256, EXT4, True, True),
    "small_csum": (1024, 1024, 256, EXT4 + ",metadata_csum", True, True),
    "small_ext2": (1024, 1024, 256, BASE, True, False),
    "small_inline": (1024, 1024, 256, EXT4 + ",inline_data", True, False),
    "bootable": (4096, 2048, 256, EXT4 + ",metadata_csum,has_journal", "bootable", False),
}


def pattern(offset, size):
    """Bytes that tell where in their file they stand."""
    return bytes((i * 31 + i // 4096 * 7 + 1) & 0xFF for i in range(offset, offset + size))


def make_tree(root, small):
    def write(path, data):
        path = os.path.join(root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    write("etc/hostname", b"forerun\n")
    write("a/b/c/d/deep.txt", b"deep\n")
    write("empty", b"")
    write("medium", pattern(0, 100))
    write("solid.bin", pattern(0, 20_000 if small else 300_000))
    write(b"odd \xff\n name".decode("utf-8", "surrogateescape"), b"odd\n")
    os.symlink("etc/hostname", os.path.join(root, "short"))
    os.symlink("directory/" * 30 + "end", os.path.join(root, "long"))
    for i in range(40 if small else 600):
        write(f"many/a file with a rather long name {i:04}", f"{i}\n".encode())
    # Every other 4 KiB is a hole. The end is none: mke2fs -d 1.47.0 with inline_data would lose it.
    pieces = 12 if small else 400
    with open(os.path.join(root, "holes.bin"), "wb") as file:
        for i in range(pieces):
            file.seek(i * 8192)
            file.write(pattern(i * 8192, 4096))
        file.seek(pieces * 8192)
        file.write(pattern(pieces * 8192, 777))


def make_bootable_tree(root):
    for path, data in (("sbin/init", b"#!/bin/run it\n"), ("bin/run", pattern(0, 200_000)),
                       ("bin/other", pattern(0, 1_000_000))):
        path = os.path.join(root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


def run(*command, ok=(0,)):
    done = subprocess.run(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode not in ok:
        sys.exit(f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout}")


def make_image(path, tree, block_size, blocks, inodes, features, index):
    if os.path.exists(path):
        os.remove(path)
    run("mke2fs", "-q", "-F", "-b", str(block_size), "-I", "256", "-N", str(inodes), "-O", features,
        "-U", UUID, "-E", f"hash_seed={UUID},root_owner=0:0,lazy_itable_init=0", "-d", tree, path,
        str(blocks))
    run("e2fsck", "-f", "-y", *(["-D"] if index else []), path, ok=(0, 1))


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for small in (False, True):
            make_tree(os.path.join(scratch, str(small)), small)
        make_bootable_tree(os.path.join(scratch, "bootable"))
        for name, (block_size, blocks, inodes, features, small, index) in IMAGES.items():
            make_image(os.path.join(out, name), os.path.join(scratch, str(small)), block_size,
                       blocks, inodes, features, index)
    with open(os.path.join(out, "made"), "w", encoding="utf-8"):
        pass


if __name__ == "__main__":
    main()
