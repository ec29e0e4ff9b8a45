"""A container without a runtime: cgroups, own pid and mount namespaces, a fresh /proc with files over it."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from tests.support.cgroups import Cgroup, find_layout
from tests.support.invariants import CPU_LISTS, PASS
from tests.support.readings import named_texts
from tests.support.waiting import wait_for

FILES: Final = ("cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime")

#: Where a mount has the CPU tree, and the kernel its own.
CPU_TREE: Final = "sys/devices/system/cpu"

_JOIN: Final = """
set -e
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done
shift
exec "$@"
"""
_BIND: Final = """
set -e
served=$1; shift
while [ "$1" != -- ]; do mount --bind "$served/$1" "/proc/$1"; shift; done
shift
"""
#: Ends with its standard input, so never outlives the tests.
_INIT: Final = _BIND + "echo ready; exec cat"
_EXEC: Final = _BIND + 'exec "$@"'
_UNSHARE: Final = ("unshare", "--pid", "--mount", "--net", "--fork", "--kill-child", "--mount-proc")


def pass_paths(cpu_tree: str) -> list[str]:
    """Name what one pass reads, the CPU lists below `cpu_tree`."""
    return [f"{cpu_tree}/{name}" if name in CPU_LISTS else f"/proc/{name}" for name in PASS]


def pass_command(cpu_tree: str) -> list[str]:
    """Spell a command that prints what `named_texts` understands."""
    return ["tail", "-v", "-n", "+1", *pass_paths(cpu_tree)]


def joining(directories: Sequence[Path], *argv: str) -> list[str]:
    """Turn `argv` into a command that first moves itself into these cgroups."""
    return ["sh", "-c", _JOIN, "join", *map(str, directories), "--", *argv]


def run_on_host(*argv: str, group: Cgroup | None = None, user: int | None = None) -> str:
    """Run a command in the host's namespaces, in `group` or else in the root cgroups."""
    directories = find_layout().tops if group is None else group.directories
    switch = () if user is None else ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
    command = joining(directories, *switch, *argv)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def run_once(served: Path, group: Cgroup, *argv: str) -> str:
    """Run one command as the init of a new container, and so end the container with it."""
    command = joining(
        group.directories, *_UNSHARE, "sh", "-c", _EXEC, "exec", str(served), *FILES, "--", *argv
    )
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class Container:
    """A running container; commands are run inside it."""

    def __init__(self, outer: psutil.Popen, group: Cgroup, served: Path) -> None:
        """Describe the container whose init is the last descendant of `outer`, over the files of `served`."""
        self._outer = outer
        self.group = group
        self.served = served
        *_, init = outer.children(recursive=True)
        self.init_pid: int = init.pid

    def command(
        self, *argv: str, group: Cgroup | None = None, user: int | None = None, own_mounts: bool = False
    ) -> list[str]:
        """Turn `argv` into a command that runs inside, in the container's cgroup unless another is given."""
        switch = () if user is None else (f"--setuid={user}", f"--setgid={user}")
        unshare = ("unshare", "--mount") if own_mounts else ()
        enter = ("nsenter", f"--target={self.init_pid}", "--pid", "--mount", "--net")
        enter = (*enter, *switch, *unshare)
        return joining((group or self.group).directories, *enter, *argv)

    def run(
        self, *argv: str, group: Cgroup | None = None, user: int | None = None, own_mounts: bool = False
    ) -> str:
        """Run a command inside and return what it printed."""
        command = self.command(*argv, group=group, user=user, own_mounts=own_mounts)
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command inside that is talked to through pipes; it ends with the container."""
        return subprocess.Popen(
            self.command(*argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def read(self, file: str) -> str:
        """Read one file of the container's /proc from inside."""
        return self.run("cat", f"/proc/{file}")

    def read_pass(self) -> list[tuple[str, str]]:
        """Read inside, one after the other, what the invariants speak of."""
        return named_texts(self.run(*pass_command(f"{self.served.parent}/{CPU_TREE}")))

    @property
    def running(self) -> bool:
        """Tell whether the container's init is still there."""
        return self._outer.poll() is None

    def kill(self) -> None:
        """End the container's init, and with it everything in its pid namespace."""
        psutil.Process(self.init_pid).kill()
        self._outer.wait()


@contextmanager
def container(
    served: Path, group: Cgroup, files: Sequence[str] = FILES, *, within: Sequence[str] = ()
) -> Iterator[Container]:
    """Run a container in `group` whose /proc has `files` of `served` over it; `within` stands before it."""
    init = ("sh", "-c", _INIT, "init", str(served), *files, "--")
    command = joining(group.directories, *within, *_UNSHARE, *init)
    with psutil.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as outer:
        try:
            assert outer.stdout.readline() == "ready\n"
            yield Container(outer, group, served)
        finally:
            outer.stdin.close()
            outer.wait()
            wait_for("container's processes end", lambda: not outer.is_running())
