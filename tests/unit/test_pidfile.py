"""The pid file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pylxcfs.errors import StartupError
from pylxcfs.rundir.pidfile import PidFile, holder

# The lock is the process's, so the other instance has to be a process.
_INSTANCE = """
import sys
from pathlib import Path
from pylxcfs.errors import StartupError
from pylxcfs.rundir.pidfile import PidFile
try:
    with PidFile(Path(sys.argv[1])):
        print("locked")
except StartupError as error:
    print(error)
"""


#: Where no file may have a single byte; SIGXFSZ is ignored by Python, so write(2) fails as on a full disk.
_NO_ROOM = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n" + _INSTANCE

_HOLDER = """
import sys
from pathlib import Path
from pylxcfs.rundir.pidfile import holder
print(holder(Path(sys.argv[1])))
"""


def run_instance(path: Path) -> str:
    """Let another process take the pid file and leave; return what it said."""
    result = subprocess.run(
        [sys.executable, "-c", _INSTANCE, path], stdout=subprocess.PIPE, text=True, check=True
    )
    return result.stdout.strip()


def test_holds_our_pid_and_goes(tmp_path: Path) -> None:
    """Inside the block the file names us; after it there is none."""
    path = tmp_path / "x.pid"
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_stale_file_is_taken_over(tmp_path: Path) -> None:
    """A file that nobody locks is left over from a crash, and is written anew."""
    path = tmp_path / "x.pid"
    path.write_text("99999999999\n")
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_second_instance_leaves_the_file_alone(tmp_path: Path) -> None:
    """Another instance says who has the lock, and neither writes nor removes the file."""
    path = tmp_path / "x.pid"
    with PidFile(path):
        inode = path.stat().st_ino
        assert run_instance(path) == f"pid file {path} is already locked by pid {os.getpid()}"
        assert (path.stat().st_ino, path.read_text()) == (inode, f"{os.getpid()}\n")
    assert run_instance(path) == "locked"


def test_replaced_file_is_not_removed(tmp_path: Path) -> None:
    """A file that somebody else put there meanwhile stays."""
    path = tmp_path / "x.pid"
    with PidFile(path):
        path.unlink()
        path.write_text("1\n")
    assert path.read_text() == "1\n"


def test_rewritten_file_is_not_removed(tmp_path: Path) -> None:
    """A file that names another process is not ours to remove."""
    path = tmp_path / "x.pid"
    other = f"{os.getpid() + 1}\n"
    with PidFile(path):
        path.write_text(other)
    assert other == path.read_text()


def test_removed_file_is_no_error(tmp_path: Path) -> None:
    """An operator may have removed the file."""
    path = tmp_path / "x.pid"
    with PidFile(path):
        path.unlink()
    assert not path.exists()


def test_directory_that_is_missing(tmp_path: Path) -> None:
    """A file that cannot be made is a startup error with the kernel's words."""
    with pytest.raises(StartupError, match="No such file or directory"), PidFile(tmp_path / "a" / "x.pid"):
        pass


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """A link in a directory of others must not make us overwrite its target."""
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "x.pid").symlink_to(target)
    with pytest.raises(StartupError), PidFile(tmp_path / "x.pid"):
        pass
    assert target.read_text() == "precious"


def test_who_holds_it(tmp_path: Path) -> None:
    """Another process is told who has the lock, and that nobody has it."""
    path = tmp_path / "x.pid"
    ask = [sys.executable, "-c", _HOLDER, path]
    with PidFile(path):
        assert f"{os.getpid()}\n" == subprocess.check_output(list(map(str, ask)), text=True)
    path.touch()
    assert holder(path) is None


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    """A file that cannot be written, as on a full disk, is not left behind empty."""
    path = tmp_path / "x.pid"
    done = subprocess.run(
        [sys.executable, "-c", _NO_ROOM, path], stdout=subprocess.PIPE, text=True, check=True
    )
    assert "cannot write pid file" in done.stdout
    assert not path.exists()
