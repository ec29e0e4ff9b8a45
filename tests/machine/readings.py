"""What the tests understand of /proc files, written without any of the code under test."""

import re
from typing import Final

#: meminfo's ``kB`` fields that speak of the address space, not of memory that the container has.
ADDRESS_SPACE: Final = frozenset(
    {"VmallocTotal", "VmallocUsed", "VmallocChunk", "CommitLimit", "Committed_AS"}
)
_SWAP: Final = frozenset({"SwapTotal", "SwapFree"})
#: How many of a stat line's numbers add up to the CPU's time: guest times are part of user's.
_ADDING_UP: Final = 8
IDLE: Final = 3
IOWAIT: Final = 4


def meminfo(text: str) -> dict[str, int]:
    """Parse meminfo to field: number (kB where the kernel says so)."""
    return {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in text.splitlines())}


def check_meminfo(text: str) -> dict[str, int]:
    """Check what must hold between the fields of any meminfo, and return them."""
    fields = meminfo(text)
    total = fields["MemTotal"]
    assert all(value >= 0 for value in fields.values()), text
    assert fields["MemFree"] <= fields["MemAvailable"] <= total, text
    assert fields["Active"] == fields["Active(anon)"] + fields["Active(file)"], text
    assert fields["Inactive"] == fields["Inactive(anon)"] + fields["Inactive(file)"], text
    assert fields["SwapFree"] <= fields["SwapTotal"], text
    kilobytes = {line.split(":")[0] for line in text.splitlines() if line.endswith(" kB")}
    above = {name for name in kilobytes - ADDRESS_SPACE - _SWAP if fields[name] > total}
    assert not above, text
    return fields


def cpuinfo_cpus(text: str) -> list[int]:
    """Name the CPUs that a cpuinfo describes."""
    return [int(number) for number in re.findall(r"^processor[\t ]*:? *(\d+)", text, re.MULTILINE)]


def stat_cpus(text: str) -> dict[str, list[int]]:
    """Parse stat's CPU lines: ``cpu``, ``cpu0``, … to their numbers."""
    lines = (line.split() for line in text.splitlines() if line.startswith("cpu"))
    return {name: [int(number) for number in numbers] for name, *numbers in lines}


def check_stat(text: str) -> dict[str, list[int]]:
    """Check what must hold between the CPU lines of any stat, and return them."""
    cpus = stat_cpus(text)
    each = [numbers for name, numbers in cpus.items() if name != "cpu"]
    assert all(number >= 0 for numbers in cpus.values() for number in numbers), text
    assert cpus["cpu"] == [sum(column) for column in zip(*each, strict=True)], text
    return cpus


def total_time(numbers: list[int]) -> int:
    """Add up one stat line."""
    return sum(numbers[:_ADDING_UP])


def swaps(text: str) -> tuple[int, int]:
    """Add up the size and the used column of swaps, in kB."""
    rows = [line.rsplit(maxsplit=4) for line in text.splitlines()[1:]]
    return sum(int(row[-3]) for row in rows), sum(int(row[-2]) for row in rows)


def uptime(text: str) -> float:
    """Read the first number of uptime."""
    return float(text.split(maxsplit=1)[0])
