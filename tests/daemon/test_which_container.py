"""Containers that have no runtime's id, and processes, by what an operator calls them."""

import argparse
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pylxcfs.ctl.whose import asked_process
from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container
from tests.support.namespaces import as_init
from tests.support.operator import CTL, Site
from tests.support.readings import meminfo
from tests.support.waiting import wait_for

MakeCgroup = Callable[..., Cgroup]
MakeContainer = Callable[..., Container]


def _mib(text: str) -> int:
    return meminfo(text)["MemTotal"] // 1024


def _show(*options: str) -> int:
    done = subprocess.run([*CTL, "show", *options, "meminfo"], check=True, stdout=subprocess.PIPE, text=True)
    return _mib(done.stdout)


@pytest.mark.parametrize("shape", ["lxc.payload.{}", "lxc/{}"])
def test_lxc(make_cgroup: MakeCgroup, make_container: MakeContainer, shape: str) -> None:
    """LXC and Incus name cgroups after their containers; a name that begins alike is another's."""
    top = make_cgroup(Limits())
    name = f"{top.name}-web"
    for mib, each in ((100, name), (200, f"{name}-2")):
        *above, last = shape.format(each).split("/")
        group = top
        for part in above:
            if mib == 100:
                lxc = make_cgroup(Limits(), parent=top, name=part)
            group = lxc
        make_container(make_cgroup(Limits(memory=mib * MIB), parent=group, name=last))
    assert [100, 200] == [_show("--container", word) for word in (name, f"{name}-2")]


def test_processes_and_cgroups(site: Site, make_bound: MakeContainer) -> None:
    """A process of the container, or a cgroup that it is in, are the container in every command."""
    container = make_bound(Limits(memory=100 * MIB), files=())
    make_bound(Limits(memory=200 * MIB), files=())
    words = (str(container.init_pid), f"/{container.group.name}", container.group.name)
    for word in words:
        assert 100 == _show("--container", word)
        assert "attached" == site.ctl("reattach", "--container", word).of("/proc/meminfo")[1]
        assert ("alive", "detached") == site.ctl("detach", "--container", word).of("/proc/meminfo")
    assert 100 == _show("--pid", str(container.init_pid))
    for command in ("reattach", "detach"):
        report = site.ctl(command, "--pid", str(os.getpid()))
        assert (1, f"pylxcfsctl: process {os.getpid()} is in no container\n") == (
            report.status,
            report.stderr,
        )


def test_process_without_its_main_thread(site: Site, make_cgroup: MakeCgroup) -> None:
    """A container whose init is one is found, and reached, through a thread that lives."""
    group = make_cgroup(Limits(memory=100 * MIB))
    with as_init(group.directories, leaderless=True) as init:
        wait_for("leader ends", lambda: b") Z " in Path(f"/proc/{init.pid}/stat").read_bytes())
        for options in (("--pid", str(init.pid)), ("--container", group.name)):
            assert 100 == _show(*options)
        assert "attached" == site.ctl("reattach", "--container", group.name).of("/proc/meminfo")[1]
        assert 100 == _mib(init.read("/proc/meminfo"))
        assert "detached" == site.ctl("detach", "--pid", str(init.pid)).of("/proc/meminfo")[1]
        assert 100 < _mib(init.read("/proc/meminfo"))


def test_process_that_ends_meanwhile(make_cgroup: MakeCgroup) -> None:
    """What was found out about it is not told: its number may be another's by now."""
    arguments = argparse.Namespace(container=None, pid=0)
    with as_init(make_cgroup(Limits()).directories) as init:
        arguments.pid = init.pid
        with asked_process(arguments) as pid:
            assert init.pid == pid
        with pytest.raises(LookupError, match="no such process"), asked_process(arguments):
            init.end()
        with pytest.raises(LookupError, match="no such process"), asked_process(arguments):
            pass
