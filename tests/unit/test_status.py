"""What pylxcfsctl status prints."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pylxcfs import __version__
from pylxcfs.ctl.doctor import as_document as doctor_document
from pylxcfs.ctl.output import duration, mebibytes, moment, short_time
from pylxcfs.ctl.status import as_document, lines
from pylxcfs.diagnosis.finding import Finding, Verdict
from pylxcfs.rundir.supervisor_state import Reload, Replacement, Reserve, RunState
from pylxcfs.status.document import FallbackStatus, FileStatus, ServerStatus
from pylxcfs.status.report import ProcessStatus, RunStatus

_NOW = 1_800_000_000.0
_DOCUMENT = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
_SUPERVISOR = ProcessStatus(10, "sleeping", _NOW - 100_000, 16 << 20, 0.5)
_SERVER = ServerStatus(
    version=__version__,
    pid=11,
    generation=8,
    began_at=_NOW - 65,
    containers=12,
    open_files=3,
    requests={"OPEN": 1400, "READ": 2800},
    files={"proc/meminfo": FileStatus(1400, 1050, 1e-4, 9e-5, 2e-3, 1.5), "proc/stat": FileStatus()},
    fallbacks=(FallbackStatus("proc/diskstats", "ControllerUnavailable", 2),),
    unresolved=1,
    guessed=7,
    refused={"ENOENT": 4},
    failed=0,
    ledger_bytes=10_000,
    unkept_ledgers=3,
    lost_reads=7,
    followed_loads=5,
    estimated_loads=2,
)
_REPLACEMENTS = tuple(Replacement(_NOW - 60 * n, f"reason {n}", 0.21) for n in range(7, 0, -1))
_STATE = RunState(
    *(10, _NOW - 100_000, "/var/lib/lxcfs", "0:52", 11, 8),
    host_view=False,
    replaced=7,
    replacements=_REPLACEMENTS,
    program_version=__version__,
)
_STATUS = RunStatus(
    Path("/run"), _NOW, _SUPERVISOR, replace(_SUPERVISOR, pid=11, began_at=_NOW - 65), _STATE, _SERVER
)
_SILENT = replace(_STATUS, server=None, silence="the server did not answer within 2 s")


def _text(status: RunStatus) -> str:
    return "\n".join(lines(status))


def test_everything_is_told() -> None:
    """A running daemon's text has its processes, replacements and counts."""
    text = _text(_STATUS)
    assert f"pylxcfs {__version__} runs on /var/lib/lxcfs, up 1 d 3 h\n" in text
    assert "server      generation 8, pid 11, up 1 min 5 s, 16.0 MiB, 500 ms of CPU" in text
    assert "known: 12; open files: 3" in text
    assert "Since this server began to serve, 1 min 5 s ago:" in text
    assert re.search(r"^proc/meminfo +1,400 +75% +100 us +90 us +2 ms +1.5 s$", text, re.MULTILINE)
    assert "proc/stat" not in text
    assert "READ 2,800, OPEN 1,400" in text
    assert "proc/diskstats 2 (ControllerUnavailable)" in text
    assert "container was not found, and who saw the host: 1" in text
    assert "guessed     readers shown what is known of their container, for want of open files: 7" in text
    assert "not kept    CPU counters of 3 containers have no room in the runtime directory" in text
    assert "loads       followed: 5; 2 are estimates, as" in text
    assert "loads       followed: 5\n" in _text(replace(_STATUS, server=replace(_SERVER, estimated_loads=0)))
    assert "not kept    none" in _text(replace(_STATUS, server=replace(_SERVER, unkept_ledgers=0)))
    assert "BUT" not in text
    assert "MISSING" not in text
    assert "has changed nothing" not in text
    assert "Versions differ" not in text


def test_latest_replacements_first() -> None:
    """Of many replacements the latest are told, the very latest first."""
    reasons = re.findall(r"reason (\d)", _text(_STATUS))
    assert ["1", "2", "3", "4", "5"] == reasons
    assert "replaced    7 times; the latest:" in _text(_STATUS)
    assert "nobody served for 210 ms" in _text(_STATUS)


