"""Fixtures for tests in docker containers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.capabilities import needing
from tests.support.docker import BUSYBOX, DEBIAN, Docker, busybox_image, debian_image, docker
from tests.support.image import build
from tests.support.node import Node, node
from tests.support.session import Session


@pytest.fixture(scope="session")
@needing("docker", "debian-image")
def dockerd(machine: Session, new_directory: Callable[[str], Path]) -> Iterator[Docker]:
    """Run a docker daemon with both images."""
    directory = new_directory("docker")
    with docker(machine.token, directory) as client:
        client("import", debian_image(), DEBIAN)
        client("import", busybox_image(directory), BUSYBOX)
        yield client


@pytest.fixture(scope="session")
@needing("pypi")
def with_image(dockerd: Docker, new_directory: Callable[[str], Path]) -> Docker:
    """Give the docker daemon the project's own image."""
    build(dockerd, new_directory("image"))
    return dockerd


@pytest.fixture
def daemons(with_image: Docker, new_directory: Callable[[str], Path]) -> Iterator[Node]:
    """Run daemons in containers, on one mount point."""
    with node(with_image, new_directory("node")) as made:
        yield made
