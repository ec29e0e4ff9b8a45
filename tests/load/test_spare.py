"""A server in reserve takes over in no time, whatever has become of the installed code meanwhile."""

import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from pylxcfs.supervision.crash_loop import HOPELESS_SECONDS
from tests.support.cgroups import MIB, Limits, cgroup
from tests.support.container import Container
from tests.support.daemon import Daemon
from tests.support.reader import Seen, reader, stall_at
from tests.support.readings import meminfo
from tests.support.session import Session
from tests.support.systemd import EveryHierarchy
from tests.support.waiting import wait_for

StartDaemon = Callable[..., Daemon]
MakeContainer = Callable[..., Container]

_KILLS: Final = 50
_RELOADS: Final = 10
#: A server that lived for so long is no sign of a crash loop.
_GROWN_UP_SECONDS: Final = 1.05
#: Found before a module of the standard library, it breaks every interpreter that starts from then on.
_BROKEN: Final = "raise SystemExit(7)"
_TOLD: Final = "ended with status 7"
#: … it has every interpreter take some seconds.
_SLOW: Final = f"""
import os, time
time.sleep({HOPELESS_SECONDS + 1})
exec(open(os.path.dirname(os.__file__) + "/argparse.py").read())
"""


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Name a directory in which every interpreter of daemons that are started from now on looks first."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(tmp_path))
    return tmp_path


@contextmanager
def _broken(disk: Path) -> Iterator[None]:
    """Have no code start that is loaded meanwhile."""
    broken = disk / "argparse.py"
    broken.write_text(_BROKEN)
    yield
    broken.unlink()


def _has_reserve(daemon: Daemon) -> bool:
    return all(daemon.state["reserve"][:2])


def _replace(daemon: Daemon, how: Callable[[dict[str, Any]], None]) -> None:
    """Do something to a grown-up server and wait until another one serves and a third is in reserve."""
    before = daemon.state
    time.sleep(_GROWN_UP_SECONDS)
    how(before)
    wait_for(
        "another one serves",
        lambda: daemon.state["replaced"] > before["replaced"] and _has_reserve(daemon),
        alive=daemon.running,
    )


def _wait_for_next(daemon: Daemon, replaced: int) -> None:
    """Wait until more servers than `replaced` have been followed by another one."""
    wait_for("another one serves", lambda: daemon.state["replaced"] > replaced, alive=daemon.running)


def _kill_server(state: dict[str, Any]) -> None:
    os.kill(state["server_pid"], signal.SIGKILL)


