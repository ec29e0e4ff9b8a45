"""The programs that container runtimes execute, in a directory of their own."""

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pylxcfs.errors import StartupError
from pylxcfs.procfiles.binds import DEFAULT_MOUNT_POINT

DEFAULT_DIRECTORY: Final = Path("/usr/libexec/pylxcfs")
#: Where configuration files of runtimes are kept as they were before they were told of these programs.
DEFAULT_STATE: Final = Path("/var/lib/pylxcfs/runtime")
#: For docker and containerd, which start runc by default.
WRAPPER: Final = "pylxcfs-runtime"
#: For podman, which starts crun by default.
CRUN_WRAPPER: Final = "pylxcfs-crun"
HOOK: Final = "pylxcfs-hook"
_EDITOR: Final = "wrapper.py"
_HERE: Final = Path(__file__).parent
_PACKAGES: Final = _HERE.parents[1]
_ALL: Final = (WRAPPER, CRUN_WRAPPER, HOOK, _EDITOR)


@dataclass(frozen=True, slots=True)
class Options:
    """What the programs do when a runtime's configuration tells them nothing else."""

    mount_point: str = DEFAULT_MOUNT_POINT
    #: The real runtime; empty for runc, or crun, whichever PATH has.
    runc: str = ""
    #: Only containers that ask for the files get them.
    opt_in: bool = False
    #: Runs wrapper and hook.
    python: str = sys.executable


def install_programs(directory: Path, options: Options) -> None:
    """Write the wrapper and the hook into `directory`; each file is replaced as a whole. Raises OSError.

    Runtimes execute them as root: StartupError where somebody else may write there.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StartupError(f"{directory}: others than root may write there; nothing is installed")
    values = {
        "PYTHON": options.python,
        "PACKAGES": os.fspath(_PACKAGES),
        "MOUNT_POINT": options.mount_point,
        "RUNC": options.runc,
        "OPT_IN": "--opt-in" if options.opt_in else "",
    }
    for name, source in ((WRAPPER, WRAPPER), (CRUN_WRAPPER, WRAPPER), (HOOK, HOOK), (_EDITOR, _EDITOR)):
        text = (_HERE / source).read_text()
        for mark, value in values.items():
            text = text.replace(f"'@{mark}@'", shlex.quote(value))
        new = directory / f".{name}.new"
        new.write_text(text)
        new.chmod(0o644 if name == _EDITOR else 0o755)
        new.replace(directory / name)


def remove_programs(directory: Path) -> None:
    """Remove what `install_programs` has written, and the directory if nothing else is in it."""
    for name in _ALL:
        (directory / name).unlink(missing_ok=True)
    if directory.is_dir() and not any(directory.iterdir()):
        shutil.rmtree(directory)
