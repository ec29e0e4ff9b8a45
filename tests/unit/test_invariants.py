"""The invariants that real containers are held to: each accepts what holds and refuses what does not."""

from collections.abc import Callable

import pytest

from tests.support.invariants import (
    FACTS,
    PASS,
    History,
    Readings,
    check_alone,
    check_cpu_list,
    check_cpuinfo,
    check_diskstats,
    check_loadavg,
    check_meminfo,
    check_stat,
    check_swaps,
    check_together,
    check_uptime,
)
from tests.support.readings import named_texts

MEMINFO = """\
MemTotal:       1000 kB
MemFree:         300 kB
MemAvailable:    600 kB
Buffers:           0 kB
Cached:          400 kB
SwapCached:       10 kB
Active:          300 kB
Inactive:        400 kB
Active(anon):    100 kB
Inactive(anon):  200 kB
Active(file):    200 kB
Inactive(file):  200 kB
SwapTotal:      5000 kB
SwapFree:       4900 kB
Zswapped:        100 kB
AnonPages:       200 kB
Shmem:            50 kB
Slab:             30 kB
SReclaimable:     20 kB
SUnreclaim:       10 kB
CommitLimit:    5500 kB
VmallocTotal:   34359738367 kB
AnonHugePages:   200 kB
ShmemHugePages:   20 kB
FileHugePages:   380 kB
HugePages_Total:   0
HugePages_Free:    0
HugePages_Rsvd:    0
Hugepagesize:   2048 kB
"""
SWAPS = "Filename\tType\tSize\tUsed\tPriority\n"
STAT = "cpu  3 0 4 50 0\ncpu0 1 0 2 20 0\ncpu1 2 0 2 30 0\nintr 5\nbtime 1700000000\n"
TEXTS = {
    "meminfo": MEMINFO,
    "swaps": f"{SWAPS}none virtual 5000 100 -2\n",
    "stat": STAT,
    "uptime": "1.00 0.50\n",
    "cpuinfo": "processor\t: 0\n\nprocessor\t: 1\n\n",
    "online": "0-1\n",
    "present": "0-1\n",
    "possible": "0-1\n",
    "loadavg": "0.10 0.20 0.30 1/2 99\n",
    "diskstats": "   8       0 sda 1 0 8 0\n   8       1 sda1 1 0 8 0\n",
}


def read_as(**changed: str) -> Readings:
    """Return a whole pass, with some files changed."""
    return [(name, (TEXTS | changed)[name]) for name in PASS]


def test_what_holds_is_accepted() -> None:
    """A container that holds together passes, and every fact is compared."""
    check_alone(read_as())
    assert FACTS == check_together(read_as())


