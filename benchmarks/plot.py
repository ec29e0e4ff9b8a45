"""A bar chart as SVG. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

_COLOURS: Final = ("#2a6fbb", "#e08a2e")
_BAR, _GAP, _LABEL, _SCALE, _TOP = 14, 12, 90, 400, 50


def bars(values: Mapping[str, Sequence[float]], series: Sequence[str], title: str) -> str:
    """Draw a group of horizontal bars for each entry, and a line at 1."""
    group = _BAR * len(series) + _GAP
    height = _TOP + group * len(values) + _GAP
    most = max(1.1, *(value for group_values in values.values() for value in group_values))
    unit = _SCALE / most
    shapes = [f'<text x="{_LABEL}" y="16" font-weight="bold">{title}</text>']
    for number, name in enumerate(series):
        x = _LABEL + 160 * number
        shapes.append(f'<rect x="{x}" y="24" width="10" height="10" fill="{_COLOURS[number]}"/>')
        shapes.append(f'<text x="{x + 16}" y="33">{name}</text>')
    for row, (name, group_values) in enumerate(values.items()):
        y = _TOP + group * row
        shapes.append(f'<text x="{_LABEL - 8}" y="{y + _BAR + 3}" text-anchor="end">{name}</text>')
        for number, value in enumerate(group_values):
            top = y + _BAR * number
            width = value * unit
            size, colour = f'width="{width:.0f}" height="{_BAR - 2}"', _COLOURS[number]
            place = f'x="{_LABEL + width + 4:.0f}" y="{top + 10}"'
            shapes.append(f'<rect x="{_LABEL}" y="{top}" {size} fill="{colour}"/>')
            shapes.append(f'<text {place} font-size="10">{value:.2f}</text>')
    one = _LABEL + unit
    shapes.append(f'<line x1="{one:.0f}" y1="{_TOP - 6}" x2="{one:.0f}" y2="{height - 6}" stroke="#555"/>')
    size = f'width="{_LABEL + _SCALE + 60}" height="{height}"'
    style = 'font-family="sans-serif" font-size="12"'
    body = "\n".join(shapes)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{body}\n</svg>\n'
