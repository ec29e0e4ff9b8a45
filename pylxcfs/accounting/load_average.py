"""The kernel's load averages, on one container's tasks (docs/adr/0008-load-averages.md).

Source: include/linux/sched/loadavg.h and kernel/sched/loadavg.c. Averages are fixed-point numbers with
`FSHIFT` bits after the point, as the kernel keeps them: the rounding is part of what is shown.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, Self

FSHIFT: Final = 11
FIXED_1: Final = 1 << FSHIFT
#: LOAD_FREQ without the jiffy that keeps the kernel's own timer from running in step with others.
PERIOD_SECONDS: Final = 5.0
#: EXP_1, EXP_5, EXP_15: what is left of a load after one period.
_DECAYS: Final = (1884, 2014, 2037)


class Averages(NamedTuple):
    """Averages over one, five and fifteen minutes, fixed-point."""

    one: int
    five: int
    fifteen: int


@dataclass(frozen=True, slots=True)
class LoadAverage:
    """Averages, and when their next sample is due: seconds of a clock that stands still in suspend."""

    averages: Averages
    due: float

    @classmethod
    def begin(cls, mean: int, age_seconds: float, now: float) -> Self:
        """Take it that `mean` tasks (fixed-point) were active at every sample in `age_seconds`."""
        periods = max(0, int(age_seconds / PERIOD_SECONDS))
        return cls(_fold(Averages(0, 0, 0), mean, periods), now + PERIOD_SECONDS)

    def advance(self, active: int, now: float) -> Self:
        """Fold in `active` tasks if a sample is due, also for every one that was missed.

        The kernel too, when its timer comes late, takes what it finds for all missed samples
        (calc_global_nohz).
        """
        if now < self.due:
            return self
        periods = 1 + int((now - self.due) / PERIOD_SECONDS)
        averages = _fold(self.averages, active << FSHIFT, periods)
        return type(self)(averages, self.due + periods * PERIOD_SECONDS)


def _fold(averages: Averages, active: int, periods: int) -> Averages:
    """calc_load_n: `periods` samples of the same load at once."""
    if not periods:
        return averages
    left = (_power(decay, periods) for decay in _DECAYS)
    return Averages(*(_calc_load(load, decay, active) for load, decay in zip(averages, left, strict=True)))


def _calc_load(load: int, decay: int, active: int) -> int:
    """calc_load: rounds up while the load rises, so that it gets all the way to `active`."""
    scaled = load * decay + active * (FIXED_1 - decay)
    if active >= load:
        scaled += FIXED_1 - 1
    return scaled >> FSHIFT


def _power(base: int, exponent: int) -> int:
    """fixed_power_int: base ** exponent, rounded to nearest at every multiplication."""
    result = FIXED_1
    while exponent:
        if exponent & 1:
            result = (result * base + FIXED_1 // 2) >> FSHIFT
        exponent >>= 1
        base = (base * base + FIXED_1 // 2) >> FSHIFT
    return result


@dataclass(frozen=True, slots=True)
class LoadView:
    """The container's load, and its tasks."""

    #: None shows the host's averages.
    averages: Averages | None
    running: int
    blocked: int
    total: int
    #: In the container's pid namespace.
    last_pid: int