@pytest.mark.parametrize(
    "status,words",
    [
        (replace(_STATUS, supervisor=None, server=None), "pylxcfs does not run"),
        (_SILENT, "BUT the server did not answer within 2 s"),
        (
            replace(_SILENT, supervisor=replace(_SUPERVISOR, state="stopped")),
            "(supervisor stopped by a signal; SIGCONT continues)",
        ),
        (replace(_SILENT, server_process=None), "server      has gone"),
        (
            replace(_STATUS, server=replace(_SERVER, unresponsive_seconds=2.0)),
            "BUT its serving thread has hung",
        ),
        (replace(_STATUS, server=replace(_SERVER, host_view=True)), "because servers kept dying"),
        (
            replace(
                _STATUS,
                server=replace(_SERVER, host_view=True),
                state=_STATE._replace(host_view=True),
            ),
            "until the next SIGUSR2",
        ),
        (replace(_STATUS, state=_STATE._replace(replaced=0, replacements=())), "replaced    never"),
        (
            replace(_STATUS, server=replace(_SERVER, version="0.0.9")),
            f"Versions differ: the server is of 0.0.9, installed is {__version__}; pylxcfsctl reload renews",
        ),
        (
            replace(_STATUS, state=_STATE._replace(program_version="0.0.9")),
            f"Versions differ: the supervisor is of 0.0.9, installed is {__version__}; systemctl restart",
        ),
        (
            replace(_SILENT, state=_STATE._replace(trouble="was killed by SIGKILL", next_try_at=_NOW)),
            "BUT nobody serves: the last server was killed by SIGKILL; next try at ",
        ),
        (
            replace(_STATUS, state=_STATE._replace(reserve=Reserve(0, 0, "it ended with status 7"))),
            "reserve     MISSING: it ended with status 7; a try is under way\n",
        ),
        (
            replace(_STATUS, state=_STATE._replace(reload=Reload(_NOW - 9, _NOW - 8, "SyntaxError"))),
            "has changed nothing: SyntaxError",
        ),
        (replace(_STATUS, server=replace(_SERVER, files={})), "Nobody has read a file."),
        (replace(_STATUS, server=replace(_SERVER, failed=3)), "3 for a mistake in pylxcfs"),
        (replace(_STATUS, state=None), "runs, up 1 d 3 h"),
    ],
)
def test_what_is_unusual(status: RunStatus, words: str) -> None:
    """Whatever is not as it should be is said in words."""
    assert words in _text(status)


def _keys(document: Any, prefix: str = "") -> set[str]:  # noqa: ANN401 - JSON
    """Name all keys, those that are files, opcodes and errnos as such."""
    if isinstance(document, dict):
        found = set()
        for key, value in document.items():
            named = re.sub(r"^(proc|sys)/.*|^E?[A-Z]{4,}$", "NAME", key)
            found |= {prefix + named} | _keys(value, f"{prefix}{named}.")
        return found
    return (
        set[str]().union(*(_keys(each, prefix) for each in document)) if isinstance(document, list) else set()
    )


def test_documented() -> None:
    """Each key of both documents has its line in docs/troubleshooting.md, and nothing else has one."""
    documented = set(re.findall(r"^\| `([a-zA-Z0-9_.]+)` \|", _DOCUMENT.read_text(), re.MULTILINE))
    status = as_document(_STATUS)
    status["server"]["fallbacks"] = list(status["server"]["fallbacks"])
    doctor = doctor_document([Finding("mount", Verdict.OK, "answers")])
    assert _keys(status) | _keys(doctor) == documented


def test_document_of_nothing() -> None:
    """Of a daemon that does not run the document has the same keys at the top."""
    nothing = as_document(RunStatus(Path("/run"), _NOW, silence="pylxcfs does not run"))
    assert as_document(_STATUS).keys() == nothing.keys()
    assert (False, None) == (nothing["running"], nothing["server"])


@pytest.mark.parametrize(
    "seconds,text",
    [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3661, "1 h 1 min"), (90000, "1 d 1 h"), (-1, "0 s")],
)
def test_durations(seconds: float, text: str) -> None:
    """A time span has its two largest units."""
    assert text == duration(seconds)


@pytest.mark.parametrize(
    "seconds,text",
    [(0, "0 us"), (9e-5, "90 us"), (0.0021, "2.1 ms"), (0.21, "210 ms"), (1.5, "1.5 s"), (12345, "12345 s")],
)
def test_short_times(seconds: float, text: str) -> None:
    """A time has the unit that makes it short."""
    assert text == short_time(seconds)


def test_moments() -> None:
    """Another day is named."""
    assert re.fullmatch(r"\d\d:\d\d:\d\d", moment(_NOW, _NOW))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", moment(_NOW - 90_000, _NOW))
    assert "1.5 MiB" == mebibytes(3 << 19)
