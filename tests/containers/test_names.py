"""Docker containers by everything that they are called, in every command that takes one."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.docker import BUSYBOX, Docker
from tests.support.operator import CTL, Site
from tests.support.readings import meminfo


class Named(NamedTuple):
    """A container by its id, and its limit."""

    container_id: str
    mib: int


@pytest.fixture
def named(dockerd: Docker) -> Iterator[dict[str, Named]]:
    """Run containers whose names begin alike."""
    with ExitStack() as stack:
        made = {}
        for name, mib in (("web", 60), ("web-2", 70)):
            options = ("--detach", "--name", name, "-m", f"{mib}m")
            container_id = dockerd("run", *options, BUSYBOX, "sleep", "infinity").strip()
            stack.callback(dockerd, "rm", "--force", container_id)
            made[name] = Named(container_id, mib)
        yield made


def _words(dockerd: Docker, name: str, container_id: str) -> list[str]:
    """Return what the container may be called."""
    pid = dockerd("inspect", "--format", "{{.State.Pid}}", container_id).strip()
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    (cgroup,) = (path for _, names, path in (line.split(":", 2) for line in lines) if names == "memory")
    words = (name, f"docker://{name}", container_id, container_id[:12], f"docker://{container_id}", pid)
    return [*words, cgroup, f"/sys/fs/cgroup/memory{cgroup}"]


def test_show(dockerd: Docker, named: dict[str, Named]) -> None:
    """Whatever it is called, it is that container and no other."""
    for name, (container_id, mib) in named.items():
        for word in _words(dockerd, name, container_id):
            command = [*CTL, "show", "--container", word, "meminfo"]
            text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            assert mib == meminfo(text)["MemTotal"] // 1024, word


def test_binds(dockerd: Docker, named: dict[str, Named], site: Site) -> None:
    """Files are brought and taken away by the same words."""
    container_id, mib = named["web"]
    for word in _words(dockerd, "web", container_id):
        report = site.ctl("reattach", "--container", word)
        assert "attached" == report.of("/proc/meminfo")[1], (word, report)
        assert mib == meminfo(dockerd("exec", container_id, "cat", "/proc/meminfo"))["MemTotal"] // 1024
        assert ("alive", "detached") == site.ctl("detach", "--container", word).of("/proc/meminfo")
    pid = dockerd("inspect", "--format", "{{.State.Pid}}", container_id).strip()
    assert ("missing", "attached") == site.ctl("reattach", "--pid", pid).of("/proc/meminfo")
    assert ("alive", "detached") == site.ctl("detach", "--pid", pid).of("/proc/meminfo")
    other = dockerd("exec", named["web-2"].container_id, "cat", "/proc/mounts")
    assert "fuse" not in other


@pytest.mark.parametrize("word", ["we", "web-", "/docker", "docker://", "9999999"])
def test_nobody_is_called_that(named: dict[str, Named], word: str) -> None:
    """What is not unique, or nobody's, is refused."""
    assert named
    command = [*CTL, "show", "--container", word, "meminfo"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (1, "") == (done.returncode, done.stdout)
    assert "called" in done.stderr
