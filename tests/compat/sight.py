"""One field of one file, as lxcfs, pylxcfs, the host and the cgroups themselves tell it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.compat.configurations import V1, V2, Configuration
from tests.compat.fields import Field, Fields, within

HERTZ: Final = os.sysconf("SC_CLK_TCK")
_START: Final = 19


@dataclass(frozen=True, slots=True)
class Options:
    """What both daemons were told."""

    cfs: bool
    swap: bool


class Kernel:
    """What the container's own cgroup says, with the moment of reading."""

    def __init__(self, layout: str, texts: Mapping[str, str]) -> None:
        """Take files of `layout` by their names."""
        self._layout = layout
        self._texts = texts

    def __str__(self) -> str:
        """Spell everything on lines of their own."""
        return "\n".join(f"{name}: {text}" for name, text in self._texts.items())

    def text(self, v1: str, v2: str) -> str:
        """Return a file, by its name in either layout; empty where the kernel has none."""
        return self._texts.get(v1 if self._layout == V1 else v2, "")

    def _flat(self, name: str) -> Mapping[str, int]:
        words = [line.split() for line in self._texts.get(name, "").splitlines()]
        return {key: int(value) for key, value in words}

    def memory(self, v1: str | None, v2: str | None) -> int:
        """Return a number of memory.stat in KiB; 0 where this version does not count it."""
        name = v1 if self._layout == V1 else v2
        return 0 if name is None else self._flat("memory.stat").get(name, 0) >> 10

    @property
    def swap_by_difference(self) -> int:
        """What lxcfs takes for the swap used on v1: memory and swap together, less memory, KiB."""
        both, memory = (int(self._texts[f"memory.{name}usage_in_bytes"]) for name in ("memsw.", ""))
        return max(0, both - memory) >> 10

    @property
    def swap(self) -> int:
        """Swap used, KiB."""
        if self._layout == V1:
            return self.memory("total_swap", None) + self.memory("total_swapcached", None)
        return int(self._texts.get("memory.swap.current", "0")) >> 10

    @property
    def usage(self) -> int:
        """Memory used, KiB."""
        return int(self.text("memory.usage_in_bytes", "memory.current")) >> 10

    @property
    def reclaimable(self) -> int:
        """Page cache on the lists, and kernel objects that can be given back, KiB."""
        parts = (("total_active_file", "active_file"), ("total_inactive_file", "inactive_file"))
        return sum(self.memory(*names) for names in (*parts, (None, "slab_reclaimable")))

    @property
    def memory_limit(self) -> int | None:
        """The limit of this group alone, KiB; None without any."""
        text = self.text("memory.limit_in_bytes", "memory.max")
        return None if text == "max\n" or int(text) >= 1 << 62 else int(text) >> 10

    @property
    def around(self) -> "Kernel":
        """What the group around the container's says."""
        prefix = "around "
        texts = {name: text for name, text in self._texts.items() if name.startswith(prefix)}
        return Kernel(self._layout, {name.removeprefix(prefix): text for name, text in texts.items()})

    @property
    def boottime(self) -> float:
        """Seconds since boot."""
        return float(self._texts["boottime"])

    def cpu_ticks(self) -> dict[str, tuple[float, float]]:
        """User and system time, by CPU on v1, of all CPUs together (``""``) on v2; in ticks, not rounded."""
        if self._layout == V2:
            stat = self._flat("cpu.stat")
            return {"": (stat["user_usec"] * HERTZ / 1e6, stat["system_usec"] * HERTZ / 1e6)}
        rows = [line.split() for line in self._texts["cpuacct.usage_all"].splitlines()[1:]]
        return {cpu: (int(user) * HERTZ / 1e9, int(system) * HERTZ / 1e9) for cpu, user, system in rows}

    def ticks(self, column: str | None = None) -> float:
        """User or system time of all CPUs, or both, in ticks."""
        spent = self.cpu_ticks().values()
        return sum((column != "system") * user + (column != "user") * system for user, system in spent)

    @property
    def cpu_seconds_by_clock(self) -> float:
        """CPU time as lxcfs' uptime knows it on v1: not counted in ticks, as user and system time may be."""
        return int(self._texts["cpuacct.usage"]) / 1e9 if self._layout == V1 else 0.0

    def disk(self, device: str) -> Mapping[str, int]:
        """Return what was read from and written to the device ``MAJOR:MINOR``."""
        if self._layout == V2:
            for line in self._texts["io.stat"].splitlines():
                number, *pairs = line.split()
                if number == device:
                    return {key: int(value) for key, value in (pair.split("=") for pair in pairs)}
            return {}
        counts = {}
        files = {
            "bytes": "blkio.throttle.io_service_bytes_recursive",
            "ios": "blkio.throttle.io_serviced_recursive",
        }
        for unit, name in files.items():
            for line in self._texts.get(name, "").splitlines():
                words = line.split()
                if words[0] == device:
                    counts[f"{words[1][0].lower()}{unit}"] = int(words[2])
        return counts


@dataclass(frozen=True, slots=True)
class Container:
    """What is known of a container beside its files."""

    configuration: Configuration
    layout: str
    options: Options
    #: /proc/PID/stat of its first process.
    init: str
    #: The highest number of a task inside.
    last_pid: int
    #: The CPUs that the host has.
    host_cpus: tuple[int, ...]
    #: Its tasks, by their numbers on the host.
    tasks: tuple[int, ...]
    #: The cgroup, before and after pylxcfs was asked for CPU times for the first time.
    opened: tuple[Kernel, Kernel]

    def age(self, kernel: Kernel) -> float:
        """Return how old it was at a reading of the cgroups, seconds."""
        return kernel.boottime - int(self.init.rpartition(")")[2].split()[_START]) / HERTZ


@dataclass(frozen=True, slots=True)
class Shown:
    """One file: what everybody says, in the order cgroups, host, lxcfs, pylxcfs, lxcfs, host, cgroups."""

    file: str
    container: Container
    ours: Fields
    theirs: tuple[Fields, Fields]
    host: tuple[Fields, Fields]
    kernel: tuple[Kernel, Kernel]
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sight:
    """One field of a file."""

    shown: Shown
    name: str

    @property
    def container(self) -> Container:
        """Whose it is."""
        return self.shown.container

    @property
    def ours(self) -> Field:
        """Return what pylxcfs shows."""
        return self.shown.ours.get(self.name, {})

    @property
    def theirs(self) -> tuple[Field, Field]:
        """What lxcfs shows, before and after."""
        first, last = (fields.get(self.name, {}) for fields in self.shown.theirs)
        return first, last

    @property
    def host(self) -> tuple[Field, Field]:
        """What the host shows, before and after."""
        first, last = (fields.get(self.name, {}) for fields in self.shown.host)
        return first, last

    def number(self, name: str = "") -> int:
        """Return pylxcfs' number of this field, or of another in the file."""
        value = self.shown.ours[name or self.name][""]
        assert isinstance(value, int)
        return value

    def ours_within(self, first: float, last: float) -> bool:
        """Tell whether pylxcfs' only number lies between two."""
        low, high = min(first, last), max(first, last)
        return low <= self.number() <= high


def same(value: Field, first: Field, last: Field) -> bool:
    """Tell whether every place of a field that the others have lies between them."""
    return all(
        within(cell, first[place], last[place])
        for place, cell in value.items()
        if place in first and place in last
    )
