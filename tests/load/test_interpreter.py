"""The interpreter is away for a moment, as while it is upgraded."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.support.daemon import pylxcfs
from tests.support.session import Session
from tests.support.waiting import wait_for

#: In place of the interpreter that the command begins with.
_EXEC = 'python=$1; shift 2; exec "$python" "$@"'


def _environment(directory: Path) -> Path:
    """Make a second name for this environment's interpreter, whose file can be taken away."""
    (directory / "lib").symlink_to(Path(sys.prefix) / "lib")
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", directory)
    (directory / "bin").mkdir()
    python = directory / "bin/python3"
    python.symlink_to(sys.executable)
    return python


def test_nobody_is_left(machine: Session, new_directory: Callable[[str], Path]) -> None:
    """Readers wait, and nothing is unmounted; as soon as a template can be started, they are answered."""
    del machine
    python = _environment(new_directory("environment"))
    within = ("sh", "-c", _EXEC, "sh", str(python))
    with pylxcfs(new_directory("mount"), within=within) as daemon:
        wait_for("all is in reserve", lambda: all(daemon.state["reserve"][:2]), alive=daemon.running)
        assert psutil.Process(daemon.server_pid).cmdline()[0] == str(python)
        away = python.rename(python.with_name("away"))
        for pid in (*daemon.state["reserve"][:2], daemon.server_pid):
            psutil.Process(pid).kill()
        with subprocess.Popen(["cat", daemon.proc / "uptime"], stdout=subprocess.PIPE, text=True) as reader:
            wait_for(
                "it is told",
                lambda: (
                    "Errno 2" in daemon.state["reserve"][2]
                    and "was killed by SIGKILL" == daemon.state["trouble"]
                ),
                alive=daemon.running,
            )
            assert reader.poll() is None
            away.rename(python)
            assert reader.communicate(timeout=120)[0].count(" ") == 1
        assert reader.returncode == 0
        wait_for("all is well", lambda: "" == daemon.state["trouble"], alive=daemon.running)
