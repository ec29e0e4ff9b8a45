"""Containers whose root lies: about what is mounted, and about what is at a path."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest

from pylxcfs.reattach.namespaces import each_namespace
from pylxcfs.reattach.protocol import Answer, Job, Order, Verb, Word
from pylxcfs.reattach.survey import find_binds
from pylxcfs.reattach.worker_client import Worker
from tests.support.container import Container
from tests.support.operator import Site, kernel_places, mount_table, own_mounts

MakeBound = Callable[..., Container]

CPU: Final = "/sys/devices/system/cpu"
#: Mounts a FUSE file system that looks like ours over a file. Its server is gone at once, or never answers.
_FAKE: Final = """
import ctypes, os, sys
target, source, mode, end = sys.argv[1:]
device = os.open("/dev/fuse", os.O_RDWR)
data = f"fd={device},rootmode={mode},user_id=0,group_id=0,allow_other".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(source.encode(), target.encode(), b"fuse.lxcfs", 6, data):
    raise OSError(ctypes.get_errno(), target)
if end == "dead":
    os.close(device)
print("ready", flush=True)
sys.stdin.read()
"""
_FILE: Final = "100444"
_DIRECTORY: Final = "40555"


@contextmanager
def fake(container: Container, target: str, source: str, mode: str, end: str, *unshare: str) -> Iterator[int]:
    """Mount a fake inside; yield a process that sees it."""
    command = container.command(*unshare, sys.executable, "-ISc", _FAKE, target, source, mode, end)
    with psutil.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            children = psutil.Process(process.pid).children(recursive=True)
            yield children[-1].pid if children else process.pid
        finally:
            process.stdin.close()
            process.wait()


def test_something_else_mounted_over_it(site: Site, make_bound: MakeBound) -> None:
    """What a container has mounted over a dead file of ours stays on top, and is said to hide it."""
    container = make_bound(files=("meminfo",))
    site.replace()
    container.run("mount", "--bind", "/etc/hostname", "/proc/meminfo")
    before = kernel_places(container.init_pid)
    report = site.ctl("reattach")
    assert report.of("/proc/meminfo") == ("hidden", "left alone")
    assert report.status == 0
    assert site.ctl("detach").of("/proc/meminfo") == ("hidden", "left alone")
    assert kernel_places(container.init_pid) == before


def test_a_fresh_proc_over_it(site: Site, make_bound: MakeBound) -> None:
    """A new /proc hides the files on the old one; it stays as the container wanted it."""
    container = make_bound(files=("meminfo",))
    site.replace()
    container.run("mount", "-t", "proc", "proc", "/proc")
    before = kernel_places(container.init_pid)
    assert site.ctl("reattach").of("/proc/meminfo") == ("hidden", "left alone")
    assert kernel_places(container.init_pid) == before


def test_a_mount_that_ends_its_line(site: Site, make_bound: MakeBound) -> None:
    """A mount whose source has a line separator that the kernel does not escape is seen all the same."""
    container = make_bound(files=("meminfo",))
    site.replace()
    container.run("mount", "-t", "tmpfs", "a\rb", "/sys")
    container.run("mkdir", "-p", CPU)
    report = site.ctl("reattach", "--container", container.group.name)
    (reason,) = (row.reason for row in report.rows if row.file == CPU)
    assert reason == "a tmpfs is mounted there, not the kernel's file of that name"
    assert report.of("/proc/meminfo") == ("dead", "attached")
    assert CPU not in own_mounts(container.init_pid, site.fsname)


@pytest.mark.parametrize("verb", [Verb.ATTACH, Verb.DETACH])
def test_mounted_over_between_look_and_deed(site: Site, make_bound: MakeBound, verb: Verb) -> None:
    """What a container mounts over a file of ours after we have looked is respected all the same."""
    container = make_bound(files=("meminfo",))
    site.replace()
    tables = each_namespace(Path("/proc"))
    ((namespace, table),) = (found for found in tables if found[0].pid == container.init_pid)
    (bind,), _ = find_binds(
        table.content,
        mark=b" /proc/meminfo ",
        is_wanted=lambda mount: mount.mount_point == Path("/proc/meminfo"),
    )
    ids = tuple(mount.mount_id for mount in bind.mounts)
    container.run("mount", "--bind", "/etc/hostname", "/proc/meminfo")
    before = kernel_places(container.init_pid)
    job = Job(
        *(namespace.pid, namespace.start_ticks, namespace.inode, ()),
        (Order(verb, "/proc/meminfo", "proc/meminfo", ids),),
    )
    tree_fd = os.open(site.mount_point, os.O_PATH | os.O_DIRECTORY)
    try:
        ((answer,),) = Worker(Path("/proc"), tree_fd, "0:0").carry_out([job])
    finally:
        os.close(tree_fd)
    assert answer == Answer(Word.LEFT, "something else is mounted over it")
    assert kernel_places(container.init_pid) == before


def test_nothing_is_imported_from_a_container(
    site: Site, make_bound: MakeBound, new_directory: Callable[[str], Path]
) -> None:
    """A container that has other modules where ours are gets none of them run by us."""
    container = make_bound(files=("meminfo",))
    mark = new_directory("mark") / "imported"
    traps = new_directory("traps")
    library = Path(os.__file__).parent
    for module in library.iterdir():
        trap = traps / f"{module.stem}.py"
        trap.write_text(f"open({str(mark)!r}, 'a').write(__name__)")
    site.replace()
    container.run("mount", "--bind", str(traps), str(library))
    report = site.ctl("reattach", "--container", container.group.name)
    assert report.of("/proc/meminfo") == ("dead", "attached")
    assert report.of("/proc/uptime") == ("none", "attached")
    assert not mark.exists()


def test_retrofit_respects_what_is_mounted(site: Site, make_bound: MakeBound) -> None:
    """Retrofitting respects what a container has mounted over its own files."""
    container = make_bound(files=())
    container.run("mount", "--bind", "/etc/hostname", "/proc/meminfo")
    report = site.ctl("reattach", "--container", container.group.name)
    (reason,) = (row.reason for row in report.rows if row.file == "/proc/meminfo")
    assert "is mounted there, not the kernel's file" in reason
    assert report.of("/proc/uptime") == ("none", "attached")
    assert "/proc/meminfo" not in own_mounts(container.init_pid, site.fsname)


def test_directory_replaced_by_a_symbolic_link(
    site: Site, make_bound: MakeBound, new_directory: Callable[[str], Path]
) -> None:
    """A container whose /sys leads elsewhere by a symbolic link gets nothing attached where it leads."""
    container = make_bound(files=())
    victim = new_directory("victim")
    (victim / "system/cpu").mkdir(parents=True)
    container.run("mount", "-t", "tmpfs", "none", "/sys")
    container.run("ln", "-s", str(victim), "/sys/devices")
    report = site.ctl("reattach", "--container", container.group.name)
    assert report.of(CPU) == ("none", "left alone")
    (reason,) = (row.reason for row in report.rows if row.file == CPU)
    assert reason == "a symbolic link is on the way"
    assert str(victim) not in mount_table(container.init_pid)


def test_link_in_place_of_a_detached_bind(
    site: Site, make_bound: MakeBound, new_directory: Callable[[str], Path]
) -> None:
    """A place that was remembered is looked at again before anything is attached there."""
    container = make_bound(files=())
    container.run("mount", "--bind", f"{site.mount_point}{CPU}", CPU)
    assert site.ctl("detach").of(CPU) == ("alive", "detached")
    victim = new_directory("victim")
    (victim / "system/cpu").mkdir(parents=True)
    container.run("mount", "-t", "tmpfs", "none", "/sys")
    container.run("ln", "-s", str(victim), "/sys/devices")
    assert site.ctl("reattach").of(CPU) == ("missing", "left alone")
    assert str(victim) not in mount_table(container.init_pid)


@pytest.mark.parametrize(
    "plant", ["ln -s {victim} {target}", "mkfifo {target}", "mknod {target} c 1 8", "mkdir {target}"]
)
def test_something_else_in_place_of_a_file(
    site: Site, make_bound: MakeBound, new_directory: Callable[[str], Path], plant: str
) -> None:
    """A link, FIFO, device or directory where a file should be is neither followed nor covered."""
    container = make_bound(files=())
    victim = new_directory("victim") / "shadow"
    victim.touch()
    container.run("mount", "-t", "tmpfs", "none", "/proc")
    container.run("sh", "-c", plant.format(victim=victim, target="/proc/meminfo"))
    before = [place for place in kernel_places(container.init_pid) if "/sys/devices/" not in place]
    report = site.ctl("reattach", "--container", container.group.name)
    assert report.of("/proc/meminfo") == ("none", "left alone")
    assert before == [place for place in kernel_places(container.init_pid) if "/sys/devices/" not in place]
    assert str(victim) not in mount_table(container.init_pid)


#: Swaps what is in the place of a file as fast as it can: a link, a file of its own, the kernel's own.
_RACING: Final = """
while :; do
    mount -t tmpfs none /proc 2>/dev/null && ln -s "$1" /proc/meminfo
    rm -f /proc/meminfo; touch /proc/meminfo
    umount /proc 2>/dev/null
    mount --bind /etc/hostname /proc/meminfo 2>/dev/null
    umount /proc/meminfo 2>/dev/null
