"""Docker containers that outlive the daemon, and containers that were started without it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import Daemon, lxcfs
from tests.support.docker import BUSYBOX, Docker, binds
from tests.support.operator import Site
from tests.support.readings import cpuinfo_cpus, meminfo

TOTAL: Final = 100 * 1024
LIMITS: Final = ("-m", "100m", "--cpuset-cpus", "0")
CPU: Final = "/sys/devices/system/cpu"

Start = Callable[..., str]


@pytest.fixture
def site(new_directory: Callable[[str], Path], start_daemon: Callable[..., Daemon]) -> Site:
    """Run a daemon that can be killed and started again."""
    return Site(new_directory("site"), start_daemon)


@pytest.fixture
def start(dockerd: Docker) -> Iterator[Start]:
    """Start containers of an image with nothing but busybox; all are removed after the test."""
    with ExitStack() as stack:

        def run(*options: str) -> str:
            container = dockerd("run", "--detach", *LIMITS, *options, BUSYBOX, "sleep", "infinity").strip()
            stack.callback(dockerd, "rm", "--force", container)
            return container

        yield run


def total(dockerd: Docker, container: str) -> int:
    """Read MemTotal inside, in kB."""
    return meminfo(dockerd("exec", container, "cat", "/proc/meminfo"))["MemTotal"]


def test_binds_are_attached_anew(dockerd: Docker, site: Site, start: Start) -> None:
    """After a kill -9 docker's containers read their own numbers again, and are named by docker's ids."""
    bound = binds(site.mount_point / "proc")
    containers = [start(*bound), start(*bound, "--read-only"), start(*bound, "--user", "65534")]
    containers.append(start("-v", f"{site.mount_point}{CPU}:{CPU}:ro"))
    site.replace()
    done = site.ctl_text("reattach")
    assert done.returncode == 0, done.stdout + done.stderr
    for container in containers[:3]:
        assert f"{container[:12]}  /proc/meminfo" in done.stdout
        assert total(dockerd, container) == TOTAL
    assert dockerd("exec", containers[3], "cat", f"{CPU}/online") == "0\n"
    # Started afterwards, and so never dead.
    assert total(dockerd, start(*bound)) == TOTAL
    assert site.ctl("reattach").status == 0


def test_stop_and_start(dockerd: Docker, site: Site, start: Start) -> None:
    """Detached before a stop, a container has the kernel's files; after the next start its own again."""
    container = start(*binds(site.mount_point / "proc"))
    assert site.ctl("detach").status == 0
    site.daemon.stop()
    assert total(dockerd, container) == meminfo(Path("/proc/meminfo").read_text())["MemTotal"]
    site.start()
    assert site.ctl("reattach").status == 0
    assert total(dockerd, container) == TOTAL


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--read-only",),
        ("--user", "65534:65534", "--cap-drop", "ALL"),
        ("--pid", "host"),
        ("--security-opt", "no-new-privileges"),
    ],
)
def test_retrofit(dockerd: Docker, site: Site, start: Start, options: tuple[str, ...]) -> None:
    """A container started without any bind gets all files, with nothing but busybox in it."""
    container = start(*options)
    report = site.ctl("reattach", "--container", container[:12])
    assert report.status == 0, report.stdout
    assert report.of("/proc/meminfo") == ("none", "attached")
    assert total(dockerd, container) == TOTAL
    assert cpuinfo_cpus(dockerd("exec", container, "cat", "/proc/cpuinfo")) == [0]
    assert dockerd("exec", container, "cat", f"{CPU}/online") == "0\n"
    assert site.ctl("detach", "--container", container).status == 0
    assert total(dockerd, container) > TOTAL


def test_retrofit_leaves_other_containers_alone(dockerd: Docker, site: Site, start: Start) -> None:
    """Only the container that was named gets files."""
    one, other = start(), start()
    site.ctl("reattach", "--container", one)
    assert total(dockerd, one) == TOTAL
    assert total(dockerd, other) > TOTAL


@pytest.mark.needs("lxcfs")
def test_taking_over_from_lxcfs(
    dockerd: Docker, site: Site, start: Start, new_directory: Callable[[str], Path]
) -> None:
    """A container that was started with lxcfs is given our files in place of lxcfs', if told so."""
    with lxcfs(new_directory("lxcfs")) as theirs:
        container = start(*binds(theirs.proc))
        report = site.ctl("reattach", "--container", container)
        assert report.of("/proc/meminfo") == ("none", "left alone")
        report = site.ctl("reattach", "--container", container, "--take-over")
        assert report.of("/proc/meminfo") == ("other", "attached")
    assert total(dockerd, container) == TOTAL
