"""Whatever happens to the service, containers go on reading."""

from collections.abc import Callable
from typing import Final

import pytest

from tests.support.container import Container
from tests.support.reader import reader
from tests.support.service import Service
from tests.support.waiting import wait_for

pytestmark = pytest.mark.needs("resend")

_LIMIT_KB: Final = str(100 * 1024)


def _kill(service: Service, *options: str) -> None:
    service.machine.run("systemctl", "kill", "--signal=KILL", *options, "pylxcfs")


def _kill_all(service: Service) -> None:
    _kill(service)


def _kill_supervisor(service: Service) -> None:
    _kill(service, "--kill-who=main")


def _kill_server(service: Service) -> None:
    service.machine.run("kill", "-KILL", str(service.state()["server_pid"]))


def _hang(service: Service) -> None:
    service.machine.run("systemctl", "kill", "--signal=STOP", "--kill-who=main", "pylxcfs")


def _restart(service: Service) -> None:
    service.machine.run("systemctl", "restart", "pylxcfs")


def _reload(service: Service) -> None:
    service.machine.run("systemctl", "reload", "pylxcfs")


def _who_serves(service: Service) -> str:
    state = service.state()
    return f"server {state['server_pid']} (generation {state['generation']}) serves"


@pytest.mark.parametrize(
    "happens,restarts",
    [(_kill_all, 1), (_kill_supervisor, 1), (_kill_server, 0), (_hang, 1), (_restart, 0), (_reload, 0)],
)
def test_readers_notice_nothing(
    service: Service,
    web: Container,
    capsys: pytest.CaptureFixture[str],
    happens: Callable[[Service], None],
    restarts: int,
) -> None:
    """The connection lives on, and a container that reads all the time sees no error."""
    if happens is _hang:
        service.drop_in("[Service]\nWatchdogSec=1\n")
        _restart(service)
    before, device, counted = service.state(), service.device(), int(service.show("NRestarts"))
    with reader(web) as reading:
        happens(service)
        service.wait_for_server_after(before["generation"])
        seen = reading.stop()
    assert (0, device) == (seen.wrong, service.device()), (seen.problems, service.journal())
    assert _LIMIT_KB == web.read("meminfo").split()[1]
    assert counted + restarts == int(service.show("NRestarts"))
    wait_for("systemd knows who serves", lambda: _who_serves(service) == service.show("StatusText"))
    name, stall = happens.__name__.strip("_"), seen.longest_seconds
    with capsys.disabled():
        print(f"\nsystemd, {name}: {seen.reads} reads, 0 failed, longest {stall:.2f} s")  # noqa: T201 - a figure
