"""What real programs print in a container, with pylxcfs and without: the table in docs/consumers.md."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.compat.programs import AFFINITY, REASONS, Answer, Program, Quantity, programs, traced
from tests.support.cgroups import MIB, Limits, cgroup
from tests.support.container import CPU_TREE, Container, container
from tests.support.daemon import REPOSITORY, Daemon
from tests.support.session import Session
from tests.support.waiting import wait_for

pytestmark = pytest.mark.needs("two-cpus", "strace", "busybox", "htop", "java", "node", "tmux", "top")

MEMORY: Final = 256 * MIB
LIMITS: Final = Limits(memory=MEMORY, swap=0, cpu_quota=1.0)
PROGRAMS: Final = programs(sys.executable)
PAGE: Final = REPOSITORY / "docs/consumers.md"
_TABLE: Final = re.compile(r"^\| program \|.*?(?=^$)", re.MULTILINE | re.DOTALL)
#: Whole minutes, and time between two looks on a busy machine.
_SLACK_SECONDS: Final = 90
OWN: Final = "container"
HOST: Final = "host"
WRONG: Final = "wrong"


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of one program, as it was without and with pylxcfs."""

    program: Program
    answer: Answer
    without: str
    overlaid: str


def whose(answer: Answer, printed: str, inside: Container) -> str:
    """Tell whether a program's answer is the container's, the host's or nobody's."""
    kind = answer.quantity
    value = answer.value(printed)
    age = time.time() - psutil.Process(inside.init_pid).create_time()
    own, host = {
        Quantity.MEMORY: (value == MEMORY, abs(value / psutil.virtual_memory().total - 1) < 0.01),
        Quantity.PART_OF_MEMORY: (0 < value <= MEMORY, value > MEMORY),
        Quantity.CPUS: (value == 1, value == os.cpu_count()),
        Quantity.UPTIME: _near(value, age, time.time() - psutil.boot_time()),
        Quantity.AGE: (-2 <= age - value <= _SLACK_SECONDS and (value > 0 or age < 2), False),
    }[kind]
    assert not (own and host)
    return OWN if own else HOST if host else WRONG


def _near(value: float, age: float, host_age: float) -> tuple[bool, bool]:
    """Tell which of two times is meant; a host that was started just now cannot be told apart."""
    assert host_age - age > 2 * _SLACK_SECONDS, "this machine was started too short a time ago"
    return abs(age - value) < _SLACK_SECONDS, abs(host_age - value) < _SLACK_SECONDS


def _whose_load(answer: Answer, ask: Callable[[], str], overlaid: Container) -> str:
    found: list[str] = []

    def loads() -> tuple[float, float]:
        texts = overlaid.read("loadavg"), Path("/proc/loadavg").read_text()
        return float(texts[0].split()[0]), float(texts[1].split()[0])

    def clear() -> bool:
        before = loads()
        value = answer.value(ask())
        own, host = zip(before, loads(), strict=True)
        if (value in own) != (value in host):
            found.append(OWN if value in own else HOST)
        return bool(found)

    wait_for("loads of container and host can be told apart", clear)
    return found[0]


@contextmanager
def burning_on_the_host() -> Iterator[None]:
    """Keep the host's load above the container's."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two containers with the same limits, one with pylxcfs' files and one without."""

    overlaid: Container
    plain: Container


@pytest.fixture(scope="module")
def pair(daemon: Daemon, machine: Session) -> Iterator[Pair]:
    """Run both containers."""
    with ExitStack() as stack:
        groups = [
            stack.enter_context(cgroup(f"{machine.token}-{name}", LIMITS)) for name in ("with", "without")
        ]
        pair = Pair(
            *(
                stack.enter_context(container(served, group))
                for served, group in zip((daemon.proc, Path("/proc")), groups, strict=True)
            )
        )
        pair.overlaid.run("mount", "--bind", str(daemon.mount_point / CPU_TREE), f"/{CPU_TREE}")
        stack.enter_context(burning_on_the_host())
        yield pair


