"""What a supervisor takes from the one before it."""

import json
from pathlib import Path
from typing import Final

import pytest

from pylxcfs.rundir.supervisor_state import Reload, Replacement, Reserve, RunState, StateFile

_STATE: Final = RunState(
    *(1, 2.0, "/x", "0:50", 99, 3),
    host_view=False,
    replaced=1,
    replacements=(Replacement(1.0, "why", 0.1),),
    reload=Reload(5.0, 6.0, "why not"),
    reserve=Reserve(7, 8, "nothing"),
    trouble="was killed",
    next_try_at=9.5,
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """All of it."""
    file = StateFile(tmp_path)
    file.write(_STATE)
    assert _STATE == file.read()


@pytest.mark.parametrize(
    "name,value",
    [
        ("generation", -2),
        ("generation", 1 << 63),
        ("generation", True),
        ("generation", 3.0),
        ("server_pid", None),
        ("started_at", float("nan")),
        ("started_at", float("inf")),
        pytest.param("started_at", 10**400, id="huge"),
        ("started_at", "2"),
        ("replacements", [[1.0, "why", -0.1]]),
        ("replacements", 7),
        ("reload", [1.0, -1.0, ""]),
        ("reload", [1.0, 2.0, "", 3]),
        ("reserve", [-1, 0, ""]),
        ("reserve", [1, 2, 3]),
        ("trouble", 1),
        ("next_try_at", -0.5),
        ("version", 2),
    ],
)
def test_what_cannot_be_is_nothing(tmp_path: Path, name: str, value: object) -> None:
    """A number that counts nothing, or a value of another type, makes all of it unknown."""
    file = StateFile(tmp_path)
    file.write(_STATE)
    path = tmp_path / "supervisor.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    assert file.read() is None


def test_what_an_earlier_version_wrote_is_read(tmp_path: Path) -> None:
    """What it did not tell is as if nothing had happened."""
    file = StateFile(tmp_path)
    file.write(_STATE)
    path = tmp_path / "supervisor.json"
    later = {"reload", "reserve", "trouble", "next_try_at"}
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: content[name] for name in content.keys() - later}))
    assert _STATE._replace(reload=Reload(), reserve=Reserve(), trouble="", next_try_at=0.0) == file.read()
