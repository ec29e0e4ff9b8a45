"""The CPU ledger."""

from collections.abc import Mapping

import pytest

from pylxcfs.accounting.cpu_ledger import CpuTimes, Ledger, Sample, advance, open_ledger
from pylxcfs.cgroup.types import CpuMax, CpuSet, CpuTime

SECOND = 1_000_000
ONE_CPU = CpuMax(100_000, 100_000)


def sample(
    seconds: float, visible: set[int], used: Mapping[int, tuple[int, int]], quota: CpuMax | None = None
) -> Sample:
    """Return a sample; `used` is in seconds."""
    times = {cpu: CpuTime(user * SECOND, system * SECOND) for cpu, (user, system) in used.items()}
    return Sample(int(seconds * SECOND), CpuSet(visible), times, quota=quota)


def shown(ledger: Ledger) -> dict[int, tuple[float, float, float]]:
    """Return what the ledger shows, in seconds."""
    return {
        cpu: (time.user_usec / SECOND, time.system_usec / SECOND, time.idle_usec / SECOND)
        for cpu, time in ledger.times.items()
    }


def idle(ledger: Ledger) -> int:
    """Return the idle time of all visible CPUs."""
    return sum(time.idle_usec for time in ledger.times.values())


def test_own_time_stays_where_it_was_used() -> None:
    """Each visible CPU shows the kernel's counters, and is idle for the rest."""
    ledger = open_ledger(sample(10, {0, 2}, {0: (3, 1), 2: (0, 2)}))
    assert shown(ledger) == {0: (3, 1, 6), 2: (0, 2, 8)}


def test_hidden_time_goes_where_there_is_room() -> None:
    """Time used on hidden CPUs is spread in proportion to the spare room of the visible ones."""
    ledger = open_ledger(sample(10, {0, 1}, {0: (6, 0), 1: (2, 0), 7: (3, 3)}))
    assert shown(ledger) == {0: (7, 1, 2), 1: (4, 2, 4)}


def test_unplaced_time_is_spread_evenly() -> None:
    """A kernel that knows only the sum gives each CPU the same share."""
    ledger = open_ledger(Sample(10 * SECOND, CpuSet({0, 1}), {}, CpuTime(4 * SECOND, 2 * SECOND), None))
    assert shown(ledger) == {0: (2, 1, 7), 1: (2, 1, 7)}


def test_nothing_is_idle_at_the_quota() -> None:
    """A container that burns all it may shows no idle time."""
    ledger = open_ledger(sample(10, {0, 1}, {0: (9, 0), 1: (6, 0)}, CpuMax(150_000, 100_000)))
    assert idle(ledger) == 0


def test_idle_within_the_quota() -> None:
    """Idle time is what the quota had left, not what the CPUs had left."""
    assert idle(open_ledger(sample(10, {0, 1}, {0: (5, 0)}, CpuMax(150_000, 100_000)))) == 10 * SECOND


def test_quota_above_the_visible_cpus() -> None:
    """A quota beyond all visible CPUs adds no capacity."""
    assert idle(open_ledger(sample(10, {0}, {}, CpuMax(900_000, 100_000)))) == 10 * SECOND


def test_splitting_loses_nothing() -> None:
    """Amounts that do not divide evenly are given out to the last microsecond."""
    ledger = open_ledger(Sample(1_000_001, CpuSet(range(3)), {}, CpuTime(10, 1), CpuMax(33_333, 100_000)))
    assert sum(time.user_usec for time in ledger.times.values()) == 10
    assert sum(time.system_usec for time in ledger.times.values()) == 1
    assert idle(ledger) == 1_000_001 * 33_333 // 100_000 - 11


def test_small_steps_lose_nothing() -> None:
    """A thousand steps show the same idle time as one."""
    quota = CpuMax(33_333, 100_000)
    ledger = open_ledger(Sample(0, CpuSet({0}), quota=quota))
    for moment in range(0, 7001, 7):
        ledger = advance(ledger, Sample(moment, CpuSet({0}), quota=quota))
    assert ledger.times == open_ledger(Sample(7000, CpuSet({0}), quota=quota)).times


def test_burst_is_paid_back() -> None:
    """Time used beyond the capacity is taken from the idle time that follows."""
    ledger = open_ledger(sample(10, {0}, {0: (10, 0)}, ONE_CPU))
    burst = Sample(10_100_000, CpuSet({0}), {0: CpuTime(10_300_000, 0)}, quota=ONE_CPU)
    ledger = advance(ledger, burst)
    assert (idle(ledger), ledger.debt_usec) == (0, 200_000)
    later = Sample(11_100_000, CpuSet({0}), {0: CpuTime(10_300_000, 0)}, quota=ONE_CPU)
    assert idle(advance(ledger, later)) == 800_000