def measure(program: Program, pair: Pair) -> list[Row]:
    """Run a program in both containers."""

    def seen(inside: Container) -> list[str]:
        def ask() -> str:
            return inside.run(*program.command)

        printed = ask()
        return [
            _whose_load(answer, ask, pair.overlaid)
            if answer.quantity is Quantity.LOAD
            else whose(answer, printed, inside)
            for answer in program.answers
        ]

    return [
        Row(program, *each)
        for each in zip(program.answers, seen(pair.plain), seen(pair.overlaid), strict=True)
    ]


@pytest.fixture(scope="module")
def rows(pair: Pair) -> dict[str, list[Row]]:
    """Measure every program once."""
    return {program.name: measure(program, pair) for program in PROGRAMS}


_CELLS: Final = {
    Quantity.MEMORY: {OWN: "256 MiB"},
    Quantity.PART_OF_MEMORY: {OWN: "within 256 MiB"},
    Quantity.CPUS: {OWN: "1"},
}


def _cell(row: Row, said: str) -> str:
    return _CELLS.get(row.answer.quantity, {}).get(said, "wrong" if said == WRONG else f"the {said}'s")


def _why(row: Row) -> str:
    if row.overlaid == OWN != row.without:
        return "right through pylxcfs"
    reason = REASONS.get(row.answer.source)
    if reason is None:
        reason = (
            "counts from the host's boot, by the container's clock"
            if row.overlaid == WRONG
            else "right either way"
        )
    return reason


def table(rows: Iterable[Row]) -> str:
    """Spell the table of docs/consumers.md."""
    lines = ["| program | quantity | from | without | with pylxcfs | verdict |", "|---|---|---|---|---|---|"]
    for row in rows:
        name = row.program.name if not row.answer.name else f"{row.program.name}: {row.answer.name}"
        cells = [
            f"`{name}`",
            row.answer.quantity.value,
            f"`{row.answer.source.rstrip('(')}`",
            _cell(row, row.without),
            _cell(row, row.overlaid),
            _why(row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def test_table(rows: dict[str, list[Row]], request: pytest.FixtureRequest) -> None:
    """The table in the documentation is what was measured; ``--write-docs`` writes it."""
    measured = table(row for each in rows.values() for row in each)
    text = PAGE.read_text()
    if request.config.getoption("--write-docs"):
        PAGE.write_text(_TABLE.sub(lambda _: measured, text))
    (documented,) = _TABLE.findall(PAGE.read_text())
    assert documented == measured


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_source(pair: Pair, program: Program, new_directory: Callable[[str], Path]) -> None:
    """A program opens the file, or asks the system call, that the table names."""
    log = new_directory("trace") / "log"
    pair.overlaid.run(*traced(program.command, str(log)))
    text = log.read_text(errors="replace")
    assert [] == [answer.source for answer in program.answers if answer.source not in text]


def test_no_file_changes_what_is_not_read(rows: dict[str, list[Row]]) -> None:
    """Whatever is read from /proc or the CPU tree is the container's; what is not, is as without pylxcfs."""
    for row in (row for each in rows.values() for row in each):
        if row.answer.source in REASONS:
            assert row.without == row.overlaid, row
        elif row.answer.quantity is not Quantity.AGE:
            assert (HOST, OWN) == (row.without, row.overlaid), row


@pytest.mark.parametrize("overlaid", [True, False])
def test_cpuset_needs_no_file(daemon: Daemon, machine: Session, overlaid: bool) -> None:  # noqa: FBT001
    """With a cpuset of one CPU, whoever asks sched_getaffinity says 1 with and without pylxcfs."""
    with (
        cgroup(f"{machine.token}-cpuset", Limits(cpus="0")) as group,
        container(daemon.proc if overlaid else Path("/proc"), group) as inside,
    ):
        for program in PROGRAMS:
            for answer in program.answers:
                if answer.source == AFFINITY:
                    assert answer.value(inside.run(*program.command)) == 1, program.name


def test_java_load(pair: Pair) -> None:
    """The load that a JVM reports is a share."""
    program = next(program for program in PROGRAMS if program.name == "Java")
    assert 0 <= float(pair.overlaid.run(*program.command).splitlines()[4]) <= 1
