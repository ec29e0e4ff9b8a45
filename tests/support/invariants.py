"""What must hold in every container at any time, checked on the texts that it read.

Three kinds: of each file alone (`check_alone`), between files that were read in turns (`check_together`) and
between earlier and later readings (`History`). A violation raises AssertionError with the text. None of the
code under test is used.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tests.support.readings import (
    cpu_list,
    cpuinfo_cpus,
    idle_hundredths,
    meminfo,
    stat_cpus,
    swaps,
)

#: Texts in the order in which they were read: (name of the file, what it said).
Readings = Sequence[tuple[str, str]]

#: meminfo's ``kB`` fields that speak of the address space, not of memory that the container has.
_ADDRESS_SPACE: Final = frozenset(
    {"VmallocTotal", "VmallocUsed", "VmallocChunk", "CommitLimit", "Committed_AS"}
)
_SWAP: Final = frozenset({"SwapTotal", "SwapFree"})
#: A size, not an amount that anybody has.
_HUGE_PAGE: Final = frozenset({"Hugepagesize"})
#: Numbers that wrapped around are next to a power of two; no counter gets here in the life of a machine.
_WRAPPED: Final = 1 << 50
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d+")

CPU_LISTS: Final = ("online", "present", "possible")
#: The order in which one pass reads: whatever is compared is read twice, in turns.
PASS: Final = (
    *("meminfo", "swaps", "meminfo", "swaps"),
    *("stat", "uptime", "stat", "uptime", "stat"),
    *(2 * ("stat", "cpuinfo", *CPU_LISTS)),
    *("loadavg", "diskstats"),
)


def _hold(condition: bool, invariant: str, *texts: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise AssertionError("\n".join((invariant, *texts)))


def _check_numbers(text: str) -> None:
    numbers = [int(number) for number in _NUMBER.findall(text)]
    _hold(all(number >= 0 for number in numbers), "nothing is negative", text)
    _hold(all(number < _WRAPPED for number in numbers), "nothing has wrapped around", text)


def check_meminfo(text: str) -> dict[str, int]:
    """Check what must hold between the fields of a container's meminfo, and return them."""
    _check_numbers(text)
    fields = meminfo(text)
    total, cached = fields["MemTotal"], fields["Cached"]
    _hold(total > 0, "MemTotal is not 0", text)
    _hold(fields["MemFree"] <= fields["MemAvailable"] <= total, "MemFree ≤ MemAvailable ≤ MemTotal", text)
    for name in ("Active", "Inactive"):
        parts = fields[f"{name}(anon)"] + fields[f"{name}(file)"]
        _hold(fields[name] == parts, f"{name} = {name}(anon) + {name}(file)", text)
    _hold(fields["SwapFree"] + fields["SwapCached"] <= fields["SwapTotal"], "SwapFree ≤ SwapTotal", text)
    kilobytes = {line.split(":")[0] for line in text.splitlines() if line.endswith(" kB")}
    above = {name for name in kilobytes - _ADDRESS_SPACE - _SWAP - _HUGE_PAGE if fields[name] > total}
    _hold(not above, f"nothing is above MemTotal: {sorted(above)}", text)
    # What free(1) subtracts from the total must leave something.
    taken = fields["MemFree"] + fields["Buffers"] + cached + fields["SReclaimable"]
    _hold(taken <= total, "MemFree + Buffers + Cached + SReclaimable ≤ MemTotal", text)
    _hold(fields["Slab"] == fields["SReclaimable"] + fields["SUnreclaim"], "Slab is its two parts", text)
    _hold(fields["Shmem"] <= cached, "Shmem ≤ Cached", text)
    _hold(fields.get("AnonHugePages", 0) <= fields["AnonPages"], "AnonHugePages ≤ AnonPages", text)
    huge = fields.get("ShmemHugePages", 0) + fields.get("FileHugePages", 0)
    _hold(huge <= cached, "huge pages of the page cache ≤ Cached", text)
    pool = [fields.get(f"HugePages_{part}", 0) for part in ("Rsvd", "Free", "Total")]
    _hold(pool == sorted(pool), "HugePages_Rsvd ≤ HugePages_Free ≤ HugePages_Total", text)
    swapped = fields["SwapTotal"] - fields["SwapFree"]
    _hold(fields.get("Zswapped", 0) <= swapped, "Zswapped ≤ swap used", text)
    return fields


def check_swaps(text: str) -> tuple[int, int]:
    """Check that no area is fuller than it is large; return the sums of sizes and uses, kB."""
    _hold(text.startswith("Filename"), "swaps has its header", text)
    size, used = swaps(text)
    _check_numbers(" ".join((str(size), str(used))))
    _hold(used <= size, "swap used ≤ its size", text)
    return size, used


def check_stat(text: str, *, some_hidden: bool = False) -> dict[str, list[int]]:
    """Check what must hold between the CPU lines of a container's stat, and return them.

    Where CPUs were taken away from the container, the sum has their time too, and is only not smaller.
    """
    _check_numbers(text)
    cpus = stat_cpus(text)
    each = [numbers for name, numbers in cpus.items() if name != "cpu"]
    sums = [sum(column) for column in zip(*each, strict=True)]
    if some_hidden:
        at_least = all(whole >= part for whole, part in zip(cpus["cpu"], sums, strict=True))
        _hold(at_least, "cpu is no less than the sum of all cpuN", text)
    else:
        _hold(cpus["cpu"] == sums, "cpu is the sum of all cpuN", text)
    return cpus


