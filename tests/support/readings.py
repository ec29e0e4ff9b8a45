"""What the tests understand of /proc files, written without any of the code under test."""

import re
from typing import Final

#: How many of a stat line's numbers add up to the CPU's time: guest times are part of user's.
_ADDING_UP: Final = 8
IDLE: Final = 3
IOWAIT: Final = 4


def meminfo(text: str) -> dict[str, int]:
    """Parse meminfo to field: number (kB where the kernel says so)."""
    return {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in text.splitlines())}


def cpuinfo_cpus(text: str) -> list[int]:
    """Name the CPUs that a cpuinfo describes."""
    return [int(number) for number in re.findall(r"^processor[\t ]*:? *(\d+)", text, re.MULTILINE)]


def stat_cpus(text: str) -> dict[str, list[int]]:
    """Parse stat's CPU lines: ``cpu``, ``cpu0``, … to their numbers."""
    lines = (line.split() for line in text.splitlines() if line.startswith("cpu"))
    return {name: [int(number) for number in numbers] for name, *numbers in lines}


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


def idle_hundredths(file: str, text: str) -> int:
    """Read the idle time of all CPUs together from stat (of 100 ticks a second) or uptime, in 1/100 s."""
    if file == "stat":
        return stat_cpus(text)["cpu"][IDLE]
    return int(text.split()[1].replace(".", ""))


def cpu_list(text: str) -> list[int]:
    """Parse a list of CPUs like ``0-2,5`` (cpuset(7), "List format")."""
    ranges = [part.partition("-")[::2] for part in text.strip().split(",") if part]
    return [cpu for first, last in ranges for cpu in range(int(first), int(last or first) + 1)]


def named_texts(printed: str) -> list[tuple[str, str]]:
    """Take apart what ``tail -v -n +1 FILE...`` printed: the last part of each name, and the content."""
    words = re.split(r"(?:^|\n)==> (.*) <==\n", printed)[1:]
    return [(path.rpartition("/")[2], text) for path, text in zip(words[::2], words[1::2], strict=True)]
