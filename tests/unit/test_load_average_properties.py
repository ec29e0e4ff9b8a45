"""The averages are the kernel's, bit for bit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.accounting.load_average import Averages, LoadAverage

activity = st.lists(st.integers(0, 64) | st.integers(0, 100_000), min_size=1, max_size=400)
averages = st.builds(Averages, *[st.integers(0, 1 << 28)] * 3)


def kernel_step(load: int, exp: int, active: int) -> int:
    """include/linux/sched/loadavg.h, calc_load() of Linux 6.18, in unsigned long."""
    newload = (load * exp + active * (2048 - exp)) % (1 << 64)
    if active >= load:
        newload = newload + 2048 - 1
    return newload // 2048


def kernel_history(tasks: list[int]) -> Averages:
    """avenrun[] after one sample of each."""
    avenrun = [0, 0, 0]
    for active in tasks:
        for k, exp in enumerate((1884, 2014, 2037)):
            avenrun[k] = kernel_step(avenrun[k], exp, active * 2048)
    return Averages(*avenrun)


@given(activity)
def test_sampled_in_time_it_is_the_kernels(tasks: list[int]) -> None:
    """Sample by sample the averages are those of the kernel's integers."""
    load = LoadAverage.begin(0, 0.0, 0.0)
    for number, active in enumerate(tasks, 1):
        load = load.advance(active, number * 5.0)
    assert kernel_history(tasks) == load.averages


@given(averages, st.integers(0, 1000), st.integers(1, 500))
def test_a_gap_is_as_many_single_steps(start: Averages, active: int, periods: int) -> None:
    """A gap gives what sampling the same load in time would have given, to the rounding of the decays."""
    at_once = LoadAverage(start, 0.0).advance(active, (periods - 1) * 5.0)
    singly = LoadAverage(start, 0.0)
    for number in range(periods):
        singly = singly.advance(active, number * 5.0)
    assert singly.due == at_once.due
    for one, other, first in zip(singly.averages, at_once.averages, start, strict=True):
        # fixed_power_int keeps 11 bits: its errors are some units in 2048 of the distance, plus one per step.
        distance = abs(first - active * 2048)
        assert abs(one - other) <= distance * (8 + periods // 16) / 2048 + min(periods, 200)


@pytest.mark.parametrize(
    "periods,expected",
    [
        (1, (188892, 201502, 203733)),
        (2, (174245, 198301, 202666)),
        (3, (160762, 195100, 201599)),
        (5, (136997, 188892, 199465)),
        (7, (116821, 182878, 197428)),
        (12, (78991, 168813, 192287)),
        (33, (18754, 120992, 172305)),
        (60, (7502, 79476, 149704)),
        (127, (6144, 30297, 105957)),
        (180, (6144, 16135, 81125)),
        (720, (6144, 6144, 10218)),
    ],
)
def test_gaps_are_rounded_as_the_kernel_does(periods: int, expected: tuple[int, int, int]) -> None:
    """A load of 100 after so many periods of 3 tasks: what calc_load_n() gives, computed in C."""
    full = LoadAverage(Averages(*[100 * 2048] * 3), 0.0)
    assert expected == full.advance(3, (periods - 1) * 5.0).averages


@given(averages, st.integers(0, 1000), st.integers(0, 10_000))
def test_between_the_old_and_the_present_load(start: Averages, active: int, periods: int) -> None:
    """However long the gap, an average moves towards the present load and never beyond it."""
    load = LoadAverage(start, 0.0).advance(active, periods * 5.0)
    for before, after in zip(start, load.averages, strict=True):
        assert min(before, active * 2048) <= after <= max(before, active * 2048)


@given(st.integers(0, 1 << 18), st.floats(0, 1e8))
def test_begins_below_the_mean(mean: int, age: float) -> None:
    """A first value is never above what ran on average, and nearer the shorter its time."""
    one, five, fifteen = LoadAverage.begin(mean, age, 0.0).averages
    assert 0 <= fifteen <= five <= one <= mean


@pytest.mark.parametrize("age_seconds,expected", [(0, 0), (4.9, 0), (5, 164), (9.9, 164), (10, 315)])
def test_beginning(age_seconds: float, expected: int) -> None:
    """A container of that age has had one sample every five seconds, and the next one is due in five."""
    load = LoadAverage.begin(2048, age_seconds, 100.0)
    assert (expected, 105.0) == (load.averages.one, load.due)


def test_samples_are_due_every_five_seconds() -> None:
    """One that comes late counts for those that were missed, and the next one is due as if it had not."""
    load = LoadAverage.begin(0, 0, 100.0)
    assert load is load.advance(1, 104.9)
    once = load.advance(1, 105.0)
    assert (164, 110.0) == (once.averages.one, once.due)
    twice = load.advance(1, 110.0)
    assert (315, 115.0) == (twice.averages.one, twice.due)
    assert 115.0 == load.advance(1, 114.9).due
