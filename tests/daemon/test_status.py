"""pylxcfsctl status, about real daemons."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pylxcfs.status.report import find_out
from tests.support.asking import Answer, ask, ask_text, runtime_directory
from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import container
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

StartDaemon = Callable[..., Daemon]


def _wait_for_generation(daemon: Daemon, generation: int) -> Answer:
    def is_there() -> bool:
        status = ask(daemon, "status").document
        return bool(status["server"]) and status["server"]["generation"] == generation

    wait_for(f"server {generation} answers", is_there, alive=daemon.running)
    return ask(daemon, "status")


@pytest.mark.parametrize("ttl,hits", [("0", 0), ("3600", 6)])
def test_reads_are_counted(
    start_daemon: StartDaemon, make_cgroup: Callable[..., Cgroup], ttl: str, hits: int
) -> None:
    """7 reads in a container are 7 requests; all are rendered without a cache, and one with it."""
    daemon = start_daemon("--cache-ttl", ttl)
    before = _wait_for_generation(daemon, 1).document["server"]
    with container(daemon.proc, make_cgroup(Limits(memory=100 * MIB))) as running:
        for _ in range(7):
            assert running.read("meminfo").split()[1] == str(100 * 1024)
    server = ask(daemon, "status").document["server"]
    assert 0 == before["files"]["proc/meminfo"]["requests"]
    meminfo = server["files"]["proc/meminfo"]
    assert (7, hits) == (meminfo["requests"], meminfo["hits"])
    assert 0 < meminfo["p50_seconds"] <= meminfo["p99_seconds"] <= meminfo["max_seconds"]
    assert 7 <= server["requests"]["OPEN"] - before["requests"].get("OPEN", 0)
    assert 1 <= server["containers"]
    assert (0, []) == (server["failed"], server["fallbacks"])


def test_after_replacements(start_daemon: StartDaemon) -> None:
    """A new server counts from its own beginning, and why the ones before ended is told."""
    daemon = start_daemon()
    first = _wait_for_generation(daemon, 1).document
    killed_at = time.time()
    os.kill(first["server"]["pid"], signal.SIGKILL)
    _wait_for_generation(daemon, 2)
    daemon.process.send_signal(signal.SIGUSR1)
    third = _wait_for_generation(daemon, 3)
    assert 0 == third.status
    wait_for("it is written down", lambda: ask(daemon, "status").document["replaced"] == 2)
    document = ask(daemon, "status").document
    assert ["was killed by SIGKILL", "SIGUSR1"] == [each["why"] for each in document["replacements"]]
    assert all(0 < each["gap_seconds"] and killed_at <= each["at"] for each in document["replacements"])
    assert killed_at <= document["server"]["began_at"]
    assert 0 == document["server"]["files"]["proc/uptime"]["requests"]
    assert 3 == document["generation"]
    text = ask_text(daemon, "status").stdout
    assert "replaced    2 times:" in text
    assert "was killed by SIGKILL" in text


def test_stopped_server(start_daemon: StartDaemon) -> None:
    """A server that hangs is told of by what its supervisor has written down, and by /proc."""
    daemon = start_daemon()
    server = _wait_for_generation(daemon, 1).document["server"]["pid"]
    pids = (daemon.process.pid, server)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        answer = ask(daemon, "status")
        text = ask_text(daemon, "status").stdout
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert (1, True, False) == (answer.status, answer.document["running"], answer.document["answers"])
    assert str(daemon.mount_point) == answer.document["mount_point"]
    processes = answer.document["processes"]
    assert ("stopped", "stopped") == (processes["supervisor"]["state"], processes["server"]["state"])
    assert server == answer.document["processes"]["server"]["pid"]
    assert "BUT the server did not answer within 2 s (server and supervisor stopped" in text


def test_not_running(start_daemon: StartDaemon) -> None:
    """After the end there is nothing to tell, and a status of its own for scripts."""
    daemon = start_daemon()
    _wait_for_generation(daemon, 1)
    daemon.stop()
    answer = ask(daemon, "status")
    assert (3, False, None) == (answer.status, answer.document["running"], answer.document["server"])
    assert [] == [path.name for path in (runtime_directory(daemon) / "pylxcfs").glob("status*")]
    assert "pylxcfs does not run" in ask_text(daemon, "status").stdout


def test_host_view(start_daemon: StartDaemon) -> None:
    """SIGUSR2 is seen."""
    daemon = start_daemon()
    assert not _wait_for_generation(daemon, 1).document["host_view"]
    daemon.process.send_signal(signal.SIGUSR2)
    wait_for("everybody sees the host", lambda: ask(daemon, "status").document["host_view"])
    assert "everybody sees the host, until the next SIGUSR2" in ask_text(daemon, "status").stdout


def test_another_user(start_daemon: StartDaemon) -> None:
    """Who is not root learns that it runs, and not what it counts."""
    daemon = start_daemon()
    _wait_for_generation(daemon, 1)
    os.seteuid(65534)
    try:
        status = find_out(runtime_directory(daemon))
    finally:
        os.seteuid(0)
    assert status.supervisor is not None
    assert daemon.process.pid == status.supervisor.pid
    assert (None, "only root may ask the server") == (status.server, status.silence)


def test_who_asks_and_leaves(start_daemon: StartDaemon) -> None:
    """Whoever connects and leaves, or never reads, harms nobody."""
    import socket  # noqa: PLC0415

    daemon = start_daemon()
    _wait_for_generation(daemon, 1)
    address = str(Path(runtime_directory(daemon), "pylxcfs/status.socket"))
    silent = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for number, one in enumerate(silent):
        one.connect(address)
        if number % 2:
            one.close()
    assert 1 == ask(daemon, "status").document["server"]["generation"]
    for one in silent:
        one.close()
    assert daemon.serving()
    assert "cannot tell" not in daemon.log
