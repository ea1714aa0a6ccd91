"""The ceiling of any launch prediction where hosts are drawn at random: what a policy would reach that knows beforehand
how many launches of each manifest every window will see, and spends its bytes in the best windows of the whole trace.
"""
import subprocess
from collections import defaultdict


def numbers(paths, tick_s):
    """Launches of each manifest by tick, the first tick, how many ticks, all launches."""
    by_manifest, first, last, launches = defaultdict(lambda: defaultdict(int)), None, 0, 0
    for path in paths:
        command = ["zstd", "-dc", path] if path.endswith(".zst") else ["cat", path]
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
            second, _, items = line.partition(" ")
            tick = (int(second) - 1) // tick_s
            first, last = tick if first is None else first, tick
            for item in items.split(","):
                if item and item != "|" and item[0] not in "~@":
                    by_manifest[item][tick] += 1
                    launches += 1
    return by_manifest, first, last - first + 1, launches


def chosen_windows(series, first, ticks, window, price):
    """Disjoint windows worth more than `price` each, best in sum: launches in them, and how many."""
    best = [(0.0, 0.0, 0)] * (ticks + window)
    for i in range(ticks - 1, -1, -1):
        value = sum(series.get(first + i + k, 0) for k in range(window))
        skip, take = best[i + 1], best[i + window]
        gain = value - price + take[0]
        best[i] = (gain, value + take[1], take[2] + 1) if gain > skip[0] else skip
    return best[0][1], best[0][2]


def ready_ratio(paths, bytes_per_window, image_bytes, tick_s=300, window=2, rounds=30):
    """The share of launches that could be ready at this budget per host and window, images all of one size."""
    by_manifest, first, ticks, launches = numbers(paths, tick_s)
    windows_max = bytes_per_window / image_bytes * ticks / window    # of one host: all hosts are alike
    low, high, covered = 0.0, float(launches), 0.0
    for _ in range(rounds):                                          # the price at which the budget is spent
        price = (low + high) / 2
        picks = [chosen_windows(series, first, ticks, window, price) for series in by_manifest.values()]
        if sum(count for _, count in picks) > windows_max:
            low = price
        else:
            high, covered = price, sum(value for value, _ in picks)
    return covered / launches
