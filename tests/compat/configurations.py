"""The containers that are asked: corners that each intended difference needs, and seeded random ones."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from tests.support.cgroups import MIB, Limits

V1: Final = "v1"
V2: Final = "v2"

#: What the reader and the shell inside take, and what the kernel needs to breathe.
_HEADROOM_MIB: Final = 24
_SEED: Final = 20
#: What may be used unchanged where memory is slow, and how much less of it is used else.
_SMALL_MIB: Final = 32
_SHRINK: Final = 8
_MEMORY: Final = ("anonymous", "locked", "huge", "shared", "cached", "dirty")


@dataclass(frozen=True, slots=True)
class Use:
    """What the container does before it is asked, in MiB, processes and seconds."""

    anonymous: int = 0
    #: How much of it is read again, and so comes back from swap.
    reread: int = 0
    locked: int = 0
    huge: int = 0
    shared: int = 0
    cached: int = 0
    dirty: int = 0
    disk: int = 0
    busy: int = 0
    spent: float = 0.0


@dataclass(frozen=True, slots=True)
class Configuration:
    """One container: its limits, those of the group around it, and what it uses."""

    name: str
    own: Limits = field(default_factory=Limits)
    around: Limits = field(default_factory=Limits)
    use: Use = field(default_factory=Use)
    #: Leaves the CPUs to all others that want them.
    background: bool = False

    @property
    def quota(self) -> float | None:
        """CPUs' worth of time, by the smaller of both quotas."""
        return min((x for x in (self.own.cpu_quota, self.around.cpu_quota) if x is not None), default=None)


CORNERS: Final = (
    Configuration("nothing"),
    Configuration("memory", Limits(memory=96 * MIB), use=Use(anonymous=8, shared=4, cached=4, locked=2)),
    Configuration("memory around", Limits(memory=160 * MIB), Limits(memory=80 * MIB), Use(shared=4)),
    Configuration("swap", Limits(memory=20 * MIB, swap=24 * MIB), use=Use(anonymous=20)),
    Configuration("swap without limit", Limits(memory=20 * MIB), use=Use(anonymous=24, reread=6)),
    Configuration("no swap", Limits(memory=64 * MIB, swap=0), use=Use(dirty=6)),
    Configuration("huge pages", Limits(memory=96 * MIB), use=Use(huge=8)),
    Configuration("second CPU", Limits(cpus="1"), use=Use(spent=0.1)),
    Configuration("both CPUs", Limits(cpus="0-1"), use=Use(busy=2, spent=0.1)),
    Configuration("quota", Limits(cpus="0-1", cpu_quota=1.0), use=Use(busy=2)),
    Configuration("quota below one", Limits(cpus="1", cpu_quota=0.5), use=Use(busy=1)),
    Configuration("quota around", around=Limits(cpu_quota=0.75), use=Use(spent=0.1)),
    Configuration("disk", Limits(memory=128 * MIB), use=Use(disk=4)),
)

#: Is left alone for as long as all others take, and always busy. It has some of what the others have, and
#: more running tasks, so that theirs is not all that the host has.
AGED: Final = Configuration(
    "busy before it is asked", use=Use(locked=1, shared=1, dirty=1, busy=4), background=True
)
#: Has less of everything than any host, and does some of everything.
LIMITED: Final = Configuration(
    "limited",
    Limits(memory=48 * MIB, swap=24 * MIB, cpus="1", cpu_quota=0.5),
    use=Use(anonymous=8, locked=1, shared=2, cached=2, dirty=1, disk=2, spent=0.1),
)


def configurations(layout: str, random_ones: int) -> Iterator[Configuration]:
    """Yield the corners, and so many random ones, the same in every run.

    The machine with cgroup v2 has one CPU and no cpuset controller, and takes long to fill memory.
    """
    everything = (*CORNERS, *(_random(number) for number in range(random_ones)))
    for configuration in everything:
        yield fitting(configuration, layout)


def fitting(configuration: Configuration, layout: str) -> Configuration:
    """Return what the machine with this layout can do of a configuration."""
    return configuration if layout == V1 else _small(configuration)


def _small(configuration: Configuration) -> Configuration:
    use = configuration.use
    if sum(getattr(use, name) for name in _MEMORY) > _SMALL_MIB:
        use = replace(use, **{name: -(-getattr(use, name) // _SHRINK) for name in _MEMORY})
    return replace(configuration, own=replace(configuration.own, cpus=None), use=use)


def _random(number: int) -> Configuration:
    dice = random.Random(_SEED * 1000 + number)  # noqa: S311 - reproducible on purpose
    memory = dice.choice((None, dice.randrange(64, 200) * MIB))
    around = dice.choice((None, None, dice.randrange(64, 200) * MIB))
    swap = None if memory is None else dice.choice((None, dice.randrange(48) * MIB))
    quota, quota_around = (dice.choice((None, 0.4, 0.8, 1.0, 1.3, 2.0)) for _ in range(2))
    if quota is not None and quota_around is not None:
        # cgroup v1 refuses more than the group around has.
        quota = min(quota, quota_around)
    own = Limits(
        memory=memory,
        swap=swap,
        cpus=dice.choice((None, "0", "1", "0-1")),
        cpu_quota=quota,
    )
    room = min(memory or 100 * MIB, around or 100 * MIB) // MIB - _HEADROOM_MIB
    shares = [dice.choice((0, dice.random())) for _ in range(6)]
    whole = max(1.0, sum(shares))
    anonymous, locked, huge, shared, cached, dirty = (int(room * share / whole) for share in shares)
    use = Use(
        anonymous=anonymous,
        locked=locked,
        # Huge pages need 2 MiB each.
        huge=huge & ~1,
        shared=shared,
        cached=cached,
        dirty=dirty,
        busy=dice.choice((0, 0, 1, 2)),
        spent=dice.choice((0.0, 0.05)),
    )
    return Configuration(f"random {number}", own, Limits(memory=around, cpu_quota=quota_around), use)
