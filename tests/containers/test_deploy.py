"""What deploy/docker has besides the image."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pylxcfs.ctl.cli import _build_parser as build_ctl_parser
from pylxcfs.ctl.cli import main as ctl
from pylxcfs.procfiles.binds import NODE_DIRECTORY
from tests.support.daemon import REPOSITORY, Daemon
from tests.support.docker import DEBIAN, Docker
from tests.support.node import CAPABILITIES, MOUNT_POINT
from tests.support.readings import cpuinfo_cpus, meminfo

_DIRECTORY = REPOSITORY / "deploy" / "docker"


def test_example(dockerd: Docker, daemon: Daemon) -> None:
    """A container of 100 MiB and one CPU sees itself through six files."""
    environment = {
        **os.environ,
        "DOCKER_HOST": dockerd.address,
        "IMAGE": DEBIAN,
        "MOUNT_POINT": str(daemon.mount_point),
    }

    def run(*command: str) -> str:
        script = [str(_DIRECTORY / "example.sh"), *command]
        done = subprocess.run(script, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    text = run("cat", "/proc/meminfo", "/proc/cpuinfo")
    assert 100 * 1024 == meminfo(text.partition("processor")[0])["MemTotal"]
    assert [0] == cpuinfo_cpus(text)
    assert "100" == run("free", "-m").splitlines()[1].split()[1]


def _compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((_DIRECTORY / "compose.yaml").read_text())
    return loaded


def test_compose_files(capsys: pytest.CaptureFixture[str]) -> None:
    """The example service has what `pylxcfsctl docker-args` says, but for what some kernels do not have."""
    assert 0 == ctl(["docker-args", "--json", "--mount-point", MOUNT_POINT])
    words = json.loads(capsys.readouterr().out)
    everywhere = [word for word in words[1::2] if f":/{NODE_DIRECTORY}:" not in word]
    assert everywhere == _compose()["services"]["example"]["volumes"] == _compose()["x-pylxcfs-files"]


def test_compose_daemon() -> None:
    """The daemon's service has what the tests of the daemon in a container have."""
    service = _compose()["services"]["pylxcfs"]
    assert ("host", True, ["ALL"]) == (service["pid"], service["read_only"], service["cap_drop"])
    assert set(CAPABILITIES) == set(service["cap_add"])
    assert ["/dev/fuse"] == service["devices"]
    volumes = {volume["source"]: volume for volume in service["volumes"]}
    assert {"/run/pylxcfs", "/sys/fs/cgroup"} == set(volumes)
    assert all(volume["target"] == source for source, volume in volumes.items())
    assert "rshared" == volumes["/run/pylxcfs"]["bind"]["propagation"]
    how, program, *arguments = service["healthcheck"]["test"]
    assert ("CMD", "pylxcfsctl", MOUNT_POINT) == (
        how,
        program,
        str(build_ctl_parser().parse_args(arguments).mount_point),
    )
    dockerfile = Path(_DIRECTORY, service["build"]["context"], service["build"]["dockerfile"])
    assert dockerfile.resolve() == _DIRECTORY / "Dockerfile"
