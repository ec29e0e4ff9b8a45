"""Kernel objects: the host's are shown to nobody but the host's root."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.support.cgroups import Limits
from tests.support.container import Container, run_on_host
from tests.support.daemon import Daemon

_NOBODY: Final = 65534


def test_slabinfo_of_a_container(make_container: Callable[..., Container]) -> None:
    """A container sees the host's header, and no kernel object of the host."""
    header = "".join(Path("/proc/slabinfo").read_text().splitlines(keepends=True)[:2])
    container = make_container(Limits())
    assert container.read("slabinfo") == header
    assert container.run("stat", "--format=%a %u", "/proc/slabinfo") == "400 0\n"
    refusal = "cat /proc/slabinfo 2>/dev/null || echo refused"
    assert container.run("sh", "-c", refusal, user=_NOBODY) == "refused\n"


@pytest.mark.needs("root-cgroup")
def test_slabinfo_of_the_host(daemon: Daemon) -> None:
    """The host's root sees the host's kernel objects."""
    names = [line.split()[0] for line in Path("/proc/slabinfo").read_text().splitlines()]
    shown = run_on_host("cat", str(daemon.proc / "slabinfo"))
    assert [line.split()[0] for line in shown.splitlines()] == names
    assert len(names) > 2
