"""Takes every file apart into named fields, whose numbers can be compared one by one.

A field is a mapping from places to numbers or words. Fields of one number use ``""``. Places that begin with
``#`` come and go with rows (CPUs, devices, swap areas) that another field of the same file lists.
"""

import re
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Final

from pylxcfs.procfiles.binds import CPU_DIRECTORY

Field = Mapping[str, int | str]
Fields = Mapping[str, Field]

#: proc_stat(5).
CPU_COLUMNS: Final = (
    *("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"),
)
#: Documentation/admin-guide/iostats.rst.
DISK_COLUMNS: Final = (
    *("reads", "reads merged", "sectors read", "ms reading"),
    *("writes", "writes merged", "sectors written", "ms writing"),
    *("in flight", "ms busy", "weighted ms"),
    *("discards", "discards merged", "sectors discarded", "ms discarding"),
    *("flushes", "ms flushing"),
)
#: Version, and names of columns (slabinfo(5)).
_SLABINFO_HEADER: Final = 2
_NUMBER: Final = re.compile(r" *\d+(?= kB$|$)", re.MULTILINE)
_CPU_NAME: Final = re.compile(r"cpu\d+")


def _one(value: int | str) -> Field:
    return {"": value}


def _meminfo(text: str) -> Fields:
    rows = (line.split(":") for line in text.splitlines())
    numbers = {name: _one(int(rest.split()[0])) for name, rest in rows}
    return {"names and units": _one(_NUMBER.sub(" 0", text)), **numbers}


def _cpuinfo(text: str) -> Fields:
    fields: dict[str, dict[str, int | str]] = {}
    processors = 0
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "processor":
            processors += 1
        if name:
            fields.setdefault(name, {})[f"#{processors}"] = value
    numbers = fields.pop("processor", {})
    return {"processor": _one(" ".join(map(str, numbers.values()))), **fields}


def _stat(text: str) -> Fields:
    lines = [line.split() for line in text.splitlines()]
    cpus = list(takewhile(lambda words: words[0].startswith("cpu"), lines))
    places = ["cpu", *(f"#{number}" for number in range(1, len(cpus)))]
    fields: dict[str, Field] = {"cpuN": _one(" ".join(words[0] for words in cpus[1:]))}
    for number, column in enumerate(CPU_COLUMNS, 1):
        fields[column] = {place: int(words[number]) for place, words in zip(places, cpus, strict=True)}
    for name, *numbers in lines[len(cpus) :]:
        fields[name] = {str(place): int(number) for place, number in enumerate(numbers)}
    return fields


def _hundredths(word: str) -> int:
    whole, _, part = word.partition(".")
    return int(whole) * 100 + int(part)


def _uptime(text: str) -> Fields:
    up, idle = text.split()
    return {"uptime": _one(_hundredths(up)), "idle": _one(_hundredths(idle))}


def _loadavg(text: str) -> Fields:
    one, five, fifteen, tasks, last = text.split()
    running, total = tasks.split("/")
    averages = {"1": one, "5": five, "15": fifteen}
    return {
        "averages": {minutes: _hundredths(average) for minutes, average in averages.items()},
        "running": _one(int(running)),
        "tasks": _one(int(total)),
        "last pid": _one(int(last)),
    }


def _swaps(text: str) -> Fields:
    header, *rows = (line.split() for line in text.splitlines())
    fields: dict[str, Field] = {"header": _one(" ".join(header)), "areas": _one(len(rows))}
    for number, column in enumerate(header):
        cells = [row[number] for row in rows]
        fields[column] = {
            f"#{place}": int(cell) if cell.lstrip("-").isdecimal() else cell
            for place, cell in enumerate(cells)
        }
    return fields


def _diskstats(text: str) -> Fields:
    rows = {words[2]: words[3:] for words in (line.split() for line in text.splitlines())}
    fields: dict[str, Field] = {"devices": _one(" ".join(rows)), "device numbers": _device_numbers(text)}
    for number, column in enumerate(DISK_COLUMNS):
        fields[column] = {
            f"#{name}": int(cells[number]) for name, cells in rows.items() if number < len(cells)
        }
    return fields


def _device_numbers(text: str) -> Field:
    rows = (line.split() for line in text.splitlines())
    return {f"#{name}": f"{major}:{minor}" for major, minor, name, *_ in rows}


def _list(text: str) -> Fields:
    return {"list": _one(text.removesuffix("\n"))}


def _cpu_directory(names: str) -> Fields:
    cpus = sorted(filter(_CPU_NAME.fullmatch, names.split("\n")), key=lambda name: int(name[3:]))
    others = [name for name in names.split("\n") if not _CPU_NAME.fullmatch(name)]
    return {"cpuN directories": _one(" ".join(cpus)), "other entries": _one(" ".join(sorted(set(others))))}


def _slabinfo(text: str) -> Fields:
    lines = text.splitlines(keepends=True)
    caches = dict(line.split(maxsplit=1) for line in lines[_SLABINFO_HEADER:])
    return {
        "header": _one("".join(lines[:_SLABINFO_HEADER])),
        "caches": _one(" ".join(caches)),
        "objects": {f"#{name}": numbers for name, numbers in caches.items()},
    }


PARSERS: Final[Mapping[str, Callable[[str], Fields]]] = {
    "proc/cpuinfo": _cpuinfo,
    "proc/diskstats": _diskstats,
    "proc/loadavg": _loadavg,
    "proc/meminfo": _meminfo,
    "proc/slabinfo": _slabinfo,
    "proc/stat": _stat,
    "proc/swaps": _swaps,
    "proc/uptime": _uptime,
    CPU_DIRECTORY: _cpu_directory,
    **{f"{CPU_DIRECTORY}/{name}": _list for name in ("enabled", "offline", "online", "possible", "present")},
    f"{CPU_DIRECTORY}/kernel_max": _list,
    f"{CPU_DIRECTORY}/isolated": _list,
}


def parse(file: str, text: str) -> Fields:
    """Take a file apart; a file nobody described here is an error."""
    return PARSERS[file](text)


def agree(first: Field, between: Field, last: Field) -> bool:
    """Tell whether a field read between two others says the same; rows are compared where all have them.

    Numbers may be anything between the two, words one of the two.
    """
    fixed = [{place for place in field if not place.startswith("#")} for field in (first, between, last)]
    return fixed[0] == fixed[1] == fixed[2] and all(
        within(value, first[place], last[place])
        for place, value in between.items()
        if place in first and place in last
    )


def within(value: int | str, first: int | str, last: int | str) -> bool:
    """Tell whether a number lies between two others, or a word is one of them."""
    if isinstance(first, int) and isinstance(value, int) and isinstance(last, int):
        return min(first, last) <= value <= max(first, last)
    return value in {first, last}
