"""What the unit promises: where the mount is seen, what a stop leaves behind, how an upgrade goes."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.container import Container
from tests.support.reader import reader
from tests.support.service import CODE, MOUNT_POINT, Service
from tests.support.systemd import SystemdMachine
from tests.support.waiting import wait_for

_LIMIT_KB: Final = str(100 * 1024)
#: What `systemd-analyze security` may say at most, 0 (safe) to 10. A mount namespace would take off 2.0.
_MOST_EXPOSED: Final = 4.3


#: Has binds planted late, and whoever takes them away go on running for a while.
_DELAYS: Final = """
def main(argv: Sequence[str] | None = None, main: Callable[..., int] = main) -> int:
    verb = (argv or sys.argv[1:])[0]
    time.sleep(0.6 if verb == "attach" else 0)
    status = main(argv)
    time.sleep(0 if verb == "attach" else 1.2)
    return status
"""


def _delay_rebinding(service: Service) -> None:
    """Have it delayed by what is started or reloaded from now on."""
    program = service.machine.path(f"{CODE}/pylxcfs/reattach/__main__.py")
    before, begin, after = program.read_text().partition("\nif __name__")
    assert begin
    program.write_text(f"{before}{_DELAYS}{begin}{after}")


def _total_kb(web: Container) -> str:
    return web.read("meminfo").split()[1]


def test_stop_and_start(service: Service, web: Container) -> None:
    """A stop leaves a running container with the kernel's files, and the next start gives it ours again.

    A process in it that reads all the time sees no error.
    """
    assert _LIMIT_KB == _total_kb(web)
    with reader(web) as reading:
        for _ in range(2):
            service.machine.run("systemctl", "stop", "pylxcfs")
            assert Path("/proc/meminfo").read_text().split()[1] == _total_kb(web)
            assert service.device() is None
            service.machine.run("systemctl", "start", "pylxcfs")
            wait_for("the container has our files again", lambda: _LIMIT_KB == _total_kb(web))
        seen = reading.stop()
    # The kernel's own sums over CPUs do not hold, so nothing is asked of the content.
    assert 0 == seen.failed, (seen.problems, service.journal())


def test_stop_while_planting(service: Service, web: Container) -> None:
    """A stop that comes while binds are being planted takes those away too."""
    _delay_rebinding(service)
    service.machine.run("systemctl", "stop", "pylxcfs")
    service.machine.run("systemctl", "start", "pylxcfs")
    service.machine.run("systemctl", "stop", "pylxcfs")
    assert Path("/proc/meminfo").read_text().split()[1] == _total_kb(web)


def test_restart_while_planting(service: Service, web: Container) -> None:
    """A restart that comes while binds are being planted leaves none of them out."""
    _delay_rebinding(service)
    service.machine.run("systemctl", "stop", "pylxcfs")
    service.machine.run("systemctl", "start", "pylxcfs")
    service.machine.run("systemctl", "restart", "pylxcfs")
    assert _LIMIT_KB == _total_kb(web)


def test_mount_is_the_hosts(service: Service) -> None:
    """Supervisor and server are in the mount namespace of the host's init: all see their mount."""
    pids = ("1", service.show("MainPID"), str(service.state()["server_pid"]))
    links = [f"/proc/{pid}/ns/mnt" for pid in pids]
    assert 1 == len(set(service.machine.run("readlink", *links).split()))
    assert service.machine.run("cat", f"{MOUNT_POINT}/proc/uptime")


def test_upgrade(service: Service, web: Container) -> None:
    """A reload has the container served by the code that is installed now."""
    module = service.machine.path(f"{CODE}/pylxcfs/procfiles/slabinfo.py")
    assert "slabinfo - version: 2.1" == web.read("slabinfo").splitlines()[0]
    module.write_text(module.read_text().replace("version: 2.1", "version: 2.99"))
    before, device = service.state(), service.device()
    service.machine.run("systemctl", "reload", "pylxcfs")
    service.wait_for_server_after(before["generation"])
    assert "slabinfo - version: 2.99" == web.read("slabinfo").splitlines()[0]
    assert (device, before["supervisor_pid"]) == (service.device(), service.state()["supervisor_pid"])


def test_broken_upgrade(service: Service, web: Container) -> None:
    """Code that cannot start does not take over: the reload fails, and the old server goes on."""
    module = service.machine.path(f"{CODE}/pylxcfs/content/engine.py")
    whole = module.read_text()
    module.write_text("raise SystemExit(7)\n")
    before = service.state()
    assert 0 != service.machine.try_run("systemctl", "reload", "pylxcfs").returncode
    assert "does not start: it ended with status 7" in service.journal()
    assert _LIMIT_KB == _total_kb(web)
    assert before["server_pid"] == service.state()["server_pid"]
    assert ("running", "active") == (service.show("SubState"), service.show("ActiveState"))
    assert "; the last reload failed: it ended with status 7" in service.show("StatusText")
    # It does not matter any more what is installed.
    for _ in range(3):
        generation = service.state()["generation"]
        service.machine.run("kill", "-KILL", str(service.state()["server_pid"]))
        service.wait_for_server_after(generation)
        assert _LIMIT_KB == _total_kb(web)
    module.write_text(whole)
    service.machine.run("systemctl", "reload", "pylxcfs")
    assert service.state()["server_pid"] != before["server_pid"]
    wait_for("it is forgotten", lambda: "reload" not in service.show("StatusText"))


