"""The guests that bench/migrate moves: Debian's kernel, and an initial file system with one program, or with a real redis."""

import os
import re
import shutil
import subprocess

from . import children, guest

LIBRARIES = "usr/lib/x86_64-linux-gnu"


def compile_static(source, program):
    subprocess.run(["clang-19", "-O2", "-static", "-pthread", "-o", program, source], check=True)


def build(root, work, guest_folder, kind="pattern", workload=None):
    """Returns kernel and initrd of a guest. `kind`: "pattern" (bench/migrate_guest/migrate_guest.c), "redis", or "workload": a
    static program of the caller's, which is told of by the supervisor."""
    kernel = guest.build(root, guest_folder).kernel
    sources = os.path.join(root, "bench/migrate_guest")
    tree = os.path.join(work, "tree-" + kind)
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("proc", "dev", "tmp"):
        os.makedirs(os.path.join(tree, folder))
    if kind == "pattern":
        compile_static(os.path.join(sources, "migrate_guest.c"), os.path.join(tree, "init"))
    else:
        compile_static(os.path.join(sources, "supervisor.c"), os.path.join(tree, "init"))
    if kind == "redis":
        compile_static(os.path.join(sources, "redis_load.c"), os.path.join(tree, "workload"))
        add_redis(tree, os.path.join(root, "build/guest-redis"))
    elif kind == "workload":
        if not os.path.isfile(workload):
            raise children.Failure(f"there is no program {workload}")
        shutil.copy(workload, os.path.join(tree, "workload"))
        os.chmod(os.path.join(tree, "workload"), 0o755)
    initrd = os.path.join(work, "initrd-" + kind)
    names = ["."]
    for folder, folders, files in os.walk(tree):
        names += [os.path.relpath(os.path.join(folder, name), tree) for name in sorted(folders) + sorted(files)]
    with open(initrd, "wb") as out:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=tree, input="\n".join(names).encode(), stdout=out,
                       stderr=subprocess.DEVNULL, check=True)
    return kernel, initrd


def add_redis(tree, cache):
    """Adds Debian's redis-server and what it is linked with. `cache`: where its packages are kept once they were fetched."""
    if not os.path.exists(os.path.join(cache, "done")):
        fetch_redis(cache)
    found = {}
    for folder, _, files in os.walk(cache):
        found.update({name: os.path.join(folder, name) for name in files if ".so" in name or name == "redis-check-rdb"})
    os.makedirs(os.path.join(tree, "usr/bin"))
    os.makedirs(os.path.join(tree, LIBRARIES))
    os.symlink("usr/lib", os.path.join(tree, "lib"))
    os.makedirs(os.path.join(tree, "lib64"))
    program = os.path.join(tree, "usr/bin/redis-server")  # in Debian a link to this one
    shutil.copy(os.path.realpath(found["redis-check-rdb"]), program)
    shutil.copy(os.path.realpath(found["ld-linux-x86-64.so.2"]), os.path.join(tree, "lib64/ld-linux-x86-64.so.2"))
    wanted, have = [program], {"ld-linux-x86-64.so.2"}
    while wanted:
        told = subprocess.run(["objdump", "-p", wanted.pop()], capture_output=True, text=True, check=True).stdout
        for name in re.findall(r"NEEDED +(\S+)", told):
            if name in have:
                continue
            if name not in found:
                raise children.Failure(f"redis-server needs {name}, which none of its packages has: remove {cache}")
            have.add(name)
            target = os.path.join(tree, LIBRARIES, name)
            shutil.copy(os.path.realpath(found[name]), target)
            wanted.append(target)


def fetch_redis(cache):
    shutil.rmtree(cache, ignore_errors=True)
    os.makedirs(cache)
    depends = subprocess.run(["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
                              "--no-breaks", "--no-replaces", "--no-enhances", "redis-tools"],
                             capture_output=True, text=True, check=False).stdout
    # Of what it needs only libraries are taken; what configures a system is not run.
    packages = sorted({line for line in depends.splitlines()
                       if re.fullmatch(r"(lib[a-z0-9.+-]+|redis-tools)", line) and "perl" not in line and line != "libelogind0"})
    done = subprocess.run(["apt-get", "-q", "download", *packages], cwd=cache, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise children.Failure(f"redis cannot be fetched: {done.stderr.strip()[-500:]}")
    for name in os.listdir(cache):
        subprocess.run(["dpkg-deb", "-x", os.path.join(cache, name), os.path.join(cache, "root")], check=True)
    with open(os.path.join(cache, "done"), "w", encoding="utf-8") as out:
        out.write("\n".join(packages) + "\n")
