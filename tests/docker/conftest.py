"""Fixtures for tests in docker containers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.machine.docker import BUSYBOX, DEBIAN, Docker, busybox_image, debian_image, docker
from tests.machine.session import Session


@pytest.fixture(scope="session")
def dockerd(machine: Session, new_directory: Callable[[str], Path]) -> Iterator[Docker]:
    """Run a docker daemon with both images."""
    directory = new_directory("docker")
    with docker(machine.token, directory) as client:
        client("import", debian_image(), DEBIAN)
        client("import", busybox_image(directory), BUSYBOX)
        yield client
