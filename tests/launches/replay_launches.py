#!/usr/bin/env python3
"""forerun replay launches: a trace with a timer is foreseen, the same command says the same twice, bad input is refused.

usage: replay_launches.py FORERUN
"""
import json
import os
import subprocess
import sys
import tempfile


def run(*arguments):
    return subprocess.run([sys.argv[1], "replay", "launches", *arguments], capture_output=True, text=True, check=False)


def expect(condition, what):
    if not condition:
        sys.exit(f"replay_launches: {what}")


def trace(first_tick, ticks):
    """Every hour at the same minute forty of `timer`; one or two of `steady` in every bin."""
    lines = []
    for tick in range(first_tick, first_tick + ticks):
        batches = "steady,|" if tick % 3 else "steady,steady,|"
        if tick % 12 == 7:
            batches += "," + "timer," * 40 + "|"
        lines.append(f"{300 * (tick + 1)} {batches}\n")
    return "".join(lines)


def main():
    expect(len(sys.argv) == 2, __doc__)
    with tempfile.TemporaryDirectory() as work:
        train, later, bad = (os.path.join(work, name) for name in ("train.txt", "later.txt", "bad.txt"))
        with open(train, "w", encoding="ascii") as file:
            file.write(trace(0, 1200))
        with open(later, "w", encoding="ascii") as file:
            file.write(trace(1200, 400))
        with open(bad, "w", encoding="ascii") as file:
            file.write("300 a,|\n600 a\n")
        command = ["--train", train, later, "--hosts", "2", "--sizes", "equal", "--budget-bytes", "64M", "-o", "json"]
        done = run(*command)
        expect(done.returncode == 0, done.stderr)
        result = json.loads(done.stdout)
        expect(result["ticks_learned"] == 1200 and result["ticks_counted"] == 400, "wrong number of ticks")
        budget = result["budgets"][0]
        for name, method in budget["methods"].items():
            expect(method["spent_bytes"] <= method["granted_bytes"], f"{name} spent more than was granted")
        share = budget["methods"]["forerun"]["ready_ratio"]
        # The timer is 40 of 56 launches an hour; on 2 hosts a quarter of an image per window is three an hour.
        expect(share > 0.6, f"the timer was not foreseen: {share}")
        expect(budget["gain_ratio"] > 0.2, f"no gain over the baselines: {budget['gain_ratio']}")
        deciles = result["calibration"]["deciles"]
        expect(len(deciles) == 10 and sum(decile["count"] for decile in deciles) == result["calibration"]["outcomes"],
               "deciles do not add up")
        expect(run(*command).stdout == done.stdout, "the same command does not say the same twice")

        expect(run(train).returncode == 0, "the table fails")
        for arguments, code, message in (
                ([bad], 2, "line 2: the last batch is not ended by '|'"),
                ([later, train], 2, "does not come after"),
                ([train, "--window", "7m"], 2, "not a whole number of ticks"),
                ([train, "--budget-bytes", "0"], 2, "over 0 bytes"),
                ([os.path.join(work, "none.txt")], 4, "none.txt")):
            done = run(*arguments)
            expect(message in done.stderr, f"{arguments} says: {done.stderr}")
            expect(done.returncode == code, f"{arguments} exits with {done.returncode}")
    print("replay_launches: ok")


if __name__ == "__main__":
    main()
