"""The answer to servers that die: at once, then with the host's files, then at growing intervals."""

import pytest

from pylxcfs.supervision.crash_loop import (
    HOPELESS_SECONDS,
    HOST_VIEW_SECONDS,
    YOUNG_SECONDS,
    Deaths,
    Retry,
    Start,
)


def _row(*lived_seconds: float) -> Deaths:
    deaths = Deaths()
    for seconds in lived_seconds:
        deaths = deaths.after(seconds)
    return deaths


def test_figures() -> None:
    """What documents promise: young below a second, host files for a minute, no server for ten seconds."""
    assert (1.0, 60.0, 10.0) == (YOUNG_SECONDS, HOST_VIEW_SECONDS, HOPELESS_SECONDS)


@pytest.mark.parametrize("lived, young", [(0.0, 1), (0.5, 1), (0.999, 1), (1.0, 0), (1.001, 0), (3600.0, 0)])
def test_young(lived: float, young: int) -> None:
    """A server that lived for a whole second ends the row, a shorter life adds one."""
    assert young == Deaths().after(lived).young
    assert (3 + 1 if young else 0) == Deaths(3).after(lived).young


@pytest.mark.parametrize("lived", [0.0, 1.0, 3600.0])
def test_hung(lived: float) -> None:
    """A server that hung is one that died young, however long it had served before."""
    assert 4 == Deaths(3).after(lived, hung=True).young


@pytest.mark.parametrize(
    "young, start",
    [
        (0, Start(0.0, host_view=False)),
        (1, Start(0.0, host_view=False)),
        (4, Start(0.0, host_view=False)),
        (5, Start(0.0, host_view=True)),
        (6, Start(0.2, host_view=True)),
        (7, Start(0.4, host_view=True)),
        (8, Start(0.8, host_view=True)),
        (9, Start(1.6, host_view=True)),
        (10, Start(2.0, host_view=True)),
        (11, Start(2.0, host_view=True)),
        (1_000_000, Start(2.0, host_view=True)),
    ],
)
def test_next_start(young: int, start: Start) -> None:
    """The first four are followed at once, the fifth by the host's files, later ones ever later."""
    assert start == Deaths(young).next_start


def test_long_life_begins_anew() -> None:
    """After one that lived, containers are looked at again at once."""
    assert Start() == _row(*[0.0] * 9, 1.0).next_start
    assert Start(host_view=True) == _row(*[0.0] * 9, 1.0, *[0.0] * 5).next_start


def test_nothing_asked_for_by_default() -> None:
    """An ordinary start is at once and shows containers themselves."""
    assert (0.0, False) == Start()
    assert Start() == Deaths().next_start


@pytest.mark.parametrize(
    "failures, urgent, calm",
    [
        (1, 0.1, 0.1),
        (2, 0.2, 0.2),
        (4, 0.8, 0.8),
        (5, 1.0, 1.6),
        (9, 1.0, 25.6),
        (10, 1.0, 51.2),
        (11, 1.0, 60.0),
        (1_000_000, 1.0, 60.0),
    ],
)
def test_retry(failures: int, urgent: float, calm: float) -> None:
    """What could not be had is tried later and later: at most a second while nobody serves, else a minute."""
    retry = Retry(failures - 1, 3.0).after(100.0)
    assert (failures, 100.0) == retry
    assert (100.0 + urgent, 100.0 + calm) == (retry.due(is_urgent=True), retry.due(is_urgent=False))


def test_first_try_is_at_once() -> None:
    """What has not failed is not waited for."""
    assert (0.0, 0.0) == (Retry().due(is_urgent=True), Retry(0, 100.0).due(is_urgent=False))
