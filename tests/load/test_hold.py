"""A holder keeps the mount from one daemon to the next, however the first one ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from pylxcfs.supervision import holder
from tests.support.cgroups import MIB, Limits
from tests.support.container import Container
from tests.support.daemon import Daemon, pylxcfs_command, run_to_end
from tests.support.mounts import mounts_under
from tests.support.processes import has_open
from tests.support.reader import reader
from tests.support.waiting import wait_for

StartDaemon = Callable[..., Daemon]
_LONG: Final = ("--hold", "600")


def _directory(daemon: Daemon) -> Path:
    return daemon.pidfile.parent / "pylxcfs"


def _state(daemon: Daemon) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_directory(daemon) / "supervisor.json").read_bytes())
    return content


def _holders(daemon: Daemon) -> list[int]:
    """Return the holders of a runtime directory, whoever has started them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "pylxcfs.supervision.holder" in words and str(daemon.pidfile.parent) in words:
            found.append(process.pid)
    return found


def _is_gone(pid: int) -> Callable[[], bool]:
    return lambda: not psutil.pid_exists(pid)


def _wait_until_held(daemon: Daemon) -> int:
    """Return once exactly one holder, which the daemon has started, keeps the connection."""

    def is_held() -> bool:
        holders = [psutil.Process(pid) for pid in _holders(daemon)]
        return [daemon.process.pid] == [each.ppid() for each in holders] and has_open(
            holders[0].pid, "/dev/fuse"
        )

    wait_for("a holder keeps it", is_held, alive=daemon.running)
    return _holders(daemon)[0]


def _kill(daemon: Daemon) -> None:
    """End supervisor and server at once, as the end of their container does, but not the holder."""
    server = _state(daemon)["server_pid"]
    # Stopped first: it would take its supervisor's place.
    for pid, number in (
        (server, signal.SIGSTOP),
        (daemon.process.pid, signal.SIGKILL),
        (server, signal.SIGKILL),
    ):
        os.kill(pid, number)
    daemon.process.wait()


def _end(daemon: Daemon, mount_point: Path, start_daemon: StartDaemon) -> None:
    """Let a daemon without a holder take over, and stop for good."""
    daemon.process.terminate()
    assert daemon.process.wait() == 0
    last = start_daemon(mount_point=mount_point)
    wait_for("the holder is released", lambda: _holders(daemon) == [], alive=last.running)
    last.stop()


@pytest.mark.needs("resend")
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_next_daemon(start_daemon: StartDaemon, make_container: Callable[..., Container], end: str) -> None:
    """Readers notice nothing but a pause when the daemon is killed or stopped and another one started."""
    daemon = start_daemon(*_LONG)
    first = _wait_until_held(daemon)
    device = _state(daemon)["device"]
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    with reader(container) as reading:
        for _ in range(3):
            if end == "kill":
                _kill(daemon)
            else:
                daemon.process.terminate()
                assert daemon.process.wait() == 0
            daemon = start_daemon(*_LONG, mount_point=daemon.mount_point)
            # Its program may go with the image that it came from.
            wait_for("the holder is another one", _is_gone(first))
            first = _wait_until_held(daemon)
            assert device == _state(daemon)["device"]
            assert "102400" == container.read("meminfo").split()[1]
        seen = reading.stop()
    assert 0 == seen.wrong, seen
    with reader(container) as reading:
        _end(daemon, daemon.mount_point, start_daemon)
        host = Path("/proc/meminfo").read_text().split()[1]
        assert host == container.read("meminfo").split()[1]
        # What the kernel's own files are like is not ours to judge.
        assert 0 == reading.stop().failed


def test_nobody_comes(start_daemon: StartDaemon, make_container: Callable[..., Container]) -> None:
    """After the time given those who wait are answered, and all have the kernel's files again."""
    daemon = start_daemon("--hold", "2")
    _wait_until_held(daemon)
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    with reader(container) as reading:
        _kill(daemon)
        # Waits, and is answered as if nothing had happened.
        assert "102400" == container.read("meminfo").split()[1]
        wait_for("the holder ends", lambda: _holders(daemon) == [])
        wait_for("nothing is mounted", lambda: mounts_under(daemon.mount_point) == [])
        host = Path("/proc/meminfo").read_text().split()[1]
        wait_for("it has the kernel's file", lambda: host == container.read("meminfo").split()[1])
        assert 0 == reading.stop().failed
    last = "starting a daemon that leaves in good order"
    assert last in (_directory(daemon) / "holder.log").read_text()


