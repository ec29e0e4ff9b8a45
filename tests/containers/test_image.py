"""The image: what is in it, and the daemon as process 1."""

import json
from typing import Any, Final

import psutil
import pytest

from tests.support.docker import Docker
from tests.support.image import BASE, IMAGE
from tests.support.waiting import wait_for

_UNPRIVILEGED: Final = ("--read-only", "--user", "65532:65532", "--cap-drop", "ALL", "--network", "none")


def _inspect(client: Docker, name: str) -> dict[str, Any]:
    (found,) = json.loads(client("inspect", name))
    return dict(found)


@pytest.mark.parametrize(
    "program,beginning", [("pylxcfs", "pylxcfs "), ("pylxcfsctl", "pylxcfsctl "), ("pylxcfs-webhook", "")]
)
def test_programs(with_image: Docker, program: str, beginning: str) -> None:
    """All three programs start as anybody, from a root file system that cannot be written."""
    option = "--version" if beginning else "--help"
    assert with_image("run", "--rm", *_UNPRIVILEGED, IMAGE, program, option).startswith(
        beginning or "usage: "
    )


def test_no_more_than_needed(with_image: Docker) -> None:
    """There is no compiler, no installer, no index of packages; it adds less than 60 MiB to the base."""
    unwanted = "cc gcc ld make pip pip3 /opt/pylxcfs/bin/pip"
    directories = "/src /root/.cache /var/lib/apt/lists"
    script = f"for name in {unwanted}; do command -v $name; done; find {directories} -type f"
    found = with_image.output("run", "--rm", IMAGE, "sh", "-c", script)
    assert [] == [line for line in found.splitlines() if not line.startswith("find: ")]
    sizes = [_inspect(with_image, name)["Size"] for name in (IMAGE, BASE)]
    assert 0 < sizes[0] - sizes[1] < 60 << 20


def test_labels(with_image: Docker) -> None:
    """Whoever finds the image can tell what it is, and of which revision."""
    labels = _inspect(with_image, IMAGE)["Config"]["Labels"]
    prefix = "org.opencontainers.image"
    assert ("pylxcfs", "Apache-2.0", "test") == tuple(
        labels[f"{prefix}.{name}"] for name in ("title", "licenses", "revision")
    )


def test_process_1(with_image: Docker) -> None:
    """As process 1 the daemon reaps orphans, and SIGTERM ends it in good order."""
    container = with_image(
        *("run", "--detach", "--device", "/dev/fuse", "--cap-add", "SYS_ADMIN", "--security-opt"),
        *("apparmor=unconfined", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup", IMAGE),
        *("pylxcfs", "/run/pylxcfs/lxcfs"),
    ).strip()
    state = _inspect(with_image, container)["State"]
    supervisor = psutil.Process(state["Pid"])
    wait_for(
        "it serves",
        lambda: "serving /run/pylxcfs/lxcfs" in with_image.output("logs", container),
        alive=supervisor.is_running,
    )
    with_image("exec", container, "sh", "-c", "sleep 5 > /dev/null 2>&1 & exit")

    def orphans() -> list[str]:
        started = [each.info for each in psutil.process_iter(["name", "ppid"])]
        return [each["name"] for each in started if (each["ppid"], each["name"]) == (supervisor.pid, "sleep")]

    wait_for("it has got an orphan", lambda: ["sleep"] == orphans())
    wait_for("it reaps it", lambda: [] == orphans())
    with_image("stop", "--time", "60", container)
    assert 0 == _inspect(with_image, container)["State"]["ExitCode"]
    with_image("rm", container)


def test_needs_the_hosts_pid_namespace(with_image: Docker) -> None:
    """What the image runs by default tells what it needs."""
    said = with_image.output("run", "--rm", "--device", "/dev/fuse", "--cap-add", "SYS_ADMIN", IMAGE)
    assert "pylxcfs: --hold needs the host's pid namespace" in said