def _ctl(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pylxcfsctl, which is not what is broken."""
    runtime = str(daemon.pidfile.parent)
    command = (sys.executable, "-m", "pylxcfs.ctl.cli", *arguments, "--runtime-dir", runtime)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


def test_stalls(
    start_daemon: StartDaemon, make_container: MakeContainer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fifty servers are killed, ten replaced by the installed code; nobody who reads sees an error."""
    daemon = start_daemon()
    containers = [make_container(Limits(memory=(100 + n) * MIB), served=daemon.proc) for n in range(2)]
    deaths: list[float] = []
    hand_overs: list[float] = []

    def kill(state: dict[str, Any]) -> None:
        deaths.append(time.monotonic())
        _kill_server(state)

    def reload(_state: dict[str, Any]) -> None:
        daemon.process.send_signal(signal.SIGUSR1)
        wait_for("it has been loaded", lambda: daemon.state["reload"][1] > 0, alive=daemon.running)
        hand_overs.append(daemon.state["reload"][1] - time.time() + time.monotonic())

    with ExitStack() as stack:
        readers = [stack.enter_context(reader(each)) for each in containers]
        for _ in range(_KILLS):
            _replace(daemon, kill)
        for _ in range(_RELOADS):
            _replace(daemon, reload)
        seen = [each.stop() for each in readers]
    assert [0, 0] == [each.wrong for each in seen], ([each.problems for each in seen], daemon.log)
    replacements = daemon.state["replacements"]
    gaps = {
        why: [gap for _, each, gap in replacements if each == why]
        for why in ("was killed by SIGKILL", "SIGUSR1")
    }
    with capsys.disabled():
        print(f"\n{sum(each.reads for each in seen)} reads: 0 failed")  # noqa: T201 - figures for operators
        _tell("deaths", _stalls(deaths, seen), gaps["was killed by SIGKILL"])
        _tell("hand-overs", _stalls(hand_overs, seen), gaps["SIGUSR1"])
    daemon.stop()


def _stalls(moments: list[float], seen: list[Seen]) -> list[float]:
    return [stall_at(moment, seen) for moment in moments]


def _tell(what: str, stalls: list[float], gaps: list[float]) -> None:
    for name, seconds in (("longest read", stalls), ("nobody served", gaps)):
        middle, most = statistics.median(seconds) * 1000, max(seconds) * 1000
        print(f"{len(seconds)} {what}, {name}: median {middle:.1f} ms, at most {most:.1f} ms")  # noqa: T201


def test_broken_code_is_no_matter(
    start_daemon: StartDaemon, make_container: MakeContainer, disk: Path
) -> None:
    """Servers that are killed while nothing that is installed starts are replaced again and again."""
    daemon = start_daemon()
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    wait_for("all is in reserve", lambda: _has_reserve(daemon), alive=daemon.running)
    with _broken(disk), reader(container) as reading:
        for _ in range(5):
            _replace(daemon, _kill_server)
        seen = reading.stop()
    assert (0, 5) == (seen.wrong, daemon.state["replaced"]), (seen.problems, daemon.log)
    daemon.stop()


def test_reload_of_broken_code(start_daemon: StartDaemon, disk: Path) -> None:
    """It says so by its exit status, in status and in doctor; nothing changes, and the next one succeeds."""
    daemon = start_daemon()
    wait_for("all is in reserve", lambda: _has_reserve(daemon), alive=daemon.running)
    before = daemon.state
    with _broken(disk):
        done = _ctl(daemon, "reload")
    assert (1, "") == (done.returncode, done.stdout)
    assert "nothing has changed, as the installed code does not start: it ended with status 7" in done.stderr
    changed = {name for name, value in daemon.state.items() if value != before[name]}
    assert {"reload"} == changed
    assert f"reload failed, nothing changes: it {_TOLD}" in daemon.log
    assert f"has changed nothing: it {_TOLD}" in _ctl(daemon, "status").stdout
    assert f"the latest reload has changed nothing: it {_TOLD}" in " ".join(
        _ctl(daemon, "doctor", "--mount-point", str(daemon.mount_point)).stdout.split()
    )
    done = _ctl(daemon, "reload")
    assert (0, f"server {daemon.state['server_pid']} (generation 2) serves\n") == (
        done.returncode,
        done.stdout,
    )
    assert "" == daemon.state["reload"][2]
    assert before["server_pid"] != daemon.state["server_pid"]
    daemon.stop()


def test_last_line_is_told(start_daemon: StartDaemon, disk: Path) -> None:
    """Of code that ends with a traceback its last line is told, and all of it logged."""
    daemon = start_daemon()
    (disk / "argparse.py").write_text("def broken():\n    raise ValueError('no such thing')\nbroken()\n")
    done = _ctl(daemon, "reload")
    assert "does not start: it ended with status 1: ValueError: no such thing\n" in done.stderr
    assert "argparse.py" in daemon.log
    daemon.stop()


def test_template_and_spare_are_replaced(start_daemon: StartDaemon) -> None:
    """A template that is killed is loaded anew, a server in reserve forked anew; nobody else ends."""
    daemon = start_daemon()
    for number in (0, 1, 0):
        wait_for("all is in reserve", lambda: _has_reserve(daemon), alive=daemon.running)
        before = daemon.state
        os.kill(before["reserve"][number], signal.SIGKILL)

        def is_another(killed: int = before["reserve"][number]) -> bool:
            return _has_reserve(daemon) and killed not in daemon.state["reserve"]

        wait_for("another one is in reserve", is_another, alive=daemon.running)
        assert (before["server_pid"], 0) == (daemon.state["server_pid"], daemon.state["replaced"])
    daemon.stop()


def test_no_template_to_be_had(start_daemon: StartDaemon, disk: Path) -> None:
    """It is told why, and when it is tried again; the server in reserve is still there to take over."""
    daemon = start_daemon()
    wait_for("all is in reserve", lambda: _has_reserve(daemon), alive=daemon.running)
    with _broken(disk):
        os.kill(daemon.state["reserve"][0], signal.SIGKILL)
        wait_for("it is told", lambda: _TOLD in daemon.state["reserve"][2], alive=daemon.running)
        told = re.search("^reserve     MISSING: (.*); (.*)$", _ctl(daemon, "status").stdout, re.MULTILINE)
        assert told is not None
        assert f"the installed code does not start: it {_TOLD}" == told[1]
        assert re.fullmatch(r"next try at [\d:]+|a try is under way", told[2])
        before = daemon.state
        _kill_server(before)
        _wait_for_next(daemon, 0)
        assert before["reserve"][1] == daemon.state["server_pid"]
    wait_for("all is in reserve again", lambda: _has_reserve(daemon), alive=daemon.running)
    assert "" == daemon.state["reserve"][2]
    daemon.stop()


def test_nobody_to_be_had(start_daemon: StartDaemon, make_container: MakeContainer, disk: Path) -> None:
    """If all servers and the template are killed and no code starts, nobody hangs, and it ends."""
    daemon = start_daemon()
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    wait_for("all is in reserve", lambda: _has_reserve(daemon), alive=daemon.running)
    state = daemon.state
    with _broken(disk):
        began = time.monotonic()
        for pid in (*state["reserve"][:2], state["server_pid"]):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(subprocess.CalledProcessError):
            container.read("meminfo")
        assert 1 == daemon.process.wait()
        waited = time.monotonic() - began
    assert "no server for 10 s (the installed code does not start: it ended with status 7" in daemon.log
    assert "giving containers the kernel's files back" in daemon.log
    assert 10 <= waited
    container.kill()


def test_code_that_loads_slowly(start_daemon: StartDaemon, make_container: MakeContainer, disk: Path) -> None:
    """Where all have died and code takes longer than any patience to load, it is waited for: it comes."""
    daemon = start_daemon()
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    wait_for("all is in reserve", lambda: _has_reserve(daemon), alive=daemon.running)
    (disk / "argparse.py").write_text(_SLOW)
    before = daemon.state
    for pid in (*before["reserve"][:2], before["server_pid"]):
        os.kill(pid, signal.SIGKILL)
    assert 100 * 1024 == meminfo(container.read("meminfo"))["MemTotal"]
    assert "giving containers" not in daemon.log
    assert before["server_pid"] != daemon.state["server_pid"]


def test_no_server_lives(start_daemon: StartDaemon, make_container: MakeContainer) -> None:
    """If every server that is forked dies, containers get the kernel's own files, and it ends."""
    daemon = start_daemon()
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    wait_for("all is in reserve", lambda: _has_reserve(daemon), alive=daemon.running)
    supervisor, template = psutil.Process(daemon.process.pid), daemon.state["reserve"][0]

    def kill_all() -> None:
        while "giving containers" not in daemon.log:
            for child in supervisor.children():
                if child.pid != template:
                    child.kill()
            time.sleep(0.002)

    killer = threading.Thread(target=kill_all)
    killer.start()
    assert 1 == daemon.process.wait()
    killer.join()
    host = meminfo(Path("/proc/meminfo").read_text())["MemTotal"]
    assert host == meminfo(container.read("meminfo"))["MemTotal"]
    assert "no server for 10 s (" in daemon.log


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
)
def test_server_ignores(start_daemon: StartDaemon, number: signal.Signals) -> None:
    """What is sent to all processes of the service is meant for the supervisor."""
    daemon = start_daemon()
    wait_for("all is in reserve", lambda: _has_reserve(daemon), alive=daemon.running)
    before = daemon.state
    for pid in (before["server_pid"], *before["reserve"][:2]):
        ignored = int(
            next(
                line.split()[1]
                for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                if line.startswith("SigIgn")
            ),
            16,
        )
        assert ignored & 1 << (number - 1)
        os.kill(pid, number)
    assert daemon.serving()
    assert before == daemon.state
    daemon.stop()