done
"""


def test_a_container_that_races(
    site: Site, make_bound: MakeBound, new_directory: Callable[[str], Path]
) -> None:
    """Whatever a container swaps in while its files are attached, nothing lands outside of its own places."""
    container = make_bound(files=())
    other = make_bound(files=("meminfo",))
    victim = new_directory("victim") / "shadow"
    victim.write_text("secret")
    racer = container.start("sh", "-c", _RACING, "race", str(victim))
    try:
        for _ in range(5):
            site.ctl("reattach", "--container", container.group.name)
            site.ctl("detach")
            assert str(victim) not in mount_table(container.init_pid)
            assert victim.read_text() == "secret"
    finally:
        container.kill()
        racer.communicate()
    assert site.ctl("reattach").of("/proc/meminfo") == ("missing", "attached")
    assert "/proc/meminfo" in own_mounts(other.init_pid, site.fsname)


def test_another_file_of_proc_under_the_name(site: Site, make_bound: MakeBound) -> None:
    """A /proc that is not the root of a procfs is not believed to have the kernel's files."""
    container = make_bound(files=())
    # /proc/stat is then a procfs file indeed, but another one: /proc/1/stat.
    container.run("mount", "--bind", "/proc/1", "/proc")
    report = site.ctl("reattach", "--container", container.group.name)
    assert {"left alone"} == {row.action for row in report.rows if row.file.startswith("/proc/")}
    (reason,) = (row.reason for row in report.rows if row.file == "/proc/stat")
    assert reason == "a proc is mounted there, not the kernel's file of that name"


