"""``pylxcfsctl doctor``: what is wrong, and what to do about it."""

import argparse
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pylxcfs.console import printable, write_lines
from pylxcfs.ctl.options import add_fsname, add_runtime_dir
from pylxcfs.ctl.output import print_json
from pylxcfs.diagnosis.finding import Finding, Verdict
from pylxcfs.procfiles.binds import DEFAULT_MOUNT_POINT

#: Of the document that --json prints.
_SCHEMA: Final = 1
_WIDTH: Final = 110
_WORST: Final = (Verdict.FAIL, Verdict.WARN, Verdict.OK)
_EPILOG: Final = (
    "Exit status: 0 all is well, or there are warnings only; 1 something fails. Changes nothing. "
    "Takes a second, and some 8 s if the server hangs."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.add_argument(
        "--mount-point",
        metavar="DIR",
        type=Path,
        help=f"where pylxcfs should serve (default: where it says that it does, or {DEFAULT_MOUNT_POINT})",
    )
    add_runtime_dir(parser)
    add_fsname(parser)


def run(arguments: argparse.Namespace) -> int:
    """Examine everything, and print what was found."""
    # Late: -h should not wait for them.
    from pylxcfs.diagnosis.collect import Place  # noqa: PLC0415
    from pylxcfs.diagnosis.examination import examine  # noqa: PLC0415
    from pylxcfs.status.report import find_out  # noqa: PLC0415

    runtime_dir = arguments.runtime_dir.absolute()
    status = find_out(runtime_dir)
    told = Path(status.state.mount_point) if status.state else Path(DEFAULT_MOUNT_POINT)
    mount_point = told if arguments.mount_point is None else arguments.mount_point.absolute()
    findings = list(examine(Place(mount_point, runtime_dir, arguments.fsname), status))
    if arguments.json:
        print_json(as_document(findings))
    else:
        write_lines(lines(findings))
    return int(_worst(findings) is Verdict.FAIL)


def as_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what JSON is made of (docs/troubleshooting.md)."""
    return {
        "schema": _SCHEMA,
        "verdict": _worst(findings).value,
        "findings": [asdict(finding) for finding in findings],
    }


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield what people read: the worst at the end, where they look first."""
    subject_width = max((len(printable(finding.subject)) for finding in findings), default=0)
    indent = " " * (subject_width + 8)
    for verdict in reversed(_WORST):
        for finding in findings:
            if finding.verdict is verdict:
                start = f"{verdict.upper():<6}{printable(finding.subject):<{subject_width}}  "
                yield from _wrap(finding.found, start, indent)
                if finding.advice:
                    yield from _wrap(finding.advice, f"{indent}-> ", f"{indent}   ")
    counts = Counter(finding.verdict for finding in findings)
    yield ""
    yield f"{_count(counts[Verdict.FAIL], 'failure')}, {_count(counts[Verdict.WARN], 'warning')}"


def _wrap(text: str, first: str, others: str) -> Iterator[str]:
    # Commands and paths are copied from here: none may be broken.
    yield from textwrap.wrap(
        printable(text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _worst(findings: Sequence[Finding]) -> Verdict:
    verdicts = {finding.verdict for finding in findings}
    return next((verdict for verdict in _WORST if verdict in verdicts), Verdict.OK)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
