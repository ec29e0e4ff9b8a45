"""Starting and stopping: bad input, stale mounts, signals, pidfiles."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import pyfuse3
import pytest

from tests.support.cgroups import Cgroup, Limits, find_layout
from tests.support.container import container
from tests.support.daemon import Daemon, Run, pylxcfs_command, run_to_end
from tests.support.mounts import mounts_under
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("machine")

NewDirectory = Callable[[str], Path]
StartDaemon = Callable[..., Daemon]
MakeCgroup = Callable[..., Cgroup]

#: In a mount namespace of its own: prepare it by $1, run the rest, and tell by exit status 99 if that left
#: something mounted on the last argument.
_IN_NAMESPACE: Final = """
eval "$1"; shift
"$@"; status=$?
for target; do :; done
if grep -qF " $target " /proc/self/mountinfo; then exit 99; fi
exit $status
"""
_HIDE_FUSE: Final = "mount -t tmpfs none /dev && mknod /dev/null c 1 3"
_HIDE_CGROUPS: Final = "umount --all --lazy --types cgroup,cgroup2"


def _arguments(directory: Path, *options: str) -> list[str]:
    runtime = directory.with_name(directory.name + ".run")
    runtime.mkdir(exist_ok=True)
    return pylxcfs_command("-p", runtime / "pylxcfs.pid", "--runtime-dir", runtime, *options, directory)


def _pidfile(directory: Path) -> Path:
    return directory.with_name(directory.name + ".run") / "pylxcfs.pid"


def _in_namespace(prepare: str, command: list[str]) -> Run:
    return run_to_end(["unshare", "--mount", "sh", "-c", _IN_NAMESPACE, "sh", prepare, *command])


def _check_refused(run: Run, directory: Path, *words: str, code: int = 1) -> None:
    """Check the one clear line, the exit status, and that nothing is left."""
    assert run.code == code, run.stderr
    assert len(run.lines) == 1, run.stderr
    for word in words:
        assert word in run.stderr
    assert mounts_under(directory) == []
    assert not _pidfile(directory).exists()


def test_no_root(new_directory: NewDirectory) -> None:
    """Without root's rights it refuses to start."""
    directory = new_directory("mount")
    # In a user namespace without a mapping: an unprivileged user who can still read the code.
    run = run_to_end(["unshare", "--user", *_arguments(directory)])
    _check_refused(run, directory, "root")


def test_no_dev_fuse(new_directory: NewDirectory) -> None:
    """Without /dev/fuse it refuses to start."""
    directory = new_directory("mount")
    _check_refused(_in_namespace(_HIDE_FUSE, _arguments(directory)), directory, "/dev/fuse")


def test_no_cgroups(new_directory: NewDirectory) -> None:
    """Without any cgroup mount it refuses to start."""
    directory = new_directory("mount")
    _check_refused(_in_namespace(_HIDE_CGROUPS, _arguments(directory)), directory, "cgroup")


@pytest.mark.parametrize("hidden", ["libfuse3", "pyfuse3"])
def test_no_library(new_directory: NewDirectory, hidden: str) -> None:
    """Without pyfuse3, or the libfuse that it loads, it refuses to start and says what to install."""
    directory = new_directory("mount")
    if hidden == "libfuse3":
        # Through every symbolic link to it.
        loaded = [map_.path for map_ in psutil.Process(os.getpid()).memory_maps() if "libfuse3" in map_.path]
        assert len(set(loaded)) == 1
        prepare = f"mount --bind /dev/null {loaded[0]}"
    else:
        prepare = f"mount -t tmpfs none {Path(pyfuse3.__file__).parent}"
    run = _in_namespace(prepare, _arguments(directory))
    _check_refused(run, directory, "cannot load pyfuse3: ", hidden, "libfuse3-3")


def test_mount_point_missing(new_directory: NewDirectory) -> None:
    """A mount point that does not exist is refused."""
    directory = new_directory("parent") / "missing"
    _check_refused(run_to_end(_arguments(directory)), directory, str(directory))
    assert not directory.exists()


def test_mount_point_is_a_file(new_directory: NewDirectory) -> None:
    """A mount point that is a file is refused."""
    file = new_directory("parent") / "file"
    file.touch()
    _check_refused(run_to_end(_arguments(file)), file, str(file), "directory")


@pytest.mark.parametrize(
    "options, word",
    [
        (["--no-such-option"], "--no-such-option"),
        (["-o", "no_such_value"], "no_such_value"),
        (["-o", "allow_other,no_such_value"], "no_such_value"),
        (["-o", "max_read=many"], "max_read"),
        (["--cache-ttl", "soon"], "soon"),
        (["--cache-ttl", "-1"], "-1"),
        (["/another/mount/point"], "/another/mount/point"),
    ],
)
def test_wrong_option(new_directory: NewDirectory, options: list[str], word: str) -> None:
    """A wrong command line is refused, and the line names what is wrong."""
    directory = new_directory("mount")
    _check_refused(run_to_end(_arguments(directory, *options)), directory, word, code=2)


