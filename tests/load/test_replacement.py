"""Servers die and are replaced; nobody who reads sees it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.support.cgroups import MIB, Limits
from tests.support.container import Container
from tests.support.daemon import Daemon
from tests.support.lengths import at_length
from tests.support.reader import reader
from tests.support.waiting import wait_for

pytestmark = pytest.mark.needs("resend")

StartDaemon = Callable[..., Daemon]

_KILLS: Final = at_length(50, 20)
_REPLACEMENTS: Final = at_length(20, 8)


def _wait_for_next(daemon: Daemon, generation: int) -> dict[str, Any]:
    def is_there() -> bool:
        state = daemon.state
        return state["generation"] > generation and len(state["replacements"]) > 0

    wait_for("a server takes over", is_there, alive=daemon.running)
    return daemon.state


def test_readers_notice_nothing(
    start_daemon: StartDaemon,
    make_container: Callable[..., Container],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """8 readers in 4 containers read everything while servers are killed, stopped and replaced."""
    daemon = start_daemon("--cache-ttl", "0.01")
    containers = [
        make_container(Limits(memory=100 * MIB, cpus="0" if n % 2 else None), served=daemon.proc)
        for n in range(4)
    ]
    rng = random.Random(4)  # noqa: S311 - a seeded choice, no secret
    kills = [signal.SIGKILL, signal.SIGSEGV] * (_KILLS * 2 // 5) + [signal.SIGSTOP] * (_KILLS // 5)
    order: list[signal.Signals] = [*kills, *[signal.SIGUSR1] * _REPLACEMENTS]
    rng.shuffle(order)
    with ExitStack() as stack:
        readers = [stack.enter_context(reader(container)) for container in containers for _ in range(2)]
        for number, sent in enumerate(order):
            state = daemon.state
            if sent is signal.SIGUSR1:
                daemon.process.send_signal(sent)
            else:
                os.kill(state["server_pid"], sent)
            _wait_for_next(daemon, state["generation"])
            # Every now and then one lives for long enough not to look like a crash loop.
            wait_for("time passes", _after(1.1 if number % 4 == 3 else rng.uniform(0.02, 0.3)))
        seen = [each.stop() for each in readers]
    for one in seen:
        assert 0 == one.wrong, (one.problems, daemon.log)
        assert one.reads > len(order)
    with capsys.disabled():
        print(  # noqa: T201 - the figure is what an operator wants to know
            f"\n{sum(one.reads for one in seen)} reads, {_KILLS} deaths, {_REPLACEMENTS} hand-overs: "
            f"0 failed, 0 torn, longest stall {max(one.longest_seconds for one in seen):.2f} s"
        )
    daemon.stop()


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


@pytest.mark.parametrize("deaf_seconds", [0.0, 1.0])
def test_supervisor_killed_alone(start_daemon: StartDaemon, deaf_seconds: float) -> None:
    """A server whose supervisor is killed becomes one, on the same mount; nobody is left unwatched.

    Also if the supervisor had not heard its last words: then the end of the socket looks different.
    """
    daemon = start_daemon()
    before = daemon.state
    with (daemon.proc / "meminfo").open() as file:
        assert file.readline()
        if deaf_seconds:
            daemon.process.send_signal(signal.SIGSTOP)
            wait_for("words are not heard", _after(deaf_seconds))
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait()
        try:
            wait_for("it has a new server", lambda: daemon.state["generation"] > before["generation"])
        except AssertionError as error:
            error.add_note(daemon.log)
            raise
        file.seek(0)
        assert file.read().startswith("MemTotal:")
    after = daemon.state
    assert before["server_pid"] == after["supervisor_pid"], daemon.log
    assert before["device"] == after["device"]
    supervisor = psutil.Process(after["supervisor_pid"])
    wait_for("all is in reserve", lambda: all(daemon.state["reserve"][:2]))
    ours = {after["server_pid"], *daemon.state["reserve"][:2]}
    assert ours == {child.pid for child in supervisor.children()}
    supervisor.terminate()
    wait_for("it ends", lambda: not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE)
    assert not daemon.mount_point.is_mount()
    assert not psutil.pid_exists(after["server_pid"])


def test_crash_loop_shows_the_host(
    start_daemon: StartDaemon, make_container: Callable[..., Container]
) -> None:
    """Servers that die again and again at once are followed by one that shows the host's files."""
    daemon = start_daemon()
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    host = Path("/proc/meminfo").read_text().split()[1]
    assert str(100 * 1024) == container.read("meminfo").split()[1]
    for _ in range(5):
        state = daemon.state
        os.kill(state["server_pid"], signal.SIGKILL)
        _wait_for_next(daemon, state["generation"])
    assert host == container.read("meminfo").split()[1]
    assert "keep dying" in daemon.log
    daemon.stop()


def test_too_much_memory(start_daemon: StartDaemon) -> None:
    """A server that has more memory than it may is replaced as if somebody had asked for it."""
    daemon = start_daemon("--max-memory", "1")
    before = daemon.state
    after = _wait_for_next(daemon, before["generation"])
    assert before["device"] == after["device"]
    assert after["replacements"][-1][1].endswith(" MiB of memory")
    assert "killed" not in daemon.log
    daemon.stop()


def test_small_supervisor(start_daemon: StartDaemon) -> None:
    """The supervisor has not imported what only the server needs."""
    daemon = start_daemon()
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, pylxcfs.cli; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set() == {"trio", "psutil", "pylxcfs.content.engine", "pylxcfs.procfiles"} & set(loaded)
    daemon.stop()