def test_program_removed(
    start_daemon: StartDaemon,
    make_container: Callable[..., Container],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """If no daemon can be started either, readers get an error and do not hang; the next start heals."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(tmp_path))
    daemon = start_daemon("--hold", "2")
    _wait_until_held(daemon)
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    # Found before the standard library's by every interpreter that starts from now on.
    (tmp_path / "argparse.py").write_text("raise SystemExit(7)")
    _kill(daemon)
    holder_pid = _holders(daemon)[0]
    with pytest.raises(subprocess.CalledProcessError):
        container.run("cat", "/proc/meminfo")
    wait_for("the holder ends", _is_gone(holder_pid))
    monkeypatch.undo()
    after = start_daemon(mount_point=daemon.mount_point)
    wait_for("it has its files again", lambda: "attached" in after.log, alive=after.running)
    assert "102400" == container.read("meminfo").split()[1]
    container.kill()


def test_holder_killed(start_daemon: StartDaemon) -> None:
    """A holder that ends is replaced."""
    daemon = start_daemon(*_LONG)
    first = _wait_until_held(daemon)
    os.kill(first, signal.SIGKILL)
    wait_for("another one is there", lambda: first not in _holders(daemon) and _holders(daemon) != [])
    _wait_until_held(daemon)
    assert "the holder of the connection has ended" in daemon.log
    _end(daemon, daemon.mount_point, start_daemon)


def test_unmounted(start_daemon: StartDaemon) -> None:
    """An operator who unmounts ends daemon and holder."""
    daemon = start_daemon(*_LONG)
    _wait_until_held(daemon)
    # Busy for as long as binds in containers are being looked for, right after the start.
    wait_for(
        "it is unmounted", lambda: subprocess.run(["umount", daemon.mount_point], check=False).returncode == 0
    )
    daemon.check_ended_well()
    wait_for("the holder ends", lambda: _holders(daemon) == [])


def test_only_root_gets_it(start_daemon: StartDaemon) -> None:
    """Whoever is not root is told nothing, even if the socket lets him in."""
    daemon = start_daemon(*_LONG)
    _wait_until_held(daemon)
    path = _directory(daemon) / "holder.sock"
    assert 0o600 == path.stat().st_mode & 0o777

    def ask() -> tuple[bytes, int]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(os.fspath(path))
            word, fds, _, _ = socket.recv_fds(client, holder.MAX_MESSAGE, 1)
            for fd in fds:
                os.close(fd)
            return word, len(fds)

    minor = _state(daemon)["device"].partition(":")[2].encode()
    assert (holder.HELD + minor, 1) == ask()
    path.chmod(0o666)
    os.seteuid(65534)
    try:
        assert (b"", 0) == ask()
    finally:
        os.seteuid(0)
    _end(daemon, daemon.mount_point, start_daemon)


def test_probe(start_daemon: StartDaemon) -> None:
    """`pylxcfsctl probe` tells whether the mount answers, and waits no longer than it may."""

    def probe() -> tuple[int, str]:
        command = (sys.executable, "-m", "pylxcfs.ctl.cli", "probe", "--mount-point", str(daemon.mount_point))
        done = subprocess.run([*command, "--seconds", "1"], check=False, capture_output=True, text=True)
        return done.returncode, done.stderr

    daemon = start_daemon(*_LONG)
    _wait_until_held(daemon)
    # A busy machine may need longer than that now and then.
    wait_for("it answers", lambda: (0, "") == probe())
    _kill(daemon)
    file = daemon.proc / "uptime"
    assert (1, f"pylxcfsctl: {file} is not answered within 1 s\n") == probe()
    daemon = start_daemon(*_LONG, mount_point=daemon.mount_point)
    wait_for("it answers again", lambda: (0, "") == probe())
    _wait_until_held(daemon)
    _end(daemon, daemon.mount_point, start_daemon)
    assert (1, f"pylxcfsctl: {file}: No such file or directory\n") == probe()


def test_small() -> None:
    """The holder has imported next to nothing."""
    names = "(name for name in sys.modules if name.startswith('pylxcfs'))"
    code = f"import sys, pylxcfs.supervision.holder; print(*{names})"
    loaded = subprocess.run([sys.executable, "-Sc", code], check=True, capture_output=True, text=True)
    assert {
        *("pylxcfs", "pylxcfs.linux", "pylxcfs.linux.mountinfo"),
        *("pylxcfs.supervision", "pylxcfs.supervision.holder"),
    } == set(loaded.stdout.split())


@pytest.mark.usefixtures("machine")
def test_needs_the_hosts_pid_namespace(new_directory: Callable[[str], Path]) -> None:
    """Where the daemon is process 1, a holder would end with it; that is an error."""
    directory = new_directory("mount")
    command = pylxcfs_command("--hold", "5", "--runtime-dir", new_directory("run"), directory)
    done = run_to_end(["unshare", "--pid", "--fork", "--kill-child", *command])
    assert 1 == done.code
    assert [
        "pylxcfs: --hold needs the host's pid namespace: what keeps the mount would end with ours"
    ] == done.lines