def test_no_mount_point() -> None:
    """A command line without a mount point is refused."""
    run = run_to_end(pylxcfs_command())
    assert run.code == 2
    assert len(run.lines) == 1, run.stderr


@pytest.mark.parametrize("option", ["-h", "--help", "-v", "--version"])
def test_questions(option: str) -> None:
    """Help and version go to stdout, with success."""
    done = subprocess.run(pylxcfs_command(option), check=True, capture_output=True, text=True)
    assert "pylxcfs" in done.stdout
    assert done.stderr == ""


def test_lxcfs_options_are_accepted(start_daemon: StartDaemon) -> None:
    """A command line written for lxcfs starts pylxcfs."""
    start_daemon(
        "-f", "-l", "-s", "--enable-cfs", "--enable-loadavg", "--enable-pidfd", "-o", "allow_other"
    ).stop()


@pytest.mark.parametrize("same_pidfile", [True, False])
def test_already_served(start_daemon: StartDaemon, new_directory: NewDirectory, same_pidfile: bool) -> None:  # noqa: FBT001
    """A mount point that another instance serves is refused; that instance and its pidfile stay."""
    first = start_daemon()
    pid = first.pidfile.read_text()
    assert int(pid) == first.process.pid
    pidfile = first.pidfile if same_pidfile else new_directory("run") / "pid"
    run = run_to_end(pylxcfs_command("-p", pidfile, "--runtime-dir", pidfile.parent, first.mount_point))
    assert run.code == 1
    assert len(run.lines) == 1, run.stderr
    assert str(pidfile if same_pidfile else first.mount_point) in run.stderr
    assert same_pidfile or not pidfile.exists()
    assert first.serving()
    assert first.pidfile.read_text() == pid
    assert len(mounts_under(first.mount_point)) == 1
    first.stop()


def test_second_instance_leaves_pidfile(start_daemon: StartDaemon, new_directory: NewDirectory) -> None:
    """An instance that would use another one's pidfile never touches it."""
    first = start_daemon()
    pid = first.pidfile.read_text()
    elsewhere = new_directory("mount")
    with subprocess.Popen(
        pylxcfs_command("-p", first.pidfile, "--runtime-dir", first.pidfile.parent, elsewhere),
        stderr=subprocess.DEVNULL,
    ) as second:
        # It may serve without a pidfile or refuse; both leave the first one's alone.
        while second.poll() is None and not mounts_under(elsewhere):
            assert first.pidfile.read_text() == pid
        second.send_signal(signal.SIGTERM)
    assert mounts_under(elsewhere) == []
    assert first.pidfile.read_text() == pid
    assert first.serving()
    first.stop()


def test_stale_pidfile(new_directory: NewDirectory, start_daemon: StartDaemon) -> None:
    """A pidfile left by an instance that was killed is replaced."""
    mount_point = new_directory("mount")
    killed = start_daemon(mount_point=mount_point)
    killed.kill()
    assert killed.pidfile.exists()
    daemon = start_daemon(mount_point=mount_point)
    assert int(daemon.pidfile.read_text()) == daemon.process.pid
    daemon.stop()


def test_stale_mount_is_cleared(new_directory: NewDirectory, start_daemon: StartDaemon) -> None:
    """A mount whose daemon was killed is cleared with a warning, and served."""
    mount_point = new_directory("mount")
    start_daemon(mount_point=mount_point).kill()
    with pytest.raises(OSError, match=os.strerror(107)):
        os.statvfs(mount_point)
    daemon = start_daemon(mount_point=mount_point)
    assert any("warning" in line and str(mount_point) in line for line in daemon.log.splitlines()), daemon.log
    assert len(mounts_under(mount_point)) == 1
    daemon.stop()


def test_non_empty_mount_point(new_directory: NewDirectory, start_daemon: StartDaemon) -> None:
    """A mount point with something in it is mounted over with a warning, and is as before afterwards."""
    mount_point = new_directory("mount")
    (mount_point / "proc").mkdir()
    (mount_point / "proc" / "meminfo").write_text("left by somebody")
    daemon = start_daemon(mount_point=mount_point)
    assert any("warning" in line and "not empty" in line for line in daemon.log.splitlines()), daemon.log
    assert (daemon.proc / "meminfo").read_text().startswith("MemTotal:")
    daemon.stop()
    assert (mount_point / "proc" / "meminfo").read_text() == "left by somebody"


def test_mount_point_over_the_own_files(new_directory: NewDirectory) -> None:
    """A mount that would hide the daemon's own files is refused: it would wait for itself."""
    runtime = new_directory("runtime")
    mount_point = runtime / "pylxcfs"
    mount_point.mkdir()
    run = run_to_end(pylxcfs_command("--runtime-dir", runtime, mount_point))
    _check_refused(run, mount_point, "--runtime-dir")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops(start_daemon: StartDaemon, number: signal.Signals) -> None:
    """SIGTERM and SIGINT unmount, remove the pidfile and exit with success."""
    daemon = start_daemon()
    assert int(daemon.pidfile.read_text()) == daemon.process.pid
    daemon.stop(number)


