"""A machine with pylxcfs installed as a service, and a container on it."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.capabilities import needing
from tests.support.cgroups import MIB, Limits, cgroup
from tests.support.container import Container, container
from tests.support.daemon import REPOSITORY
from tests.support.guest import covered_paths
from tests.support.service import CODE, MOUNT_POINT, Service
from tests.support.session import Session
from tests.support.systemd import EveryHierarchy, SystemdMachine, systemd_machine

_UNITS: Final = ("pylxcfs.service", "pylxcfs-detach.service")
#: As a package's entry point, of the code in the machine instead of the one that is tested otherwise.
_PROGRAM: Final = """#!{python} -P
import sys
sys.path.insert(0, "{code}")
from pylxcfs.{module} import main
sys.exit(main())
"""


@pytest.fixture(scope="session")
@needing("systemd")
def booted(machine: Session, new_directory: Callable[[str], Path]) -> Iterator[SystemdMachine]:
    """Boot a machine with systemd, and install code and units."""
    directory = new_directory("systemd")
    with systemd_machine(directory, f"{machine.token}-systemd", *covered_paths()) as booted:
        for name, module in (("pylxcfs", "cli"), ("pylxcfsctl", "ctl.cli")):
            program = booted.path(f"/usr/bin/{name}")
            program.write_text(_PROGRAM.format(python=sys.executable, code=CODE, module=module))
            program.chmod(0o755)
        for unit in _UNITS:
            shutil.copy(REPOSITORY / "systemd" / unit, booted.path("/usr/lib/systemd/system"))
        booted.run("systemctl", "enable", "pylxcfs")
        yield booted


@pytest.fixture
def service(booted: SystemdMachine) -> Iterator[Service]:
    """Start the service as it is after a new installation."""
    code = booted.path(CODE)
    shutil.copytree(REPOSITORY / "pylxcfs", code / "pylxcfs", ignore=shutil.ignore_patterns("__pycache__"))
    service = Service(booted)
    service.drop_in("")
    booted.run("systemctl", "start", "pylxcfs")
    yield service
    booted.run("systemctl", "stop", "pylxcfs")
    assert service.device() is None
    # Its starts are counted, and too many of them are a failure; not loaded any more, it has forgotten them.
    booted.try_run("systemctl", "reset-failed", "pylxcfs")
    shutil.rmtree(code)


@pytest.fixture
def web(machine: Session, booted: SystemdMachine, service: Service) -> Iterator[Container]:
    """Run a container on the machine, with our files and 100 MiB of memory."""
    assert service.device() is not None
    limits = Limits(memory=100 * MIB)
    with (
        cgroup(f"{machine.token}-web", limits, parent=booted.group, make=EveryHierarchy) as group,
        container(Path(MOUNT_POINT) / "proc", group, within=booted.enter) as web,
    ):
        yield web