def test_hanging_is_dying_young(
    start_daemon: StartDaemon, make_container: MakeContainer, machine: Session
) -> None:
    """Servers that hang in a row, whom not even SIGKILL ends, are followed by one that shows the host."""
    daemon = start_daemon()
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    with cgroup(f"{machine.token}-frozen", make=EveryHierarchy) as group:
        (freezer,) = [path for path in group.directories if (path / "freezer.state").exists()]
        try:
            for _ in range(5):
                wait_for("all is in reserve", lambda: _has_reserve(daemon), alive=daemon.running)
                time.sleep(_GROWN_UP_SECONDS)
                before = daemon.state
                (freezer / "cgroup.procs").write_text(str(before["server_pid"]))
                (freezer / "freezer.state").write_text("FROZEN")
                _wait_for_next(daemon, before["replaced"])
            host = meminfo(Path("/proc/meminfo").read_text())["MemTotal"]
            assert host == meminfo(container.read("meminfo"))["MemTotal"]
            assert ["did nothing for 1.25 s"] * 5 == [why for _, why, _ in daemon.state["replacements"]]
            assert "servers keep dying at once" in daemon.log
        finally:
            (freezer / "freezer.state").write_text("THAWED")
            wait_for("they end", lambda: (freezer / "cgroup.procs").read_text() == "")
    daemon.stop()