def test_signal_stops_while_files_are_open(start_daemon: StartDaemon) -> None:
    """SIGTERM ends it although files of the mount are open."""
    daemon = start_daemon()
    with (daemon.proc / "meminfo").open() as file:
        assert file.readline()
        daemon.stop()


def test_unmounted_by_somebody_else(start_daemon: StartDaemon) -> None:
    """An umount by somebody else ends it with success."""
    daemon = start_daemon()
    # Busy for as long as binds in containers are being looked for, right after the start.
    wait_for(
        "it is unmounted", lambda: subprocess.run(["umount", daemon.mount_point], check=False).returncode == 0
    )
    daemon.check_ended_well()


@pytest.mark.parametrize("option", ["-f", "-l", "-fl"])
def test_unmounted_somehow_else(start_daemon: StartDaemon, option: str) -> None:
    """Forced, which aborts the connection, and lazily while a file is open; no error is logged."""
    daemon = start_daemon("--disable-reattach")
    with (daemon.proc / "meminfo").open() as file:
        assert file.readline()
        if "l" not in option:
            file.close()
        command = ["umount", option, str(daemon.mount_point)]
        wait_for("it is unmounted", lambda: not subprocess.run(command, check=False).returncode)
    daemon.check_ended_well()
    after = daemon.log.partition("pylxcfs: options:")[2].splitlines()[1:]
    expected = {f"serving {daemon.mount_point}", f"{daemon.mount_point} was unmounted"}
    assert [line for line in after if line.removeprefix("pylxcfs: ") not in expected] == []


def test_restart_on_same_mount_point(new_directory: NewDirectory, start_daemon: StartDaemon) -> None:
    """A mount point can be served again and again."""
    mount_point = new_directory("mount")
    for _ in range(3):
        start_daemon(mount_point=mount_point).stop()


def test_tree(daemon: Daemon) -> None:
    """The tree served has the files that lxcfs' users bind, read-only, and nothing to write to."""
    names = {path.name for path in daemon.proc.iterdir()}
    assert names >= {"cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime"}
    assert all(path.stat().st_mode & 0o222 == 0 for path in daemon.proc.iterdir())


def test_start_is_logged(start_daemon: StartDaemon) -> None:
    """What is logged at start tells where controllers are, and what kernel and options let containers see."""
    daemon = start_daemon("-u", "--memory-high", "--cache-ttl", "0.5")
    lines = daemon.log.splitlines()
    layout = find_layout()
    unified = {"cgroup2": layout.unified.top} if layout.unified else {}
    for name, where in (*layout.v1.items(), *unified.items()):
        assert any(name in line and line.endswith(f" {where}") for line in lines), daemon.log
    (controllers,) = (line for line in lines if line.startswith("pylxcfs: controllers: "))
    for controller in ("memory", "cpu", "cpuset", "io"):
        version = layout.version(controller)
        assert f" {controller} {f'v{version}' if version else 'none'}," in controllers
    words = "cfs yes, loadavg yes, swap no, zswap yes, memory-high yes, compact-cpus no, cache-ttl 0.5"
    assert f"pylxcfs: options: {words}" in lines
    (kernel,) = (line for line in lines if line.startswith("pylxcfs: kernel: "))
    assert f"time per cpu {'yes' if 'cpuacct' in layout.v1 else 'no'}" in kernel
    serving = f"pylxcfs: serving {daemon.mount_point}"
    wait_for("it says that it serves", lambda: daemon.log.splitlines()[-1] == serving, alive=daemon.running)
    daemon.stop()


def test_debugging_tells_what_changes(start_daemon: StartDaemon, make_cgroup: MakeCgroup) -> None:
    """With -d the log names who waits to take over, and containers as they come and go."""
    group = make_cgroup(Limits())
    daemon = start_daemon("-d")
    with container(daemon.proc, group) as running:
        running.run("cat", "/proc/uptime")
        who = f"container, init {running.init_pid}, in "
    wait_for("it is gone", lambda: f"forgotten: {who}" in daemon.log, alive=daemon.running)
    (new,) = (line for line in daemon.log.splitlines() if "new: container" in line)
    assert new.startswith(f"pylxcfs: debug: new: {who}")
    assert new.endswith(group.name)
    assert re.search(r"^pylxcfs: debug: server \d+ waits to take over$", daemon.log, re.MULTILINE)
    daemon.stop()


def test_without_debugging_it_does_not(start_daemon: StartDaemon, make_cgroup: MakeCgroup) -> None:
    """Nothing of that is in the log otherwise."""
    daemon = start_daemon()
    with container(daemon.proc, make_cgroup(Limits())) as running:
        running.run("cat", "/proc/uptime")
    assert "debug" not in daemon.log
    assert "new: " not in daemon.log
    daemon.stop()
