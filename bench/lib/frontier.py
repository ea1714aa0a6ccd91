"""Energy against demand not met, as a picture: a line per policy, a point per value of its parameter."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP = 720, 420, 70, 40
COLOURS = ["#d1495b", "#1b6ca8", "#2e933c", "#7d5ba6", "#b5651d"]


def ticks(most):
    """Returns five round steps from 0 that reach `most`."""
    unit = 10.0 ** math.floor(math.log10(most / 5))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor * 5 >= most)
    return [step * i for i in range(6)]


def svg(lines, title):
    """`lines`: {policy: [(label, kWh, unserved %)]}. Returns the text of a picture."""
    points = [point for line in lines.values() for point in line]
    xs, ys = ticks(max(point[1] for point in points)), ticks(max(point[2] for point in points))

    def at(kwh, unserved):
        return LEFT + WIDTH * kwh / xs[-1], TOP + HEIGHT * (1 - unserved / ys[-1])

    text = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 40}" height="{TOP + HEIGHT + 50}" '
            'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>']
    for x in xs:
        left, bottom = at(x, 0)
        text.append(f'<line x1="{left:.1f}" y1="{TOP}" x2="{left:.1f}" y2="{bottom:.1f}" stroke="#eee"/>'
                    f'<text x="{left:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{x:.4g}</text>')
    for y in ys:
        left, level = at(0, y)
        text.append(f'<line x1="{left}" y1="{level:.1f}" x2="{LEFT + WIDTH}" y2="{level:.1f}" stroke="#eee"/>'
                    f'<text x="{left - 6}" y="{level + 4:.1f}" text-anchor="end">{y:.3g}</text>')
    text.append(f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 36}" text-anchor="middle">kWh a day</text>'
                f'<text x="16" y="{TOP + HEIGHT / 2}" transform="rotate(-90 16 {TOP + HEIGHT / 2})" '
                'text-anchor="middle">demand not met, %</text>')
    for colour, (name, line) in zip(COLOURS, lines.items()):
        places = [at(kwh, unserved) for _, kwh, unserved in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        text.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        for (label, kwh, unserved), (x, y) in zip(line, places):
            text.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{escape(name)} {escape(label)}: '
                        f'{kwh:.1f} kWh, {unserved:.3f} %</title></circle>'
                        f'<text x="{x + 6:.1f}" y="{y - 6:.1f}" fill="{colour}">{escape(label)}</text>')
        text.append(f'<text x="{LEFT + WIDTH - 150}" y="{TOP + 16 + 16 * list(lines).index(name)}" fill="{colour}">'
                    f'{escape(name)}</text>')
    return "\n".join([*text, "</svg>", ""])
