"""Room for groups in the cgroup2 hierarchy, where a group has either processes or limited groups below it.

On a machine of our own that is its top. In a container's cgroup namespace the top is a group that holds the
container's processes, so they go into a leaf meanwhile. systemd's tree is systemd's: it is asked for a scope
with a subtree that it leaves alone (https://systemd.io/CGROUP_DELEGATION/), unless we are in one already.
"""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.support.cgroups.layout import LEAF, find_layout, unified_group
from tests.support.cgroups.v2 import enable_controllers
from tests.support.mounts import mounts
from tests.support.waiting import wait_for

#: sd_booted(3).
_SYSTEMD: Final = Path("/run/systemd/system")
#: What systemd marks a delegated group with; ``user.`` since v251, where the kernel has it.
_DELEGATED: Final = ("trusted.delegate", "user.delegate")

#: Where a group remembers which controllers the tests have enabled for those below it.
_ENABLED: Final = "trusted.pylxcfs-tests"


@contextmanager
def room_for_groups(token: str) -> Iterator[None]:
    """Let groups be made below the cgroup2 hierarchy's base (layout.py); put everything back at the end."""
    layout = find_layout()
    if layout.unified is None or not layout.has_v2_controllers:
        # Nothing is limited there.
        yield
        return
    own = _own_group()
    with ExitStack() as stack:
        if _SYSTEMD.is_dir() and (own is None or not (own.name == LEAF or _is_delegated(own))):
            own = stack.enter_context(_scope(token))
        if own is not None and own.name == LEAF:
            base = own.parent
        elif own is not None and _SYSTEMD.is_dir():
            base = own
        else:
            base = layout.unified.top
        stack.enter_context(_opened(base))
        yield


def _own_group() -> Path | None:
    return unified_group(next(mount for mount in mounts() if mount.fs_type == "cgroup2"))


def _is_delegated(group: Path) -> bool:
    for name in _DELEGATED:
        with suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return False


@contextmanager
def _scope(token: str) -> Iterator[Path]:
    """Have systemd make a scope with a subtree of ours, and be in it ourselves meanwhile."""
    before = _own_group()
    options = ("--scope", "--quiet", "--collect", f"--unit={token}", "--property=Delegate=yes")
    with subprocess.Popen(["systemd-run", *options, "cat"], stdin=subprocess.PIPE) as keeper:
        try:
            wait_for(
                "systemd makes a scope",
                lambda: f"/{token}.scope" in Path(f"/proc/{keeper.pid}/cgroup").read_text(),
                alive=lambda: keeper.poll() is None,
            )
            path = Path(f"/proc/{keeper.pid}/cgroup").read_text().rpartition("0::")[2].strip()
            assert before is not None
            unified = find_layout().unified
            assert unified is not None
            scope = unified.top / path.lstrip("/")
            (scope / "cgroup.procs").write_text(str(os.getpid()))
            yield scope
            (before / "cgroup.procs").write_text(str(os.getpid()))
        finally:
            # It ends with its input, and the scope with it.
            keeper.communicate()


@contextmanager
def _opened(base: Path) -> Iterator[None]:
    """Have no process in `base`, unless it is the root, and let groups below it have its controllers.

    Several runs of the tests may share it; the last one puts back what any of them has changed.
    """
    lock = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if (base / "cgroup.type").exists() and (base / "cgroup.procs").read_text():
            (base / LEAF).mkdir(exist_ok=True)
            _move_all(base, base / LEAF)
        if new := enable_controllers(base):
            os.setxattr(base, _ENABLED, " ".join(new).encode())
        yield
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _put_back(base)
    finally:
        os.close(lock)


def _put_back(base: Path) -> None:
    with suppress(OSError):
        for controller in os.getxattr(base, _ENABLED).decode().split():
            (base / "cgroup.subtree_control").write_text(f"-{controller}")
        os.removexattr(base, _ENABLED)
    if (base / LEAF).exists():
        _move_all(base / LEAF, base)
        (base / LEAF).rmdir()


def _move_all(here: Path, there: Path) -> None:
    def moved() -> bool:
        pids = (here / "cgroup.procs").read_text().split()
        for pid in pids:
            with suppress(ProcessLookupError):
                (there / "cgroup.procs").write_text(pid)
        return not pids

    wait_for(f"{here} is empty", moved)
