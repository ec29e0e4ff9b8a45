"""Aligned columns and units for people, JSON for programs."""

import json
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from pylxcfs.console import printable, write_lines

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
#: A column with a longer name than this would leave no room for others.
_WIDEST: Final = 160


def print_json(document: Any) -> None:  # noqa: ANN401 - JSON
    """Print a document; every character that is not ASCII is escaped, so names are there in full."""
    write_lines(json.dumps(document, indent=1).split("\n"))


def align(rows: Iterable[Sequence[str]], *, right: Collection[int] = ()) -> Iterator[str]:
    """Yield a line for each row, with columns of one width; those in `right` are set to the right.

    Cells are made printable, and cut to 160 characters.
    """
    rows = [[printable(cell, _WIDEST) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def duration(seconds: float) -> str:
    """Write a time span with its two largest units: ``3 d 4 h``, ``12 min 5 s``, ``7 s``."""
    whole = max(0, int(seconds))
    if whole >= _DAY:
        return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"
    if whole >= _HOUR:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    if whole >= _MINUTE:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole} s"


def short_time(seconds: float) -> str:
    """Write a time with a unit that leaves up to three digits before the point."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < size * 1000 else f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1e6:.0f} us"


def mebibytes(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / (1 << 20):.1f} MiB"


def moment(at: float, now: float) -> str:
    """Write a local time and, where it was not today, its day."""
    then, today = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M:%S" if then[:3] == today[:3] else "%Y-%m-%d %H:%M:%S", then)