@pytest.mark.parametrize("unshare", [(), ("unshare", "--user", "--map-root-user", "--mount")])
@pytest.mark.parametrize("end", ["dead", "silent"])
def test_fake_file_system(site: Site, make_bound: MakeBound, end: str, unshare: tuple[str, ...]) -> None:
    """A dead FUSE file system from a user namespace is not taken for ours, whatever it is called.

    Root of the host's user namespace can fake that, too, and gains nothing by it.
    """
    container = make_bound(files=("uptime",))
    site.replace()
    with fake(container, "/proc/meminfo", site.fsname, _FILE, end, *unshare) as pid:
        before = own_mounts(pid, site.fsname).count("/proc/meminfo")
        report = site.ctl("reattach")
        (row,) = (row for row in report.rows if row.file == "/proc/meminfo")
        expected = {
            ("dead", True): ("other", "nothing"),
            ("silent", True): ("other", "nothing"),
            ("dead", False): ("dead", "left alone"),
            ("silent", False): ("unresponsive", "left alone"),
        }
        assert (row.state, row.action) == expected[end, bool(unshare)]
        assert own_mounts(pid, site.fsname).count("/proc/meminfo") == before == 1
        assert ("dead", "attached") in report.actions({container.init_pid})


def test_fake_elsewhere(site: Site, make_bound: MakeBound, new_directory: Callable[[str], Path]) -> None:
    """A fake dead mount over a file that is none of /proc's is left alone."""
    container = make_bound(files=())
    victim = new_directory("victim") / "shadow"
    victim.touch()
    with fake(container, str(victim), site.fsname, _FILE, "dead"):
        assert site.ctl("reattach").of(str(victim)) == ("dead", "left alone")


def test_hanging_file_system_on_the_way(site: Site, make_bound: MakeBound) -> None:
    """A container whose /sys hangs costs some seconds; its other files, and other containers, are served."""
    container = make_bound(files=("meminfo",))
    other = make_bound(files=("meminfo",))
    with fake(container, "/sys", "whatever", _DIRECTORY, "silent"):
        site.replace()
        report = site.ctl("reattach", "--container", container.group.name)
        assert report.of(CPU) == ("none", "failed")
        assert report.status == 1
        report = site.ctl("reattach")
        assert report.actions({other.init_pid}) == {("dead", "attached")}


def test_user_namespace(site: Site, make_bound: MakeBound) -> None:
    """A container in a user namespace of its own can be retrofitted, and has its binds attached anew."""
    container = make_bound(files=())
    unshare = ("--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    command = ["unshare", *unshare, "sh", "-c", "echo ready; exec cat"]
    group = container.command("true")[: container.command("true").index("nsenter")]
    with psutil.Popen([*group, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as outer:
        try:
            assert outer.stdout.readline() == "ready\n"
            (init,) = outer.children()
            container.kill()
            name = container.group.name
            assert site.ctl("reattach", "--container", name).of("/proc/meminfo") == ("none", "attached")
            read = ["nsenter", f"--target={init.pid}", "--user", "--mount", "--pid", "cat", "/proc/meminfo"]
            subprocess.run(read, check=True, stdout=subprocess.DEVNULL)
            site.replace()
            assert site.ctl("reattach").of("/proc/meminfo") == ("dead", "attached")
            subprocess.run(read, check=True, stdout=subprocess.DEVNULL)
        finally:
            outer.stdin.close()
            outer.wait()
