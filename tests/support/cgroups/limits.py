"""What a group may use, in cgroup v2's words whatever the layout."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
#: The kernel's default for cpu.max.
PERIOD_MICROSECONDS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a group may use; None leaves the kernel's default, no limit."""

    #: Bytes.
    memory: int | None = None
    #: Bytes of swap, beside the memory; cgroup v1 needs a limit of memory for it.
    swap: int | None = None
    #: A CPU list like ``0`` or ``0-1``.
    cpus: str | None = None
    #: How many CPUs' worth of time.
    cpu_quota: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What the kernel says of a group's memory, bytes."""

    #: None is no limit.
    max: int | None
    current: int
    #: Page cache, and kernel objects where they are counted.
    reclaimable: int


def flat_keyed(file: Path) -> dict[str, int]:
    """Read a file of ``NAME NUMBER`` lines."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {name: int(number) for name, number in lines}