def check_cpuinfo(text: str) -> list[int]:
    """Check that each CPU is described once, in order; return their numbers."""
    cpus = cpuinfo_cpus(text)
    _hold(cpus == sorted(set(cpus)) != [], "cpuinfo describes each CPU once", text)
    return cpus


def check_uptime(text: str) -> list[float]:
    """Check that uptime has two times; return them."""
    _check_numbers(text)
    _hold(re.fullmatch(r"\d+\.\d\d \d+\.\d\d\n", text) is not None, "uptime has two times", text)
    return [float(word) for word in text.split()]


def check_loadavg(text: str) -> None:
    """Check that loadavg has three averages, and no more tasks run than there are."""
    _check_numbers(text)
    form = r"\d+\.\d\d \d+\.\d\d \d+\.\d\d (\d+)/(\d+) \d+\n"
    found = re.fullmatch(form, text)
    _hold(found is not None and int(found[1]) <= int(found[2]), "running tasks ≤ tasks", text)


def check_diskstats(text: str) -> None:
    """Check that each device has one line."""
    _check_numbers(text)
    names = [line.split()[2] for line in text.splitlines()]
    _hold(len(names) == len(set(names)), "each device has one line", text)


def check_cpu_list(text: str) -> list[int]:
    """Check that a list of CPUs has some; return them."""
    cpus = cpu_list(text)
    _hold(cpus == sorted(set(cpus)) != [], "a list names each CPU once", text)
    return cpus


_ALONE: Final[Mapping[str, Callable[[str], object]]] = {
    "cpuinfo": check_cpuinfo,
    "diskstats": check_diskstats,
    "loadavg": check_loadavg,
    "meminfo": check_meminfo,
    "swaps": check_swaps,
    "uptime": check_uptime,
    **dict.fromkeys(CPU_LISTS, check_cpu_list),
}


def check_alone(readings: Readings, *, some_hidden: bool = False) -> None:
    """Check every text by itself."""
    for name, text in readings:
        if name == "stat":
            check_stat(text, some_hidden=some_hidden)
        else:
            _ALONE[name](text)


def _swap_in_meminfo(text: str) -> object:
    fields = meminfo(text)
    return fields["SwapTotal"], fields["SwapTotal"] - fields["SwapFree"]


def _cpus_in_stat(text: str) -> object:
    return sorted(int(name[3:]) for name in stat_cpus(text) if name != "cpu")


#: What several files say in their own ways.
_SAID_TWICE: Final[Mapping[str, Mapping[str, Callable[[str], object]]]] = {
    "swaps agrees with meminfo": {"meminfo": _swap_in_meminfo, "swaps": swaps},
    "cpuinfo, stat and the CPU tree name the same CPUs": {
        "cpuinfo": cpuinfo_cpus,
        "stat": _cpus_in_stat,
        **dict.fromkeys(CPU_LISTS, cpu_list),
    },
}
#: How many facts `check_together` compares where nothing changes.
FACTS: Final = len(_SAID_TWICE)


def check_together(readings: Readings) -> int:
    """Check what files say of each other; return how many facts stood still long enough to be compared.

    Files are read one after the other and the truth may change in between. Where each file, read twice in
    turns, said the same both times, they have to agree. Idle time grows: uptime's lies between two of stat's.
    """
    compared = 0
    for invariant, ways in _SAID_TWICE.items():
        said = {
            name: [value(text) for other, text in readings if other == name] for name, value in ways.items()
        }
        said = {name: values for name, values in said.items() if values}
        if said and all(values.count(values[0]) == len(values) > 1 for values in said.values()):
            compared += 1
            texts = [f"{name}:\n{text}" for name, text in readings if name in ways]
            first, *others = [values[0] for values in said.values()]
            _hold(all(other == first for other in others), invariant, *texts)
    idle = [idle_hundredths(name, text) for name, text in readings if name in {"stat", "uptime"}]
    texts = [f"{name}:\n{text}" for name, text in readings if name in {"stat", "uptime"}]
    _hold(idle == sorted(idle), f"idle time of uptime is that of stat: {idle}", *texts)
    return compared


class History:
    """What must not go back from one reading of a container to the next."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._highest: dict[str, list[int]] = {}
        self._uptime = 0.0

    def check(self, readings: Readings) -> None:
        """Check that no CPU's counter, nor their sum's, nor uptime is below what it was before."""
        for name, text in readings:
            if name == "stat":
                for cpu, numbers in stat_cpus(text).items():
                    before = self._highest.get(cpu, [0] * len(numbers))
                    grown = all(old <= new for old, new in zip(before, numbers, strict=True))
                    _hold(grown, f"{cpu} never goes back: {before}", text)
                    self._highest[cpu] = numbers
            elif name == "uptime":
                up = float(text.split()[0])
                _hold(self._uptime <= up, f"uptime never goes back: {self._uptime}", text)
                self._uptime = up
