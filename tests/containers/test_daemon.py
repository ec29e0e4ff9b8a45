"""The daemon in a container: replaced, killed and removed, while other containers read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.docker import DEBIAN, Docker, binds
from tests.support.mounts import mounts_under
from tests.support.node import CAPABILITIES, Node
from tests.support.reader import Seen, reader_command, reading
from tests.support.readings import cpuinfo_cpus, meminfo, uptime
from tests.support.waiting import wait_for

pytestmark = pytest.mark.needs("resend")

TOTAL = 100 * 1024
Start = Callable[..., str]


@pytest.fixture
def start(daemons: Node) -> Iterator[Start]:
    """Start containers with 100 MiB that do nothing, with the files of the node's daemon or without."""
    started: list[str] = []

    def run(*options: str, bound: bool = True) -> str:
        files = binds(daemons.proc) if bound else []
        command = ("run", "--detach", "-m", "100m", "--cpuset-cpus", "0", *files, *options)
        started.append(daemons.docker(*command, DEBIAN, "sleep", "infinity").strip())
        return started[-1]

    yield run
    for container in started:
        daemons.docker("rm", "--force", container)


def _total(client: Docker, container: str) -> int:
    return meminfo(client("exec", container, "cat", "/proc/meminfo"))["MemTotal"]


def _host_total() -> int:
    return meminfo(Path("/proc/meminfo").read_text())["MemTotal"]


@contextmanager
def _reading(client: Docker, container: str, *, whole: bool = False) -> Iterator[list[Seen]]:
    """Read everything in a container all the while; no read may fail, and if `whole`, none be defective."""
    command = ("exec", "--interactive", container, *reader_command("python3"))
    with reading(client.start(*command)) as reader:
        told: list[Seen] = []
        yield told
        seen = reader.stop()
    told.append(seen)
    assert 0 == (seen.wrong if whole else seen.failed), seen


def test_containers_see_themselves(daemons: Node) -> None:
    """A container that is started after the daemon's sees itself."""
    daemons.start()
    assert (
        meminfo(daemons.docker.run(DEBIAN, "cat", "/proc/meminfo", served=daemons.proc))["MemTotal"] == TOTAL
    )


def test_other_users(daemons: Node, start: Start) -> None:
    """So does one that runs as another user, without capabilities."""
    daemons.start()
    container = start("--user", "65534:65534", "--cap-drop", "ALL")
    for _ in range(2):
        assert TOTAL == _total(daemons.docker, container)
        text = daemons.docker("exec", container, "cat", "/proc/uptime")
        assert uptime(text) < uptime(Path("/proc/uptime").read_text()) / 2
        assert [0] == cpuinfo_cpus(daemons.docker("exec", container, "cat", "/proc/cpuinfo"))


@pytest.mark.parametrize("end", [("kill",), ("rm", "--force"), ("stop",)])
def test_replaced(
    daemons: Node, start: Start, end: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon's container is killed, removed or stopped, and another one started: no read fails."""
    old = daemons.start()
    container = start()
    with _reading(daemons.docker, container, whole=True) as told:
        daemons.docker(*end, old)
        new = daemons.start()
        assert "new supervisor" in (daemons.directory / "supervisor.json").read_text()
        assert TOTAL == _total(daemons.docker, container)
        # Started while there are two generations.
        assert TOTAL == _total(daemons.docker, start())
        daemons.docker("restart", "--time", "0", new)
        assert TOTAL == _total(daemons.docker, container)
    (seen,) = told
    with capsys.disabled():
        # How long readers wait is what an operator wants to know.
        print(  # noqa: T201
            f"\ndocker {end[0]}, docker run, docker restart: {seen.reads} reads, {seen.failed} failed, "
            f"longest {seen.longest_seconds:.2f} s"
        )


def test_holder_is_in_no_cgroup_of_the_container(daemons: Node) -> None:
    """Nobody who ends all processes of the container's cgroups ends the holder."""
    container = daemons.start()
    (holder,) = daemons.holders()
    wait_for(
        "it is at the top of all hierarchies",
        lambda: (
            {"/"}
            == {line.split(":", 2)[2] for line in Path(f"/proc/{holder.pid}/cgroup").read_text().splitlines()}
        ),
    )
    assert "will not survive" not in daemons.log(container)


def test_nobody_comes(daemons: Node, start: Start) -> None:
    """The daemon's container is removed for good: nobody reads an error, and nothing is left."""
    old = daemons.start(hold=2)
    container = start()
    with _reading(daemons.docker, container):
        daemons.docker("rm", "--force", old)
        wait_for("the holder ends", lambda: daemons.holders() == [])
        wait_for("nothing is mounted", lambda: mounts_under(daemons.mount_point) == [])
        # Who leaves unmounts first, and looks for binds then.
        wait_for("who leaves has ended", lambda: daemons.leaving() == [])
        assert _host_total() == _total(daemons.docker, container)
    # All is well again when the daemon comes back.
    daemons.start()
    wait_for("it has its files again", lambda: TOTAL == _total(daemons.docker, container))


def test_uninstalled(daemons: Node, start: Start) -> None:
    """A daemon without a holder takes over and is stopped: the same at once, without a pause."""
    old = daemons.start()
    container = start()
    with _reading(daemons.docker, container):
        daemons.docker("rm", "--force", old)
        last = daemons.start(hold=0)
        wait_for("there is no holder any more", lambda: daemons.holders() == [])
        daemons.docker("stop", "--time", "60", last)
        assert _host_total() == _total(daemons.docker, container)
    assert [] == mounts_under(daemons.mount_point)


def test_image_removed(daemons: Node, start: Start) -> None:
    """If nobody comes, and the holder finds no program, reads fail and do not hang; the next start heals."""
    old = daemons.start("--read-only=false", hold=2)
    container = start()
    daemons.docker("exec", old, "rm", "-r", "/opt/pylxcfs")
    daemons.docker("kill", old)
    assert "abort" in daemons.docker.output("exec", container, "cat", "/proc/meminfo")
    daemons.docker("rm", old)
    daemons.start()
    read = ("exec", container, "cat", "/proc/meminfo")
    wait_for("it has its files again", lambda: f"{TOTAL} kB" in daemons.docker.output(*read))


@pytest.mark.parametrize("missing", CAPABILITIES)
def test_capabilities(daemons: Node, start: Start, missing: str) -> None:
    """Without any one of the capabilities something is missing, and with all of them nothing is."""
    left = [capability for capability in CAPABILITIES if capability != missing]
    if missing == "SYS_ADMIN":
        with pytest.raises(AssertionError, match="serves: ended"):
            daemons.start(capabilities=left)
        return
    daemon = daemons.start(capabilities=left)
    bound, other = start("--user", "65534:65534"), start(bound=False)
    attached = "9 attached" in daemons.docker.output(
        "exec", daemon, "pylxcfsctl", "reattach", "--mount-point", "/run/pylxcfs/lxcfs", "--container", other
    )
    seen = (_total(daemons.docker, bound) == TOTAL, attached)
    assert {"SYS_PTRACE": (False, False), "SYS_CHROOT": (True, False)}[missing] == seen
