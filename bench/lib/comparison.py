"""The command line that bench/boot and bench/boot_replay share: links × alternating runs × modes, JSON out."""

import argparse
import os
import shutil
import sys
import tempfile
import time

from . import boots, children, report
from .guest import build
from .servers import LINKS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIELDS = ["service_s", "stall_s", "fetched_bytes", "hit", "late", "wasted", "demand_p99_ms"]


def arguments(description, default_out):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=3, help="alternating runs of every mode (default 3)")
    parser.add_argument("--links", default=",".join(LINKS), help="of " + ", ".join(LINKS))
    parser.add_argument("--modes", default=",".join(boots.MODES), help="of " + ", ".join(boots.MODES))
    parser.add_argument("--out", default=os.path.join(ROOT, default_out))
    parser.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"), help="where forerund is")
    parser.add_argument("--guest", default=os.path.join(ROOT, "build/guest"), help="built there if missing (as root)")
    parser.add_argument("--repository", default=os.path.join(ROOT, "build/guest-repository"))
    chosen = parser.parse_args()
    chosen.links = chosen.links.split(",")
    chosen.modes = chosen.modes.split(",")
    for name, known in ((chosen.links, LINKS), (chosen.modes, boots.MODES)):
        for word in name:
            if word not in known:
                parser.error(f"'{word}' is none of {', '.join(known)}")
    if chosen.runs < 1:
        parser.error("--runs must be at least 1")
    return chosen


def say(text):
    print(text, file=sys.stderr, flush=True)


def compare(chosen, benchmark, make_workload, definitions):
    """Runs every mode on every link `runs` times, alternating, and writes medians and every run."""
    children.exit_on_signals()
    os.makedirs(os.path.join(ROOT, "build"), exist_ok=True)
    work = tempfile.mkdtemp(prefix=benchmark + "-", dir=os.path.join(ROOT, "build"))
    began = time.monotonic()
    try:
        guest = build(ROOT, chosen.guest)
        image = boots.ensure_repository(chosen.bin, guest, chosen.repository, work)
        workload = make_workload(guest, work)
        result = {"benchmark": benchmark, "commit": report.commit(ROOT), "began": report.utc_now(), "seed": None,
                  "seed_note": "nothing random is drawn; runs differ by timing alone", "host": report.host_facts(),
                  "guest": guest.facts, "image": image, "definitions": definitions,
                  "links": {name: LINKS[name] for name in chosen.links}, "training": {}, "runs": {}}
        for link in chosen.links:
            _compare_on(link, chosen, guest, workload, work, result)
        result["medians"], result["spread"] = report.medians(result["runs"])
        result["took_s"] = round(time.monotonic() - began, 1)
        report.write_json(chosen.out, result)
        print_table(result["medians"])
        say(f"written to {chosen.out}")
    except children.Failure as failure:
        children.report_and_exit(failure, "bench/" + benchmark)
    finally:
        children.stop_all()
        shutil.rmtree(work, ignore_errors=True)


def _compare_on(link, chosen, guest, workload, work, result):
    bed = boots.Bed(chosen.bin, guest, chosen.repository, LINKS[link], os.path.join(work, link))
    results = result["runs"].setdefault(link, {mode: [] for mode in chosen.modes})
    try:
        history = None
        if any(boots.needs_history(mode) for mode in chosen.modes):
            say(f"{link}: two boots to learn from")
            history, figures = bed.train(workload, work)
            result["training"][link] = figures
        for run in range(chosen.runs):
            for mode in chosen.modes:
                figures = bed.run(mode, workload, history if boots.needs_history(mode) else None)
                results[mode].append(figures)
                say(f"{link} run {run + 1} {mode}: service {figures['service_s']:.2f} s, stall "
                    f"{figures['stall_s']:.2f} s, {figures['fetched_bytes'] / 1e6:.1f} MB, hit {figures['hit']}, "
                    f"late {figures['late']}, wasted {figures['wasted']}, p99 {figures['demand_p99_ms']} ms, "
                    f"load {figures['load_average']}")
    finally:
        bed.stop()


def print_table(medians):
    for link, modes in medians.items():
        print(f"\n{link}: medians")
        print(f"  {'mode':20}" + "".join(f"{field:>15}" for field in FIELDS))
        for mode, fields in modes.items():
            print(f"  {mode:20}" + "".join(f"{fields.get(field, 0):>15g}" for field in FIELDS))
