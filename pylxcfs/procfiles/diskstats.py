"""Render /proc/diskstats: the devices that the container used (proc_diskstats(5)).

Columns: Documentation/admin-guide/iostats.rst of the kernel. cgroups count operations and bytes; merges,
times and requests in flight read 0.
"""

import re
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final, NamedTuple

from pylxcfs.cgroup.types import DeviceIo, DeviceNumber
from pylxcfs.procfiles.field import Field, Part, Rule, columns
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_LINE: Final = re.compile(rb"^( *(\d{1,10}) +(\d{1,10}) [^ \n]+)((?: +\d+)+)$", re.MULTILINE)
#: Major and minor number, and name.
_BEFORE_COLUMNS: Final = 3
#: A sector here is 512 bytes, whatever the device says (iostats.rst).
_SECTOR: Final = 512
_UNUSED: Final = DeviceIo()
_READS: Final = ("*/io.stat", "*/blkio.*")


class _Column(NamedTuple):
    """One column after the device's name; without `value` it reads 0."""

    field: Field
    value: Callable[[DeviceIo], int] | None = None


def _count(words: str, key: str) -> _Column:
    return _Column(Field(Rule.COMPUTED, words, f"{key} of the device", _READS), attrgetter(key))


def _sectors(words: str, key: str) -> _Column:
    count = attrgetter(key)
    field = Field(Rule.COMPUTED, words, f"{key} of the device // {_SECTOR}", _READS)
    return _Column(field, lambda io: int(count(io)) // _SECTOR)


_ZERO: Final = _Column(Field(Rule.ZERO, "not counted per cgroup"))
#: In the kernel's order: 11 columns, 15 with discards (Linux 4.18), 17 with flushes (5.5).
COLUMNS: Final = {
    "reads": _count("read requests that the container finished", "rios"),
    "reads merged": _ZERO,
    "sectors read": _sectors("what it read, in sectors of 512 bytes", "rbytes"),
    "ms reading": _ZERO,
    "writes": _count("write requests that it finished", "wios"),
    "writes merged": _ZERO,
    "sectors written": _sectors("what it wrote", "wbytes"),
    "ms writing": _ZERO,
    "in flight": _ZERO,
    "ms busy": _ZERO,
    "weighted ms": _ZERO,
    "discards": _count("discard requests that it finished", "dios"),
    "discards merged": _ZERO,
    "sectors discarded": _sectors("what it discarded", "dbytes"),
    "ms discarding": _ZERO,
    "flushes": _ZERO,
    "ms flushing": _ZERO,
}
_FIELDS: Final = {name: column.field for name, column in COLUMNS.items()}
_VALUES: Final = tuple(column.value for column in COLUMNS.values())


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the host's lines of the devices used, with the container's numbers."""
    used = {device: io for device, io in view.io.items() if io != _UNUSED}
    if not used:
        return b""
    lines = []
    for prefix, major, minor, cells in _LINE.findall(host.diskstats):
        io = used.get(DeviceNumber(int(major), int(minor)))
        if io is not None:
            lines.append(prefix + _columns(io, cells.count(b" ")))
    return b"".join(lines)


def _columns(io: DeviceIo, count: int) -> bytes:
    """Return as many columns as this kernel has."""
    cells = [value(io) if value is not None else 0 for value in _VALUES[:count]]
    cells += [0] * (count - len(cells))
    return b" %d" * count % tuple(cells) + b"\n"


def split(text: bytes) -> Iterator[Part]:
    """Yield each column of each device."""
    for line in text.decode(errors="replace").split("\n"):
        words = line.split()
        if len(words) > _BEFORE_COLUMNS:
            device, *cells = words[_BEFORE_COLUMNS - 1 :]
            yield from columns(device, cells, _FIELDS)
