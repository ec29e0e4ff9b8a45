"""What the daemon keeps in the runtime directory is its own."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from pylxcfs.errors import StartupError
from pylxcfs.reattach.detached import DetachedFile
from pylxcfs.rundir.files import make_state_directory
from tests.support.cgroups import Limits
from tests.support.container import Container
from tests.support.daemon import Daemon, pylxcfs_command, run_to_end
from tests.support.waiting import wait_for

StartDaemon = Callable[..., Daemon]

NOBODY: Final = 65534
_WITHOUT_UMASK: Final = ("sh", "-c", 'umask 0; exec "$@"', "sh")
#: Reads in pieces, so that a pass is kept for the next server, until its input ends.
_IN_PIECES: Final = """
import os, sys
fd = os.open("/proc/stat", os.O_RDONLY)
os.read(fd, 10)
print("begun", flush=True)
sys.stdin.read()
"""
_EXPECTED: Final = {
    ".": 0o755,
    "supervisor.json": 0o644,
    "lock": 0o644,
    "load.json": 0o600,
    "ledgers": 0o600,
    "status.socket": 0o600,
    "binds.json": 0o600,
    "passes": 0o700,
    "a pass": 0o600,
}


def test_modes(start_daemon: StartDaemon, make_container: Callable[..., Container]) -> None:
    """Nobody else may change a file, or read what is about containers, also without any umask."""
    daemon = start_daemon(within=_WITHOUT_UMASK)
    state = daemon.pidfile.parent / "pylxcfs"
    container = make_container(Limits(), served=daemon.proc)
    reader = container.start(sys.executable, "-ISc", _IN_PIECES)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "begun\n"
    container.read("loadavg")
    for name in ("load.json", "binds.json"):
        wait_for(f"{name} is written", (state / name).exists)
    modes = {}
    for path in (state, *state.rglob("*")):
        name = "a pass" if path.parent.name == "passes" else os.fspath(path.relative_to(state))
        modes[name] = stat.S_IMODE(path.lstat().st_mode)
        assert (path.lstat().st_uid, path.lstat().st_gid) == (0, 0)
    assert modes == _EXPECTED
    assert stat.S_IMODE(daemon.pidfile.stat().st_mode) == 0o644
    reader.communicate()


def _others(directory: Path) -> None:
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)


def _everybodys(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)


def _link(directory: Path) -> None:
    directory.symlink_to(directory.parent)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("plant", [_others, _everybodys, _link])
def test_directory_of_somebody_else(
    new_directory: Callable[[str], Path], plant: Callable[[Path], None]
) -> None:
    """A state directory that others can change is refused before anything is mounted or written."""
    runtime, mount_point = new_directory("run"), new_directory("mount")
    plant(runtime / "pylxcfs")
    before = sorted(runtime.rglob("*"))
    end = run_to_end(pylxcfs_command("--runtime-dir", runtime, mount_point))
    assert end.code == 1
    (line,) = end.lines
    assert line.startswith(f"pylxcfs: {runtime / 'pylxcfs'} ")
    assert sorted(runtime.rglob("*")) == before
    assert not mount_point.is_mount()
    with pytest.raises(StartupError, match="pylxcfs"), DetachedFile(runtime / "pylxcfs", "boot").locked():
        pass


@pytest.mark.parametrize("planted", ["load.json", "load.json.new", "supervisor.json.new", "ledgers"])
def test_links_are_not_followed(
    start_daemon: StartDaemon,
    make_container: Callable[..., Container],
    new_directory: Callable[[str], Path],
    planted: str,
) -> None:
    """A link in the place of a file of ours is not followed."""
    mount_point = new_directory("mount")
    state = mount_point.with_name(mount_point.name + ".run") / "pylxcfs"
    state.parent.mkdir()
    make_state_directory(state)
    victim = mount_point.with_name(mount_point.name + ".victim")
    victim.write_text("secret")
    (state / planted).symlink_to(victim)
    daemon = start_daemon(mount_point=mount_point)
    container = make_container(Limits(), served=daemon.proc)
    container.read("loadavg")
    container.read("stat")
    daemon.stop()
    assert victim.read_text() == "secret"
