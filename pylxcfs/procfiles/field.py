"""What a field of a virtual file is: the renderers' tables are made of these, and `explain` reads them."""

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class Rule(Enum):
    """Where a field's value comes from (README, "What each file says")."""

    COMPUTED = "computed"
    ZERO = "zero"
    HOST_WIDE = "host-wide"


class Field(NamedTuple):
    """One field, or one column of many lines, in words and in symbols."""

    rule: Rule
    words: str
    #: Arithmetic over the kernel's names and other fields; of meminfo and swaps, a term of `MemoryView`.
    formula: str = ""
    #: Which of the kernel's files it is made of: patterns of their paths (fnmatch).
    reads: tuple[str, ...] = ()
    #: The term of `MemoryView` that it shows.
    term: str = ""


#: The files that answer for CPUs: patterns for `Field.reads`, v1 and v2 and the host.
CPU_FILES = ("*/cpuset.*cpus*", "*/cpu.cfs_*_us", "*/cpu.max", "/sys/devices/system/cpu/online")
CPU_TIME_FILES = ("*/cpuacct.usage*", "*/cpu.stat")
AGE_FILES = ("/proc/[0-9]*/stat",)
TASK_FILES = ("*/tasks", "*/cgroup.threads")


class Part(NamedTuple):
    """One field as a text shows it."""

    name: str
    value: str
    field: Field


def columns(prefix: str, words: list[str], fields: dict[str, Field]) -> Iterator[Part]:
    """Yield the words of a line with the columns that they are in; a line may be shorter than the table."""
    for (name, field), word in zip(fields.items(), words, strict=False):
        yield Part(f"{prefix} {name}".strip(), word, field)
