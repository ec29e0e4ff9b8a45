"""The CPU ledger: what each visible CPU of one container has done, and that it never goes back.

The kernel knows what a container used, but not what it left idle, and neither limits nor CPU sets stay
the same. A ledger therefore adds up differences: every sample adds what was used since the last one, and
as idle what the container could have used in that time and did not. All arithmetic is in whole
microseconds, and every sum that is split is split without a remainder.

Pure: a ledger is a value, `advance` returns the next one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pylxcfs.cgroup.types import CpuMax, CpuSet, CpuTime


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Time of one visible CPU since the container began, microseconds."""

    user_usec: int
    system_usec: int
    idle_usec: int


_NOTHING: Final = CpuTime(0, 0)
_UNSEEN: Final = CpuTimes(0, 0, 0)
#: Bursts beyond this much of the capacity are not paid back: the next second of idle is worth more.
_DEBT_BOUND_USEC: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of a container's CPUs at one moment.

    `used` is the time used per CPU, visible or not, `unplaced` what the kernel does not place on any CPU
    (all of it on cgroup v2). Both count from the container's beginning, as does `uptime_usec`.
    """

    uptime_usec: int
    visible: CpuSet
    used: Mapping[int, CpuTime] = field(default_factory=dict)
    unplaced: CpuTime = _NOTHING
    quota: CpuMax | None = None
    #: The kernel's numbers of the visible CPUs, where they are shown by others.
    kernel_cpus: CpuSet | None = None

    def __post_init__(self) -> None:
        """Refuse what no machine can be."""
        quota = self.quota
        if self.kernel_cpus is not None and len(self.kernel_cpus) != len(self.visible):
            raise ValueError(self)
        if not self.visible or (quota is not None and (quota.period_usec <= 0 or quota.quota_usec < 0)):
            raise ValueError(self)

    @property
    def capacity(self) -> CpuMax:
        """CPU time that the container can use: its quota, but no more than every visible CPU has."""
        count = len(self.visible)
        if self.quota is None or self.quota.quota_usec >= count * self.quota.period_usec:
            return CpuMax(count, 1)
        return self.quota


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that has been shown of one container's CPUs, and what the next difference counts from."""

    uptime_usec: int
    #: The visible CPUs, ascending.
    times: Mapping[int, CpuTimes]
    #: What CPUs that are hidden now showed last; the sum of all CPUs still has it.
    hidden: Mapping[int, CpuTimes]
    #: The kernel's counters at the last sample.
    used: Mapping[int, CpuTime]
    unplaced: CpuTime
    #: Time used beyond the capacity, to be paid back before idle is shown.
    debt_usec: int
    #: What was left of the last capacity below one microsecond, in 1/period_usec.
    remainder: int
    period_usec: int


_BLANK: Final = Ledger(0, {}, {}, {}, _NOTHING, 0, 0, 1)


def open_ledger(sample: Sample) -> Ledger:
    """Begin a ledger with everything that happened before the first sample."""
    # Whatever was used above today's limit was within an earlier one, or is long past: no debt.
    return replace(advance(_BLANK, sample), debt_usec=0)


def advance(ledger: Ledger, sample: Sample) -> Ledger:
    """Add what happened since the ledger's last sample; no counter in the result is smaller."""
    # A container whose first process was replaced is younger than before: count on from there.
    elapsed = max(0, sample.uptime_usec - ledger.uptime_usec)
    visible = sample.visible
    used = {cpu: _growth(ledger.used.get(cpu, _NOTHING), now) for cpu, now in sample.used.items()}

    kernel_cpus = visible if sample.kernel_cpus is None else sample.kernel_cpus
    own = [used.pop(cpu, _NOTHING) for cpu in kernel_cpus]
    user = [time.user_usec for time in own]
    system = [time.system_usec for time in own]
    elsewhere = [*used.values(), _growth(ledger.unplaced, sample.unplaced)]
    room = [max(0, elapsed - u - s) for u, s in zip(user, system, strict=True)]
    user = _add(user, _split(sum([time.user_usec for time in elsewhere]), room))
    system = _add(system, _split(sum([time.system_usec for time in elsewhere]), room))

    quota, period = sample.capacity
    remainder = ledger.remainder if period == ledger.period_usec else 0
    could_use, remainder = divmod(quota * elapsed + remainder, period)
    spare = could_use - sum(user) - sum(system) - ledger.debt_usec
    room = [max(0, elapsed - u - s) for u, s in zip(user, system, strict=True)]
    idle = _split(max(0, spare), room)

    shown = {**ledger.hidden, **ledger.times}
    times = {}
    for cpu, u, s, i in zip(visible, user, system, idle, strict=True):
        before = shown.pop(cpu, _UNSEEN)
        times[cpu] = CpuTimes(before.user_usec + u, before.system_usec + s, before.idle_usec + i)
    return Ledger(
        uptime_usec=sample.uptime_usec,
        times=times,
        hidden=shown,
        used={**ledger.used, **sample.used},
        unplaced=sample.unplaced,
        debt_usec=min(max(0, -spare), _DEBT_BOUND_USEC * quota // period),
        remainder=remainder,
        period_usec=period,
    )


def _growth(before: CpuTime, now: CpuTime) -> CpuTime:
    """Return what a kernel counter gained; one that went back was reset and gained nothing."""
    if now == before:
        return _NOTHING  # most CPUs of a large machine
    return CpuTime(max(0, now.user_usec - before.user_usec), max(0, now.system_usec - before.system_usec))


def _split(amount: int, weights: Sequence[int]) -> list[int]:
    """Split `amount` in proportion to `weights`, evenly where all are 0; the parts add up to it."""
    if not amount:
        return [0] * len(weights)
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    parts = []
    seen = given = 0
    for weight in weights:
        seen += weight
        until = amount * seen // whole
        parts.append(until - given)
        given = until
    return parts


def _add(left: Sequence[int], right: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(left, right, strict=True)]