@pytest.mark.parametrize(
    "field, value",
    [
        ("MemTotal", 0),
        ("MemFree", -1),
        ("MemFree", 601),
        ("MemFree", 581),
        ("MemAvailable", 1001),
        ("MemAvailable", 299),
        ("Cached", 1001),
        ("Cached", 40),
        ("Active", 301),
        ("Inactive", 399),
        ("AnonPages", 1001),
        ("AnonPages", 100),
        ("SwapFree", 5001),
        ("SwapFree", 4991),
        ("SwapFree", 4901),
        ("SwapTotal", (1 << 64) // 1024 - 4),
        ("VmallocTotal", 1 << 63),
        ("Slab", 31),
        ("Shmem", 401),
        ("FileHugePages", 381),
        ("CommitLimit", -1),
        ("HugePages_Free", 1),
        ("HugePages_Rsvd", 1),
    ],
)
def test_meminfo(field: str, value: int) -> None:
    """One field that breaks one rule is refused."""
    lines = [
        f"{field}: {value} kB" if line.startswith(f"{field}:") else line for line in MEMINFO.splitlines()
    ]
    text = "\n".join([*lines, ""])
    assert text.count("\n") == MEMINFO.count("\n")
    with pytest.raises(AssertionError):
        check_meminfo(text)


@pytest.mark.parametrize(
    "check, text",
    [
        (check_swaps, f"{SWAPS}none virtual 100 101 -2\n"),
        (check_swaps, f"{SWAPS}none virtual 100 -4 -2\n"),
        (check_swaps, f"{SWAPS}none virtual {(1 << 64) // 1024} 0 -2\n"),
        (check_swaps, ""),
        (check_stat, STAT.replace("cpu  3", "cpu  4")),
        (check_stat, STAT.replace("50 0", "51 0")),
        (check_stat, "cpu  1 0 0 -1 0\ncpu0 1 0 0 -1 0\n"),
        (check_stat, f"cpu  {1 << 63} 0 0 0 0\ncpu0 {1 << 63} 0 0 0 0\n"),
        (check_cpuinfo, ""),
        (check_cpuinfo, "processor: 0\n\nprocessor: 0\n\n"),
        (check_uptime, "-1.00 0.00\n"),
        (check_uptime, "1.00\n"),
        (check_loadavg, "0.00 0.00 0.00 3/2 9\n"),
        (check_loadavg, "0.00 0.00 -0.01 1/2 9\n"),
        (check_diskstats, "8 0 sda 1\n8 0 sda 1\n"),
        (check_diskstats, "8 0 sda -1\n"),
        (check_cpu_list, "\n"),
        (check_cpu_list, "0-1,1\n"),
    ],
)
def test_other_files(check: Callable[[str], object], text: str) -> None:
    """A file that breaks one rule is refused."""
    with pytest.raises(AssertionError):
        check(text)


def test_time_of_hidden_cpus() -> None:
    """Where CPUs were taken away the sum may be more than its parts, but never less."""
    more, less = (STAT.replace("cpu  3", f"cpu  {user}") for user in (4, 2))
    check_stat(more, some_hidden=True)
    check_alone([("stat", more)], some_hidden=True)
    with pytest.raises(AssertionError):
        check_stat(less, some_hidden=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"swaps": SWAPS},
        {"swaps": f"{SWAPS}none virtual 5000 101 -2\n"},
        {"cpuinfo": "processor\t: 0\n\n"},
        {"cpuinfo": "processor\t: 1\n\nprocessor\t: 2\n\n"},
        {"stat": "cpu  1 0 2 50 0\ncpu0 1 0 2 50 0\n"},
        {"online": "0\n"},
        {"possible": "0-7\n"},
        {"uptime": "1.00 0.49\n"},
        {"uptime": "1.00 0.51\n"},
    ],
)
def test_files_that_disagree(changed: dict[str, str]) -> None:
    """Files that say different things of one fact are refused."""
    with pytest.raises(AssertionError):
        check_together(read_as(**changed))


def test_changes_while_reading() -> None:
    """What changed between two reads is not compared."""
    moved = [(name, text) for name, text in read_as() if name != "swaps"]
    moved.insert(1, ("swaps", SWAPS))
    moved.insert(3, ("swaps", TEXTS["swaps"]))
    assert FACTS - 1 == check_together(moved)
    assert FACTS - 1 == check_together([*read_as(), ("online", "0\n")])


@pytest.mark.parametrize(
    "earlier, later",
    [
        (("stat", STAT), ("stat", STAT.replace("cpu  3", "cpu  2"))),
        (("stat", STAT), ("stat", STAT.replace("cpu1 2 0 2 30", "cpu1 2 0 2 29"))),
        (("uptime", "2.00 0.00\n"), ("uptime", "1.99 0.00\n")),
    ],
)
def test_what_goes_back(earlier: tuple[str, str], later: tuple[str, str]) -> None:
    """A counter below what it was is refused, also after its CPU was hidden for a while."""
    hidden = ("stat", "cpu  3 0 4 50 0\ncpu0 3 0 4 50 0\n")
    history = History()
    history.check([earlier, earlier])
    with pytest.raises(AssertionError):
        history.check([later])
    other = History()
    other.check([earlier])
    other.check([hidden] if earlier[0] == "stat" else [])
    with pytest.raises(AssertionError):
        other.check([later])


def test_named_texts() -> None:
    """What tail printed comes apart again, empty files and empty lines included."""
    printed = "==> /proc/a <==\nx\n\n\n==> /proc/b <==\n\n==> /sys/c <==\ny\n"
    assert [("a", "x\n\n"), ("b", ""), ("c", "y\n")] == named_texts(printed)
