"""Fixtures for tests of binds in running containers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.machine.cgroups import Cgroup, Limits
from tests.machine.container import Container, container
from tests.machine.daemon import Daemon
from tests.machine.operator import Site


@pytest.fixture
def site(new_directory: Callable[[str], Path], start_daemon: Callable[..., Daemon]) -> Site:
    """Run a daemon that can be killed and started again."""
    return Site(new_directory("site"), start_daemon)


@pytest.fixture
def make_bound(site: Site, make_cgroup: Callable[..., Cgroup]) -> Iterator[Callable[..., Container]]:
    """Run containers that have the site's files, or those named."""
    with ExitStack() as stack:

        def make(limits: Limits | None = None, files: tuple[str, ...] | None = None) -> Container:
            group = make_cgroup(limits or Limits())
            served = site.mount_point / "proc"
            running = container(served, group) if files is None else container(served, group, files)
            return stack.enter_context(running)

        yield make
