"""Names that containers choose, made to look like lines of the kernel's files, or of what root is shown."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container, container
from tests.support.daemon import REPOSITORY, Daemon, file_system_name
from tests.support.hostile_names import HOSTILE_NAMES, is_harmless
from tests.support.operator import CTL
from tests.support.readings import meminfo
from tests.support.waiting import wait_for

MakeContainer = Callable[..., Container]

#: Names itself, and reads.
_READER: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
print(os.getpid(), open("/proc/loadavg").read())
"""


@pytest.mark.parametrize("end", ["\r", "\f", "\x85"])
def test_cgroup_name(make_cgroup: Callable[..., Cgroup], make_container: MakeContainer, end: str) -> None:
    """A container that calls a cgroup like a line about another container's sees its own memory."""
    victim = make_cgroup(Limits(memory=300 * MIB))
    container = make_container(Limits(memory=100 * MIB))
    outer = make_cgroup(Limits(), parent=container.group, name=f"evil{end}9:memory:")
    evil = make_cgroup(Limits(), parent=outer, name=victim.name)
    text = container.run("cat", "/proc/meminfo", group=evil)
    assert 100 * MIB == meminfo(text)["MemTotal"] * 1024


@pytest.mark.parametrize("name", ["x\rNSpid:\tx", "x\rNSpid:\t9\t9"])
def test_command_name(make_container: MakeContainer, name: str) -> None:
    """A process that calls itself like a line of its status does no harm to its container's files."""
    container = make_container(Limits())
    pid, *_averages, last_pid = container.run(sys.executable, "-ISc", _READER, name).split()
    assert pid == last_pid


#: Binds a file of ours on files of these names, in a file system over one of /proc's directories.
_BIND_EVERYWHERE: Final = """
import os, subprocess, sys
served, *names = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "none", "/proc/tty"], check=True)
for name in names:
    path = "/proc/tty/" + name
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").close()
    subprocess.run(["mount", "--bind", served, path], check=True)
print("bound")
"""
_COMMANDS: Final = (
    ("reattach", "--dry-run"),
    ("reattach",),
    ("detach", "--dry-run"),
    ("detach", "--container", HOSTILE_NAMES[0]),
    ("doctor",),
    ("status",),
    ("detach",),
)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_what_root_is_shown(
    new_directory: Callable[[str], Path],
    start_daemon: Callable[..., Daemon],
    make_cgroup: Callable[..., Cgroup],
    encoding: str,
) -> None:
    """No command and no log line shows a name of a container's choice as it is, or ends because of it."""
    mount_point = new_directory("mount")
    group = make_cgroup(Limits(), name="\x1b[31m\u202e\udcff\x9b31m")
    daemon = start_daemon(mount_point=mount_point)
    with container(daemon.proc, group, ("meminfo",)) as evil:
        names = [name.replace("/", "_") for name in HOSTILE_NAMES]
        command = (sys.executable, "-ISc", _BIND_EVERYWHERE, str(daemon.proc / "meminfo"), *names)
        assert evil.run(*command) == "bound\n"
        daemon.kill()
        after = start_daemon(mount_point=mount_point)
        wait_for("it has looked at binds", lambda: "binds: " in after.log, alive=after.running)
        shown = after.log
        for number, (name, *options) in enumerate(_COMMANDS):
            runtime = mount_point.with_name(mount_point.name + ".run")
            where = ["--runtime-dir", str(runtime)]
            if name != "status":
                where += ["--mount-point", str(mount_point), "--fsname", file_system_name(mount_point)]
            done = subprocess.run(
                [*CTL, name, *where, *options],
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONIOENCODING": encoding},
                check=False,
                capture_output=True,
            )
            assert b"Traceback" not in done.stderr, (number, done.stderr)
            assert done.stdout or done.stderr
            shown += (done.stdout + done.stderr).decode(encoding)
        assert "\\x1b[2J" in shown
        assert [] == [line for line in shown.split("\n") if not is_harmless(line)]
        # One line each, and none that a name has made.
        assert not any(line.startswith("forged") for line in shown.split("\n"))
