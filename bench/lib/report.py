"""Benchmark results: medians, spread, the facts needed to read them, and JSON files written whole."""

import json
import os
import platform
import statistics
import subprocess
import time

from . import guest


def host_facts():
    """What of the machine matters to the figures; nothing that names it."""
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo", encoding="utf-8") as file:
        memory_kib = int(file.readline().split()[1])
    return {"accelerator": guest.accelerator(), "cpu": model, "cpus": os.cpu_count(),
            "memory_gib": round(memory_kib / 2**20, 1),
            "kernel": platform.release()}


def commit(repo_root):
    """Returns the commit, with a + if the work tree differs from it."""
    def git(*arguments):
        return subprocess.run(["git", "-C", repo_root, *arguments], capture_output=True, text=True, check=False)

    head = git("rev-parse", "--short=12", "HEAD")
    if head.returncode != 0:
        return "unknown"
    dirty = git("status", "--porcelain", "--untracked-files=no").stdout.strip()
    return head.stdout.strip() + ("+" if dirty else "")


def load_average():
    return round(os.getloadavg()[0], 2)


def medians(runs):
    """runs: {link: {mode: [ {field: number or None} ]}} → the same shape with each field's median and spread."""
    middle, spread = {}, {}
    for link, modes in runs.items():
        for mode, results in modes.items():
            for field in sorted({field for result in results for field in result}):
                values = [r[field] for r in results if isinstance(r.get(field), (int, float))]
                if not values:
                    continue
                middle.setdefault(link, {}).setdefault(mode, {})[field] = round(statistics.median(values), 6)
                spread.setdefault(link, {}).setdefault(mode, {})[field] = [min(values), max(values)]
    return middle, spread


def write_json(path, value):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    os.replace(path + ".new", path)


def utc_now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