def test_kill_means_the_supervisor(service: Service, web: Container) -> None:
    """`systemctl kill` sends SIGTERM to all processes: the server answers until the supervisor has left."""
    with reader(web) as reading:
        service.machine.run("systemctl", "kill", "pylxcfs")
        wait_for("it was started again", lambda: "1" <= service.show("NRestarts"))
        wait_for("the container has our files again", lambda: _LIMIT_KB == _total_kb(web))
        seen = reading.stop()
    assert 0 == seen.failed, (seen.problems, service.journal())


def test_wrong_options(service: Service, web: Container) -> None:
    """A command line that is wrong is not tried again; containers get the kernel's files."""
    defaults = service.machine.path("/etc/default/pylxcfs")
    defaults.write_text('PYLXCFS_OPTIONS="--no-such-option"\n')
    restarts = service.show("NRestarts")
    service.machine.try_run("systemctl", "restart", "pylxcfs")
    defaults.unlink()
    assert ("failed", "2", restarts) == tuple(
        service.show(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")
    )
    wait_for("the mount is gone", lambda: service.device() is None)
    assert Path("/proc/meminfo").read_text().split()[1] == _total_kb(web)


def test_journal(service: Service) -> None:
    """What is a warning in the log is one in the journal, and the program's name is there once."""
    server = service.state()["server_pid"]
    service.machine.run("kill", "-KILL", str(server))
    told = f"server {server} (generation 1) was killed by SIGKILL"
    command = ("journalctl", "--unit=pylxcfs", "--no-pager", "--priority=warning", "--output=short")
    wait_for("it is told", lambda: told in service.machine.run(*command))
    warnings = service.machine.run(*command)
    (line,) = (line for line in warnings.splitlines() if line.endswith(told))
    assert re.search(r" pylxcfs\[\d+\]: server ", line), line
    assert " serves after " not in warnings


def test_status_is_cleared(service: Service) -> None:
    """A service that was stopped does not say that somebody serves."""
    assert service.show("StatusText")
    service.machine.run("systemctl", "stop", "pylxcfs")
    assert "" == service.show("StatusText")


def test_cannot_be_started(service: Service, web: Container) -> None:
    """If no start succeeds, the service fails for good and containers get the kernel's files."""
    service.drop_in("[Unit]\nStartLimitBurst=2\n")
    service.machine.path(f"{CODE}/pylxcfs/content/engine.py").write_text("raise SystemExit(7)\n")
    service.machine.run("systemctl", "kill", "--signal=KILL", "pylxcfs")
    wait_for("the service gives up", lambda: "failed" == service.show("ActiveState"))
    wait_for("the mount is gone", lambda: service.device() is None)
    assert Path("/proc/meminfo").read_text().split()[1] == _total_kb(web)


def test_options(service: Service) -> None:
    """The command line can be added to in /etc/default/pylxcfs."""
    defaults = service.machine.path("/etc/default/pylxcfs")
    defaults.write_text('PYLXCFS_OPTIONS="--cache-ttl 0.125 --disable-swap"\n')
    service.machine.run("systemctl", "restart", "pylxcfs")
    defaults.unlink()
    command = service.machine.run("cat", f"/proc/{service.state()['server_pid']}/cmdline").split("\0")
    assert ["--cache-ttl", "0.125", "--disable-swap", MOUNT_POINT, ""] == command[-5:]


def test_no_complaint(booted: SystemdMachine) -> None:
    """Systemd knows every setting of the units and has nothing to say about them."""
    assert "" == booted.run("systemd-analyze", "verify", "pylxcfs.service", "pylxcfs-detach.service")


def test_serving_thread_may_move(booted: SystemdMachine) -> None:
    """The one call of those that use up resources which is needed is allowed, and no other."""
    allowed = booted.run("systemctl", "show", "--property=SystemCallFilter", "--value", "pylxcfs").split()
    asked = {"sched_setaffinity", "sched_setscheduler", "setpriority"}
    assert {"sched_setaffinity"} == asked.intersection(allowed)


def test_exposure(booted: SystemdMachine, capsys: pytest.CaptureFixture[str]) -> None:
    """The service is confined as far as a mount that all can see allows."""
    report = booted.run("systemd-analyze", "security", "--no-pager", "pylxcfs.service")
    found = re.search(r"exposure level for pylxcfs.service: ([\d.]+)", report)
    assert found is not None
    assert _MOST_EXPOSED >= float(found[1])
    with capsys.disabled():
        print(f"\nsystemd-analyze security: {found[1]}")  # noqa: T201 - a figure for operators
