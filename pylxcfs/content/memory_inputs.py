"""What the formulas of `MemoryView` call inputs: their values, and the lines of kernel files behind them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

from pylxcfs.accounting.hugepages import HugePages
from pylxcfs.cgroup import v1, v2
from pylxcfs.cgroup.types import MemoryStat
from pylxcfs.content.recording import Reading
from pylxcfs.view.memory import MemoryView

#: ``memory.stat:total_cache``: a file of the cgroup, and a key in it; ``/proc/meminfo:MemTotal``.
_TOKEN: Final = re.compile(r"(?P<file>/?[a-z][\w./]*\.?[\w]*)(?::(?P<key>\w+))?")
_HOST: Final[Mapping[str, str]] = {
    "host_total": "/proc/meminfo:MemTotal",
    "host_available": "/proc/meminfo:MemAvailable",
    "host_swap_total": "/proc/meminfo:SwapTotal",
    "host_swap_free": "/proc/meminfo:SwapFree",
}
_OPTIONS: Final[Mapping[str, str]] = {"show_swap": "not --disable-swap", "show_zswap": "not --disable-zswap"}


class Line(NamedTuple):
    """One line of a kernel file."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its value, and how it is made of what the kernel says."""

    name: str
    value: object
    #: Arithmetic over ``FILE`` and ``FILE:KEY``.
    origin: str
    lines: tuple[Line, ...] = ()
    #: Of a limit: each cgroup that has one, with it.
    candidates: tuple[tuple[str, int], ...] = ()


def inputs_of(memory: MemoryView, readings: Sequence[Reading], version: str) -> Mapping[str, Input]:
    """Return every input by its name in formulas."""
    origins = {**(v1.MEMORY_ORIGINS if version == "v1" else v2.MEMORY_ORIGINS), **_HOST}
    charged = next((each.cgroup for each in readings if each.name == _first_file(version)), "")
    candidates = {name: tuple(_limits(memory, name, readings, charged)) for name in ("limit", "swap_limit")}
    inputs = {}
    for name, value in _values(memory).items():
        origin = origins.get(name, _OPTIONS.get(name, ""))
        lines = tuple(dict.fromkeys(_lines(origin, readings, charged)))
        if name in {"levels", "swap_levels"}:
            lines = tuple(_level_lines(name, memory, readings, origin))
        inputs[name] = Input(name, value, origin, lines, candidates.get(name, ()))
    return inputs


def _first_file(version: str) -> str:
    return "memory.stat" if version == "v1" else "memory.max"


def _values(memory: MemoryView) -> Mapping[str, object]:
    stats = memory.stats
    return {
        "limit": stats.max,
        "current": stats.current,
        "swap_limit": stats.swap_max,
        "swap_current": stats.swap_current,
        "swap_accounted": stats.swap_accounted,
        "levels": [level._asdict() for level in stats.levels],
        "swap_levels": [level._asdict() for level in stats.swap_levels],
        **{f"stat.{field.name}": getattr(stats.stat, field.name) or 0 for field in fields(MemoryStat)},
        **{f"huge_pages.{field.name}": getattr(memory.huge_pages, field.name) for field in fields(HugePages)},
        "host_total": memory.host_total,
        "host_available": memory.host_available,
        "host_swap_total": memory.host_swap_total,
        "host_swap_free": memory.host_swap_free,
        "show_swap": memory.show_swap,
        "show_zswap": memory.show_zswap,
    }


def _lines(origin: str, readings: Sequence[Reading], charged: str) -> Iterator[Line]:
    """Yield the lines that an origin names: of the host, or of the cgroup that is charged."""
    everywhere = origin.startswith("min(")
    for token in _TOKEN.finditer(origin):
        for each in readings:
            is_named = each.path == token["file"] or each.name == token["file"]
            if is_named and (everywhere or not each.cgroup or each.cgroup == charged):
                yield from _pick(each, token["key"])


def _pick(reading: Reading, key: str | None) -> Iterator[Line]:
    for line in reading.text.decode(errors="replace").split("\n"):
        if line and (key is None or re.match(rf"{key}\b", line)):
            yield Line(reading.path, line)


def _level_lines(name: str, memory: MemoryView, readings: Sequence[Reading], origin: str) -> Iterator[Line]:
    levels = memory.stats.levels if name == "levels" else memory.stats.swap_levels
    for level in levels:
        for token in _TOKEN.finditer(origin):
            for each in readings:
                if each.cgroup == level.cgroup and each.name == token["file"]:
                    yield from _pick(each, token["key"])


def _limits(
    memory: MemoryView, name: str, readings: Sequence[Reading], charged: str
) -> Iterator[tuple[str, int]]:
    """Yield each cgroup with a limit: those above, and the container's own where it is not one of theirs."""
    stats = memory.stats
    levels = stats.levels if name == "limit" else stats.swap_levels
    limit = stats.max if name == "limit" else stats.swap_max
    above = [(level.cgroup, level.max) for level in levels]
    own = next((own for own in _own_limits(name, readings, charged)), None)
    if own is None and limit is not None and limit not in {value for _, value in above}:
        own = limit
    if own is not None:
        yield charged, own
    yield from above


def _own_limits(name: str, readings: Sequence[Reading], charged: str) -> Iterator[int]:
    file = "memory.max" if name == "limit" else "memory.swap.max"
    for each in readings:
        if each.cgroup == charged and each.name == file and each.text.strip().isdigit():
            yield int(each.text)
