"""``pylxcfsctl explain``: where each number that a process would read comes from; needs no mount."""

import argparse
from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from pylxcfs.config import ViewConfig
from pylxcfs.console import write_lines
from pylxcfs.ctl.output import align, print_json
from pylxcfs.ctl.show import PROC, SYS, add_selection, check_file, find_file
from pylxcfs.ctl.whose import asked_process

if TYPE_CHECKING:
    from pylxcfs.content.explanation import Bound, Explanation, FieldExplanation, TermValue
    from pylxcfs.content.memory_inputs import Input

_WIDTH: Final = 80
_INDENT: Final = "    "
_HOLDS: Final = "<- holds"
#: How many lines of one kernel file are printed; ``--json`` has them all.
_MOST_LINES: Final = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_selection(parser)
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument(
        "field", metavar="FIELD", nargs="?", help="one field, for example MemAvailable or cpu0 (default: all)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Explain a file or one of its fields; raises LookupError or OSError for what is not there."""
    # Late: -h and usage errors should not wait for them.
    from pylxcfs.content.engine import assemble  # noqa: PLC0415
    from pylxcfs.content.explanation import explain  # noqa: PLC0415
    from pylxcfs.content.recording import Log, recording_files, recording_host  # noqa: PLC0415

    check_file(arguments)
    log: Log = []
    with asked_process(arguments) as pid:
        engine = assemble(
            ViewConfig(cache_ttl_seconds=0),
            PROC,
            SYS,
            make_files=recording_files(log),
            make_host=recording_host(log),
        )
        explanation = explain(engine, log, find_file(arguments, engine.files), pid)
    chosen = _choose(explanation, arguments.field)
    if arguments.json:
        print_json(as_document(explanation, chosen))
    else:
        write_lines(lines(explanation, chosen))
    return 0


def _choose(explanation: "Explanation", name: str | None) -> "list[FieldExplanation]":
    """Return the fields that an operator means: by their name, or all that begin with that word."""
    if name is None:
        return list(explanation.fields)
    exact = [field for field in explanation.fields if field.name.lower() == name.lower()]
    chosen = exact or [
        field for field in explanation.fields if f"{field.name} ".lower().startswith(f"{name} ".lower())
    ]
    if not chosen:
        known = ", ".join(dict.fromkeys(field.name for field in explanation.fields))
        raise LookupError(f"/{explanation.file.path} has no field {name} (it has: {known})")
    return chosen


def as_document(explanation: "Explanation", chosen: "list[FieldExplanation]") -> dict[str, Any]:
    """Return what ``--json`` prints: docs/troubleshooting.md describes it."""
    container = explanation.container
    return {
        "file": explanation.file.path,
        "pid": explanation.pid,
        "container": None
        if container is None
        else {"init": container.init_pid, "cgroups": dict(container.paths)},
        "fallback": explanation.fallback,
        "fields": [_field_document(field) for field in chosen],
    }


def _field_document(field: "FieldExplanation") -> dict[str, Any]:
    return {
        "name": field.name,
        "value": field.shown,
        "host": field.host,
        "rule": field.field.rule.value,
        "words": field.field.words,
        "formula": field.field.formula,
        "terms": [
            {
                "name": each.term.name,
                "words": each.term.words,
                "formula": each.term.formula,
                "value": each.value,
            }
            for each in field.terms
        ],
        "inputs": [
            {
                "name": each.name,
                "value": each.value,
                "origin": each.origin,
                "lines": [line._asdict() for line in each.lines],
            }
            for each in field.inputs
        ],
        "bounds": [
            {"name": each.name, "cgroup": each.cgroup, "value": each.value, "won": each.won}
            for each in field.bounds
        ],
        "files": [
            {"path": each.path, "content": each.text.decode(errors="replace")} for each in field.readings
        ],
    }


def lines(explanation: "Explanation", chosen: "list[FieldExplanation]") -> Iterator[str]:
    """Yield what people read, at most 80 columns wide where no path or content is longer."""
    yield f"/{explanation.file.path} as process {explanation.pid} reads it"
    if explanation.container is not None:
        cgroups = dict.fromkeys(path for _, path in explanation.container.paths)
        yield from (f"  in the cgroup {path}" for path in cgroups if path != "/")
    if explanation.fallback:
        yield from _wrapped(f"! {explanation.fallback}", "  ")
    for field in chosen:
        yield ""
        yield from _field_lines(field)


def _field_lines(field: "FieldExplanation") -> Iterator[str]:
    start = f"{field.name}: {_short(field.shown)}"
    yield f"{start}  {field.field.rule.value:>{max(1, _WIDTH - len(start) - 2)}}"
    yield from _wrapped(field.field.words, _INDENT)
    if field.field.formula:
        yield from _wrapped(f"= {field.field.formula}", _INDENT)
    yield from _term_lines(field.terms)
    yield from _input_lines(field.inputs)
    yield from _bound_lines(field.bounds)
    for reading in field.readings:
        yield f"{_INDENT}{reading.path}"
        yield from _content(reading.text.decode(errors="replace").split("\n"))
    if field.host is not None:
        yield f"{_INDENT}the host says: {_short(field.host)}"


def _term_lines(terms: "tuple[TermValue, ...]") -> Iterator[str]:
    if terms:
        yield f"{_INDENT}where, in bytes:"
        rows = [
            (f"{_INDENT}  {each.term.name}", "no limit" if each.value is None else str(each.value))
            for each in terms
        ]
        for row, each in zip(align(rows, right={1}), terms, strict=True):
            first, *more = wrap(f"= {each.term.formula}", max(30, _WIDTH - len(row) - 2)) or [""]
            yield f"{row}  {first}"
            yield from (" " * (len(row) + 4) + rest for rest in more)


def _input_lines(inputs: "tuple[Input, ...]") -> Iterator[str]:
    told = [each for each in inputs if (each.lines or each.origin) and each.value != []]
    if told:
        yield f"{_INDENT}from the kernel:"
    for each in told:
        value = "" if isinstance(each.value, list) else f" {'no limit' if each.value is None else each.value}"
        yield from _wrapped(f"{each.name}{value} = {each.origin}", f"{_INDENT}  ")
        paths = dict.fromkeys(line.path for line in each.lines)
        for path in paths:
            yield f"{_INDENT}    {path}"
            yield from (f"{_INDENT}      {line.text}" for line in each.lines if line.path == path)


def _bound_lines(bounds: "tuple[Bound, ...]") -> Iterator[str]:
    if bounds:
        yield f"{_INDENT}limits, the least of which holds:"
        rows = [
            (
                f"{_INDENT}  {each.name}",
                f"{each.value:.10g}",
                each.cgroup or "/",
                "<- holds" if each.won else "",
            )
            for each in bounds
        ]
        yield from align(rows, right={1})


def _content(text: list[str]) -> Iterator[str]:
    told = [line for line in text if line]
    for line in told[:_MOST_LINES]:
        yield f"{_INDENT}  {_short(line)}"
    if len(told) > _MOST_LINES:
        yield f"{_INDENT}  ... {len(told) - _MOST_LINES} more lines (--json has them)"


def _short(text: str) -> str:
    most = _WIDTH - len(_INDENT) - 16
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def _wrapped(text: str, indent: str) -> Iterator[str]:
    return iter(
        wrap(
            text,
            _WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
