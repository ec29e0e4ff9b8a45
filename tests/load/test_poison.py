"""A request that kills whoever answers it is answered from the fallback, and nobody else notices."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.support.cgroups import MIB, Limits
from tests.support.container import Container
from tests.support.daemon import Daemon
from tests.support.reader import reader
from tests.support.readings import meminfo

#: Imported by every interpreter of the daemon: who renders meminfo for a container of 77 MiB ends, or hangs.
_POISON: Final = """
import os, sys, time
if "pylxcfs.server" in " ".join(sys.orig_argv):
    from pylxcfs.content.service import ContentService
    render = ContentService._render
    def poisoned(self, file, container):
        content = render(self, file, container)
        if file.path == "proc/meminfo" and b" 78848 kB" in content:
            {act}
        return content
    ContentService._render = poisoned
"""


@pytest.fixture
def poisoned(
    start_daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], Daemon]:
    """Start a daemon whose servers `act` at a certain request."""

    def start(act: str) -> Daemon:
        (tmp_path / "sitecustomize.py").write_text(_POISON.format(act=act))
        monkeypatch.setenv("PYTHONPATH", os.fspath(tmp_path))
        return start_daemon()

    return start


@pytest.mark.parametrize("act, deaths", [("os._exit(70)", 2), ("time.sleep(1000)", 2)], ids=["dies", "hangs"])
def test_poison(
    poisoned: Callable[[str], Daemon], make_container: Callable[..., Container], act: str, deaths: int
) -> None:
    """It costs two servers, whether they die or hang; its reader is answered, a neighbour reads on."""
    daemon = poisoned(act)
    neighbour = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    poisonous = make_container(Limits(memory=77 * MIB), served=daemon.proc)
    host = meminfo(Path("/proc/meminfo").read_text())["MemTotal"]
    with reader(neighbour) as reading:
        began = time.monotonic()
        assert host == meminfo(poisonous.read("meminfo"))["MemTotal"]
        seconds = time.monotonic() - began
        seen = reading.stop()
    assert (0, 1 + deaths) == (seen.wrong, daemon.state["generation"]), (seen.problems, daemon.log)
    assert "102400" == neighbour.read("meminfo").split()[1]
    print(f"{act}: answered after {seconds:.2f} s")  # noqa: T201 - a figure
    poisonous.kill()
    daemon.stop()
