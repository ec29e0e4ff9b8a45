"""Finds every difference between what lxcfs and pylxcfs show, and the row of the table that explains it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.compat.configurations import AGED, LIMITED, Configuration
from tests.compat.fields import agree
from tests.compat.hostvalues import host_values
from tests.compat.laboratory import Laboratory, Pair, Subject
from tests.compat.rows import ROWS, Row
from tests.compat.sight import Shown, Sight

#: Long enough for load averages to leave 0.
AGED_SECONDS: Final = 10.0
#: Values move while they are read. How often a file is looked at again before a difference counts.
_LOOKS: Final = 25


@dataclass(slots=True)
class Report:
    """What a run found."""

    containers: int = 0
    fields: int = 0
    looks: int = 0
    #: Row → how many differences it explained.
    explained: dict[int, int] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    #: Fields of a container that show the host.
    host_values: list[str] = field(default_factory=list)


def differences(shown: Shown) -> Iterator[Sight]:
    """Yield the fields that are not the same in both."""
    for name in dict.fromkeys((*shown.ours, *shown.theirs[0])):
        sight = Sight(shown, name)
        if not agree(sight.theirs[0], sight.ours, sight.theirs[1]):
            yield sight


def explain(sight: Sight, rows: Sequence[Row] = ROWS) -> int | None:
    """Return the number of the row that explains a difference."""
    return next((number for number, row in enumerate(rows) if row.explains(sight)), None)


def compare(laboratory: Laboratory, configurations: Iterator[Configuration]) -> Report:
    """Ask every container through both daemons."""
    report = Report()
    with laboratory.subject(AGED) as aged:
        for configuration in configurations:
            with laboratory.subject(configuration) as subject:
                _compare(laboratory, subject, report)
        with laboratory.subject(LIMITED) as subject:
            report.host_values = host_values(laboratory, subject)
        aged.wait_for_age(AGED_SECONDS)
        _compare(laboratory, aged, report)
    return report


def _compare(laboratory: Laboratory, subject: Subject, report: Report) -> None:
    report.containers += 1
    for pair in laboratory.pairs:
        _compare_pair(subject, pair, laboratory.files, report)


def _compare_pair(subject: Subject, pair: Pair, files: Sequence[str], report: Report) -> None:
    left = list(files)
    wrong: list[Sight] = []
    for _ in range(_LOOKS):
        report.looks += 1
        wrong = []
        for shown in subject.look(pair, left):
            seen = [(sight, explain(sight)) for sight in differences(shown)]
            missing = [sight for sight, row in seen if row is None]
            if missing:
                wrong += missing
                continue
            left.remove(shown.file)
            report.fields += len(shown.ours)
            for _, row in seen:
                if row is not None:
                    report.explained[row] = report.explained.get(row, 0) + 1
        if not wrong:
            return
    report.unexplained += map(_describe, wrong)


def _describe(sight: Sight) -> str:
    container = sight.container
    lines = [
        f"{sight.shown.file}: {sight.name} ({container.configuration}, {container.options})",
        f"  lxcfs {sight.theirs[0]} then {sight.theirs[1]}, pylxcfs {sight.ours}, host {sight.host[0]}",
        *(f"--- cgroup at {container.age(kernel)} s\n{kernel}" for kernel in sight.shown.kernel),
        *(f"--- {who}\n{text}" for who, text in sight.shown.texts.items()),
    ]
    return "\n".join(lines)