def test_debt_is_bounded() -> None:
    """No more than one second of the capacity is paid back."""
    ledger = advance(open_ledger(sample(10, {0}, {}, ONE_CPU)), sample(11, {0}, {0: (60, 0)}, ONE_CPU))
    assert ledger.debt_usec == SECOND


def test_time_before_the_first_sample_is_no_debt() -> None:
    """A container that used more than today's quota before is not charged for it."""
    assert open_ledger(sample(10, {0}, {0: (60, 0)}, ONE_CPU)).debt_usec == 0


def test_hidden_cpu_keeps_its_time() -> None:
    """What a CPU showed that is hidden now is kept apart, and no other CPU's counter jumps."""
    used = {0: (2, 0), 1: (4, 2)}
    ledger = advance(open_ledger(sample(10, {0, 1}, used)), sample(10, {0}, used))
    assert shown(ledger) == {0: (2, 0, 8)}
    assert ledger.hidden == {1: CpuTimes(4 * SECOND, 2 * SECOND, 4 * SECOND)}


def test_returning_cpu_shows_what_it_showed_last() -> None:
    """A CPU that was hidden for a while does not go back."""
    used = {0: (2, 0), 1: (4, 2)}
    ledger = advance(open_ledger(sample(10, {0, 1}, used)), sample(10, {0}, used))
    assert shown(advance(ledger, sample(10, {0, 1}, used))) == {0: (2, 0, 8), 1: (4, 2, 4)}


def test_cpus_that_take_turns_do_not_add_up() -> None:
    """CPUs taken away and given back for ever show what was used, once."""
    ledger = open_ledger(sample(10, {0}, {0: (2, 1)}))
    for _ in range(50):
        for visible in ({1}, {0, 1}, {0}):
            ledger = advance(ledger, sample(10, visible, {0: (2, 1)}))
    assert list(ledger.times.values()) == [CpuTimes(2 * SECOND, 1 * SECOND, 7 * SECOND)]
    assert ledger.hidden == {1: CpuTimes(0, 0, 0)}


def test_new_cpu_begins_at_zero() -> None:
    """A CPU that was never shown does not bring along what was already shown elsewhere."""
    used = {0: (2, 0), 1: (4, 0)}
    ledger = advance(open_ledger(sample(10, {0}, used)), sample(11, {0, 1}, used))
    assert shown(ledger) == {0: (6, 0, 5), 1: (0, 0, 1)}


def test_kernel_counter_went_back() -> None:
    """A counter that was reset gains nothing, and counts on from its new value."""
    ledger = advance(open_ledger(sample(10, {0}, {0: (5, 0)})), sample(11, {0}, {0: (1, 0)}))
    assert shown(ledger) == {0: (5, 0, 6)}
    assert shown(advance(ledger, sample(12, {0}, {0: (2, 0)}))) == {0: (6, 0, 6)}


def test_counter_that_was_absent_for_a_while() -> None:
    """A CPU that the kernel did not list once does not count twice."""
    ledger = advance(open_ledger(sample(10, {0}, {0: (5, 0)})), sample(11, {0}, {}))
    assert shown(advance(ledger, sample(12, {0}, {0: (6, 0)}))) == {0: (6, 0, 6)}


@pytest.mark.parametrize("seconds", [10, 4])
def test_no_time_passed(seconds: int) -> None:
    """Uptime that stands or goes back adds no idle time."""
    ledger = open_ledger(sample(10, {0}, {0: (5, 0)}))
    assert advance(ledger, sample(seconds, {0}, {0: (5, 0)})).times == ledger.times


def test_uptime_counts_on_after_it_went_back() -> None:
    """A younger first process does not stop the clock."""
    ledger = advance(open_ledger(sample(10, {0}, {})), sample(0, {0}, {}))
    assert idle(advance(ledger, sample(3, {0}, {}))) == 13 * SECOND


@pytest.mark.parametrize("visible, quota", [(set(), None), ({0}, CpuMax(1, 0)), ({0}, CpuMax(-1, 100_000))])
def test_impossible_sample(visible: set[int], quota: CpuMax | None) -> None:
    """No CPUs, no period or a negative quota is refused."""
    with pytest.raises(ValueError, match="Sample"):
        Sample(0, CpuSet(visible), quota=quota)


def test_room_is_what_neither_user_nor_system_time_has_taken() -> None:
    """System time takes room from what was used on hidden CPUs as user time does."""
    ledger = open_ledger(sample(10, {0, 1}, {0: (2, 6), 7: (6, 0)}))
    assert {0: (3, 6, 1), 1: (5, 0, 5)} == shown(ledger)
