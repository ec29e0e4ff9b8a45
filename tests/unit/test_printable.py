"""Names that others have chosen reach no terminal and no log as they are."""

import ast
import io
import json
import logging
import sys
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pylxcfs
from pylxcfs.console import LogFormatter, OneLineParser, printable, write_lines
from pylxcfs.containers.name import Name
from pylxcfs.ctl import binds, doctor
from pylxcfs.ctl import status as status_command
from pylxcfs.ctl.cli import main
from pylxcfs.diagnosis.finding import Finding, Verdict
from pylxcfs.reattach.outcome import Action, Outcome
from pylxcfs.reattach.survey import State
from pylxcfs.rundir.supervisor_state import Replacement, RunState
from pylxcfs.status.document import FallbackStatus, ServerStatus
from pylxcfs.status.report import ProcessStatus, RunStatus
from tests.support.hostile_names import HOSTILE_NAMES, is_harmless

_PACKAGE: Final = Path(pylxcfs.__file__).parent
#: Whose standard output is data, or a pipe to another of our processes; the holder imports next to nothing.
_WRITERS: Final = {
    *("console", "ctl.cli", "ctl.show", "ctl.inject"),
    *("reattach.worker", "supervision.holder", "webhook.logs"),
}


@pytest.mark.parametrize(
    "name,expected",
    [
        ("meminfo", "meminfo"),
        ("größe \\ 大小", "größe \\ 大小"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b\u202e", "\\u009b\\u202e"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        (b"\xff\xc3\xa4\n", "\\xffä\\n"),
    ],
)
def test_printable(name: str | bytes, expected: str) -> None:
    """What can be seen stays; all else is named by its number, bytes that are no text by theirs."""
    assert printable(name) == expected


@given(st.text(st.characters(exclude_categories=())) | st.binary())
def test_printable_is_one_visible_line(name: str | bytes) -> None:
    """Whatever the name, the result is one line, can be encoded, and is not changed by a second call."""
    text = printable(name)
    assert is_harmless(text)
    text.encode()
    assert printable(text) == text


def test_long_names_are_cut() -> None:
    """A name fills no screen: of one that is too long, beginning and end are shown."""
    text = printable("a" * 5000 + "z", most=100)
    assert len(text) == 100
    assert text.startswith("aaa")
    assert text.endswith("aaz")


def outcome(name: str) -> Outcome:
    """Return a bind all of whose words somebody else has chosen."""
    return Outcome(Name(f"/{name}", name, ""), 42, f"/proc/{name}", State.DEAD, Action.LEFT, f"on {name}")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_table_of_binds(name: str) -> None:
    """No name makes a row of its own, or reaches the terminal as it is."""
    lines = list(binds.table([outcome(name), outcome("ordinary")]))
    assert len(lines) == 3
    assert all(is_harmless(line) for line in lines)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_doctor(name: str) -> None:
    """No name makes a finding of its own."""
    lines = list(doctor.lines([Finding(name, Verdict.WARN, f"found {name}", f"do {name}")]))
    assert all(is_harmless(line) for line in lines)
    assert [lines[0]] == [line for line in lines if line.startswith("WARN")]
    assert all(line.startswith(" ") for line in lines[1:-2])


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_status(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the server's document nor the supervisor's state can forge a line."""
    process = ProcessStatus(1, "sleeping", 0.0, 1, 0.0)
    server = ServerStatus(version=name, pid=1, fallbacks=(FallbackStatus(name, name, 1),), refused={name: 1})
    state = RunState(
        *(1, 0.0, name, name, 1, 1),
        host_view=False,
        replaced=1,
        replacements=(Replacement(0.0, name, 0.0),),
        program_version=name,
    )
    status = RunStatus(Path("/run"), 0.0, process, process, state, server)
    silent = RunStatus(Path(f"/run/{name}"), 0.0, process, None, state, None, name)
    for each in (status, silent):
        write_lines(status_command.lines(each))
        written = capsys.readouterr().out.removesuffix("\n").split("\n")
        assert all(is_harmless(line) for line in written)
        assert len(written) == len(list(status_command.lines(each)))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_log(name: str) -> None:
    """A log line is one line, whatever is told in it; a traceback's lines cannot be taken for others."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter("pylxcfs"))
    log = logging.Logger("pylxcfs.test")  # noqa: LOG001 - for this test alone
    log.addHandler(handler)
    log.warning("cannot use %s: %r", name, name)
    try:
        raise ValueError(f"{name}\npylxcfs: forged")
    except ValueError:
        log.exception("it failed")
    first, second, *traceback = stream.getvalue().removesuffix("\n").split("\n")
    assert first.startswith("pylxcfs: warning: cannot use ")
    assert second == "pylxcfs: error: it failed"
    assert all(is_harmless(line) for line in (first, second, *traceback))
    assert all(line.startswith("  ") for line in traceback)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("command", ["show", "reattach", "detach", "status", "doctor", "probe", "nonsense"])
def test_command_lines(command: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What an operator pastes into a command, and is refused, comes back as one harmless line."""
    arguments = {
        "show": ["--pid", name, "meminfo"],
        "reattach": ["--container", name, "--mount-point", f"/{name}"],
        "status": ["--runtime-dir", f"/{name}"],
        "probe": ["--mount-point", f"/{name}"],
    }.get(command, [f"--nonsense={name}"])
    try:
        assert main([command, *arguments]) != 0
    except SystemExit as end:
        assert end.code == 2  # noqa: PT017 - either way is one of refusing
    told = capsys.readouterr()
    lines = (told.out + told.err).removesuffix("\n").split("\n")
    assert len(lines) == 1
    assert is_harmless(lines[0])
    assert lines[0]


def test_parser_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """So do the arguments that a parser refuses."""
    with pytest.raises(SystemExit):
        OneLineParser(prog="x").parse_args(["\x1b[31m\n\udcff"])
    assert capsys.readouterr().err == "x: unrecognized arguments: \\x1b[31m\\n\\xff\n"


def test_json_is_ascii() -> None:
    """JSON for programs has every name in full, and escapes itself what is not ASCII."""
    for name in HOSTILE_NAMES:
        assert json.dumps(name).isascii()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that cannot show a character is no reason to end, least of all after something was done."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    monkeypatch.setattr(binds, "table", lambda _outcomes: ["größe\udcff 大小"])

    def run(_arguments: object) -> int:
        return binds.run_and_print(lambda: [outcome("大小")], as_json=False)

    monkeypatch.setattr("pylxcfs.ctl.detach.run", run)
    assert main(["detach"]) == 1
    assert written.getvalue().decode("ascii", "replace").startswith("gr")


def _writes(path: Path) -> bool:
    """Tell whether a module names ``print``, ``sys.stdout`` or ``sys.stderr``."""
    return any(
        (isinstance(node, ast.Name) and node.id == "print")
        or (
            isinstance(node, ast.Attribute)
            and node.attr in {"stdout", "stderr"}
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
        )
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_nobody_else_writes() -> None:
    """All that people read goes through the console, where names are made harmless."""
    names = {
        ".".join(path.relative_to(_PACKAGE).with_suffix("").parts)
        for path in _PACKAGE.rglob("*.py")
        if _writes(path)
    }
    assert set() == names - _WRITERS
