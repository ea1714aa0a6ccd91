"""Boots as lines of a terminal: one cell is 250 ms, its height the share of it that the guest waited for the link."""

import os
import shutil
import sys

CELL_S = 0.25
BLOCKS = "·▁▃▅█"
ASCII = "-.:+#"


def is_ascii(asked):
    """Block characters need a terminal, or a file, whose encoding has them."""
    if asked or os.environ.get("TERM") == "dumb":
        return True
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return True
    return False


def cells(bin_s, bin_ms, span_s):
    """Returns the stalled share of each cell up to `span_s`; a bin's stall is spread evenly over it."""
    count = max(1, round(span_s / CELL_S))
    stalled = [0.0] * count
    for index, value in enumerate(bin_ms):
        begin, end = index * bin_s, (index + 1) * bin_s
        for cell in range(int(begin / CELL_S), min(count, int(end / CELL_S) + 1)):
            overlap = min(end, (cell + 1) * CELL_S) - max(begin, cell * CELL_S)
            if overlap > 0:
                stalled[cell] += value / 1000 * overlap / bin_s
    return [min(1.0, value / CELL_S) for value in stalled]


def line(figures, ascii_only):
    """Returns the boot as text: a dot where nothing was waited for, = (or ░) while the image was copied."""
    glyphs = ASCII if ascii_only else BLOCKS
    copied = round(figures.get("copy_s", 0) / CELL_S)
    shares = cells(figures.get("stall_bin_s", 0.1), figures.get("stall_bin_ms", []),
                   figures["service_s"] - figures.get("copy_s", 0))
    text = ("=" if ascii_only else "░") * copied
    # 1 ms and more shows; a full block is a cell of nothing else.
    text += "".join(glyphs[0] if share < 0.005 else glyphs[min(4, 1 + int(share * 3.999))] for share in shares)
    return text + ("|" if ascii_only else "▏")


def timelines(named, ascii_only):
    """Returns the picture of [(name, figures)]; a boot that is wider than the terminal goes on in the next line."""
    width = max(len(name) for name, _ in named) + 2
    room = max(20, shutil.get_terminal_size((120, 24)).columns - width - 1)
    glyphs = ASCII if ascii_only else BLOCKS
    copy, end = ("=", "|") if ascii_only else ("░", "▏")
    lines = [f"Waits for the link, one cell = {CELL_S * 1000:.0f} ms: {glyphs[1]} a little … {glyphs[4]} all of it, "
             f"{copy} copying, {end} the service answers"]
    for name, figures in named:
        text = line(figures, ascii_only)
        for begin in range(0, len(text), room):
            lines.append(f"{name if begin == 0 else '':{width}}{text[begin:begin + room]}")
    return "\n".join(lines)
