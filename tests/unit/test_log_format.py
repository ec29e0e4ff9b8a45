"""How the log looks to people, and to systemd's journal."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_PROGRAM: Final = """
import logging
from pylxcfs.console import complain, set_up_logging
set_up_logging("DEBUG")
log = logging.getLogger("pylxcfs.x")
log.debug("one")
log.info("two %d", 2)
log.warning("three\\nlines")
try:
    raise ValueError("five")
except ValueError:
    log.exception("four")
complain("pylxcfs", "six")
"""
_FOR_PEOPLE: Final = [
    "pylxcfs: debug: one",
    "pylxcfs: two 2",
    "pylxcfs: warning: three\\nlines",
    "pylxcfs: error: four",
    "pylxcfs: six",
]
_FOR_JOURNAL: Final = ["<7>one", "<6>two 2", "<4>three\\nlines", "<3>four", "<3>six"]


def _log(directory: Path, stream: str | None) -> list[str]:
    """Return what is logged to a file when the journal is said to read the file `stream`."""
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    with (directory / "log").open("w+") as log:
        status = os.fstat(log.fileno())
        if stream is not None:
            environment["JOURNAL_STREAM"] = stream.format(dev=status.st_dev, ino=status.st_ino)
        subprocess.run([sys.executable, "-c", _PROGRAM], check=True, stderr=log, env=environment)
        log.seek(0)
        return log.read().splitlines()


@pytest.mark.parametrize("stream", [None, "", "{dev}:1", "1:{ino}", "{dev}:{ino}:", "x"])
def test_for_people(tmp_path: Path, stream: str | None) -> None:
    """Where the journal does not read it, lines have the program's name, and the level if it is unusual."""
    lines = [line for line in _log(tmp_path, stream) if not line.startswith("  ")]
    assert _FOR_PEOPLE == lines


def test_for_the_journal(tmp_path: Path) -> None:
    """The journal is told each line's priority, those of a traceback too, and adds the name itself."""
    lines = _log(tmp_path, "{dev}:{ino}")
    assert all(line.startswith("<") for line in lines)
    traceback = [line for line in lines if line not in _FOR_JOURNAL]
    assert _FOR_JOURNAL == [line for line in lines if line in _FOR_JOURNAL]
    assert ("<3>Traceback (most recent call last):", "<3>ValueError: five") == (traceback[0], traceback[-1])
