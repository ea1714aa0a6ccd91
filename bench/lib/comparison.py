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
FIELDS = ["service_s", "stall_s", "fetched_bytes", "hit", "late", "wasted", "wasted_ratio", "demand_p99_ms"]


def parser(description, default_out):
    """Returns the parser of what every boot benchmark is told."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--runs", type=int, default=3, help="alternating runs of every mode (default 3)")
    options.add_argument("--links", default=",".join(LINKS), help="of " + ", ".join(LINKS))
    options.add_argument("--modes", help="of " + ", ".join(boots.MODES))
    options.add_argument("--out", default=os.path.join(ROOT, default_out))
    options.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"), help="where forerund is")
    options.add_argument("--guest", default=os.path.join(ROOT, "build/guest"), help="built there if missing (as root)")
    options.add_argument("--repository", default=os.path.join(ROOT, "build/guest-repository"))
    return options


def check(options, chosen, modes):
    """Turns the lists into lists; ends the program if a word is none of `modes` or of the links."""
    chosen.links = chosen.links.split(",")
    chosen.modes = chosen.modes.split(",") if chosen.modes else list(modes)
    for words, known in ((chosen.links, LINKS), (chosen.modes, modes)):
        for word in words:
            if word not in known:
                options.error(f"'{word}' is none of {', '.join(known)}")
    if chosen.runs < 1:
        options.error("--runs must be at least 1")
    return chosen


def arguments(description, default_out):
    options = parser(description, default_out)
    return check(options, options.parse_args(), boots.MODES)


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(chosen, benchmark, definitions, prepare):
    """Compares what `prepare(work)` returns, a Plan; writes medians and every run, and returns what it wrote."""
    children.exit_on_signals()
    os.makedirs(os.path.join(ROOT, "build"), exist_ok=True)
    work = tempfile.mkdtemp(prefix=benchmark + "-", dir=os.path.join(ROOT, "build"))
    began = time.monotonic()
    try:
        plan = prepare(work)
        result = {"benchmark": benchmark, "commit": report.commit(ROOT), "began": report.utc_now(), "seed": None,
                  "seed_note": "nothing random is drawn; runs differ by timing alone", "host": report.host_facts(),
                  **plan.facts, "definitions": definitions, "links": {name: LINKS[name] for name in chosen.links},
                  "training": {}, "runs": {}}
        for link in chosen.links:
            _compare_on(link, chosen, plan, work, result)
        result["medians"], result["spread"] = report.medians(result["runs"])
        result["took_s"] = round(time.monotonic() - began, 1)
        report.write_json(chosen.out, result)
        print_table(result["medians"])
        say(f"written to {chosen.out}")
        return result
    except children.Failure as failure:
        return children.report_and_exit(failure, "bench/" + benchmark)
    finally:
        children.stop_all()
        shutil.rmtree(work, ignore_errors=True)


class Plan:
    """What is compared: the repository behind the link, the workload, and who is booted for each kind of learning."""

    def __init__(self, repository, workload, taught, facts):
        self.repository = repository
        self.workload = workload
        self.taught = taught  # boots.OWN, PARTS, BASE: the workloads to boot for it, in order
        self.facts = facts  # of guest and image, for the result


def compare(chosen, benchmark, make_workload, definitions):
    """Compares the modes on the guest of tools/guest."""
    def prepare(work):
        guest = build(ROOT, chosen.guest)
        image = boots.ensure_repository(chosen.bin, guest, chosen.repository, work)
        workload = make_workload(guest, work)
        return Plan(chosen.repository, workload, {boots.OWN: [workload] * 2}, {"guest": guest.facts, "image": image})

    return run(chosen, benchmark, definitions, prepare)


def _compare_on(link, chosen, plan, work, result):
    bed = boots.Bed(chosen.bin, plan.repository, LINKS[link], os.path.join(work, link))
    results = result["runs"].setdefault(link, {mode: [] for mode in chosen.modes})
    result["training"][link] = {}
    try:
        histories = {}
        for kind in dict.fromkeys(filter(None, map(boots.learned_from, chosen.modes))):
            names = ", ".join(workload.image for workload in plan.taught[kind])
            say(f"{link}: boots to learn from ({kind}): {names}")
            histories[kind], figures = bed.train(plan.taught[kind], os.path.join(work, kind))
            result["training"][link][kind] = figures
        for number in range(chosen.runs):
            for mode in chosen.modes:
                figures = bed.run(mode, plan.workload, histories.get(boots.learned_from(mode)))
                results[mode].append(figures)
                say(f"{link} run {number + 1} {mode}: service {figures['service_s']:.2f} s, stall "
                    f"{figures['stall_s']:.2f} s, {figures['fetched_bytes'] / 1e6:.1f} MB, hit {figures['hit']}, "
                    f"late {figures['late']}, wasted {figures['wasted']} ({figures.get('wasted_ratio', 0):.1%}), p99 "
                    f"{figures['demand_p99_ms']} ms, load {figures['load_average']}")
    finally:
        bed.stop()


def print_table(medians):
    for link, modes in medians.items():
        print(f"\n{link}: medians")
        print(f"  {'mode':20}" + "".join(f"{field:>15}" for field in FIELDS))
        for mode, fields in modes.items():
            print(f"  {mode:20}" + "".join(f"{fields.get(field, 0):>15g}" for field in FIELDS))
