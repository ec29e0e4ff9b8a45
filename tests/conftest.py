"""Fixtures for tests on a real machine. What they need of it: `tests.support.requirements`."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from tests.support.capabilities import needing
from tests.support.cgroups import Cgroup, Limits, cgroup
from tests.support.cgroups.place import room_for_groups
from tests.support.checking import check_invariants
from tests.support.container import Container, container
from tests.support.daemon import Daemon, lxcfs, pylxcfs
from tests.support.disk import directory_for_files
from tests.support.mounts import unmount_under
from tests.support.network import Network
from tests.support.operator import Site
from tests.support.readings import meminfo
from tests.support.session import Session
from tests.support.swap import swap_file

pytest_plugins = ("tests.support.requirements", "tests.support.parts", "tests.support.guests")

# A busy machine is slow, which is no property of the code.
hypothesis.settings.register_profile("pylxcfs", deadline=None)
# For `make fuzz`: as long as a few hundred ordinary runs, and never the same.
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=5_000)
hypothesis.settings.load_profile("pylxcfs")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests be checked against the original, and today's output be accepted as right."""
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/unit/golden and generated documents"
    )
    parser.addoption(
        "--daemon", choices=("pylxcfs", "lxcfs"), default="pylxcfs", help="which daemon serves the session"
    )
    parser.addoption(
        "--write-docs", action="store_true", help="write what was measured into docs/consumers.md"
    )


@pytest.fixture(scope="session", autouse=True)
def session() -> Iterator[Session]:
    """Mark this run; at its very end fail if it left anything on the machine, or has changed its network."""
    network = Network.now()
    session = Session()
    yield session
    assert session.leftovers() == []
    assert Network.now().changes(network) == []


@pytest.fixture(scope="session")
@needing("root", "namespaces", "fuse", "cgroups")
def machine(session: Session) -> Iterator[Session]:
    """Be where mounts and cgroups can be made (tests.support.requirements), and have room for cgroups."""
    with room_for_groups(session.token):
        yield session


@pytest.fixture(scope="session")
def work_directory(session: Session) -> Iterator[Path]:
    """Make a directory that every user may enter (pytest's own is closed to other users)."""
    directory = Path(tempfile.mkdtemp(prefix=f"{session.token}-", dir=directory_for_files()))
    directory.chmod(0o755)
    yield directory
    unmount_under(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def new_directory(work_directory: Path) -> Callable[[str], Path]:
    """Make new empty directories in the work directory."""
    numbers = itertools.count()

    def make(name: str) -> Path:
        directory = work_directory / f"{next(numbers)}-{name}"
        directory.mkdir()
        return directory

    return make


@pytest.fixture(scope="session")
def daemon(
    request: pytest.FixtureRequest, machine: Session, new_directory: Callable[[str], Path]
) -> Iterator[Daemon]:
    """Run one daemon for the whole session."""
    del machine
    serve = lxcfs if request.config.getoption("--daemon") == "lxcfs" else pylxcfs
    with serve(new_directory("session")) as daemon:
        yield daemon


@pytest.fixture
def start_daemon(machine: Session, new_directory: Callable[[str], Path]) -> Iterator[Callable[..., Daemon]]:
    """Start daemons of a test's own: with options, on a mount point of its choice if need be."""
    del machine
    with ExitStack() as stack:

        def start(*options: str, mount_point: Path | None = None, within: Iterable[str] = ()) -> Daemon:
            where = mount_point or new_directory("mount")
            return stack.enter_context(pylxcfs(where, *options, within=within))

        yield start


@pytest.fixture
def make_cgroup(machine: Session) -> Iterator[Callable[..., Cgroup]]:
    """Make cgroups with limits; all are removed after the test."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(limits: Limits, *, parent: Cgroup | None = None, name: str | None = None) -> Cgroup:
            unique = f"{machine.token}-{next(numbers)}"
            return stack.enter_context(cgroup(name or unique, limits, parent=parent))

        yield make


@pytest.fixture
def make_container(daemon: Daemon, make_cgroup: Callable[..., Cgroup]) -> Iterator[Callable[..., Container]]:
    """Run containers with limits over the session's daemon (or another's files).

    After the test every invariant is checked in each that still runs over a daemon that still serves.
    """
    made: list[Container] = []
    with ExitStack() as stack:

        def make(limits: Limits | Cgroup, *, served: Path | None = None) -> Container:
            group = limits if isinstance(limits, Cgroup) else make_cgroup(limits)
            made.append(stack.enter_context(container(served or daemon.proc, group)))
            return made[-1]

        yield make
        assert daemon.running()
        for each in made:
            if each.running and os.path.ismount(each.served.parent):
                check_invariants(each.read_pass, some_hidden=each.group.cpus_changed)


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


@pytest.fixture
@needing("swap")
def swap(work_directory: Path) -> Iterator[None]:
    """Make sure that the host has swap, by a 64 MiB file if it had none."""
    if meminfo(Path("/proc/meminfo").read_text())["SwapTotal"]:
        yield
        return
    with swap_file(work_directory / "swapfile"):
        yield
