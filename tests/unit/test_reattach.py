"""Finding binds, naming containers, remembering what was detached; nothing is mounted here."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pylxcfs.containers.name import Name
from pylxcfs.containers.procpid import parse_start_ticks
from pylxcfs.ctl.binds import table
from pylxcfs.linux.mountinfo import Mount
from pylxcfs.reattach.detached import Detached, DetachedFile
from pylxcfs.reattach.namespaces import Namespace, each_namespace
from pylxcfs.reattach.outcome import Action, Outcome, summary
from pylxcfs.reattach.protocol import (
    Answer,
    Job,
    Order,
    Verb,
    Word,
    dump_answers,
    dump_jobs,
    is_place,
    load_answers,
    load_jobs,
)
from pylxcfs.reattach.reach import Reach
from pylxcfs.reattach.survey import Bind, State, find_binds, find_fallbacks
from pylxcfs.reattach.worker_client import Worker

MARK = b" - fuse.lxcfs "
ID = "3f2a9c31be02" + "0123456789abcdef" * 3 + "0123"
#: A docker container: its root, /proc, /sys, binds of ours, one of them hidden by a file of the container's.
CONTAINER = b"""100 99 0:50 / / rw - overlay overlay rw
101 100 0:51 / /proc rw - proc proc rw
102 100 0:52 / /sys ro - sysfs sysfs ro
103 101 0:40 /proc/meminfo /proc/meminfo ro - fuse.lxcfs pylxcfs rw
104 101 0:40 /proc/stat//deleted /proc/stat ro - fuse.lxcfs pylxcfs rw
105 101 0:40 /proc/uptime /proc/uptime ro - fuse.lxcfs pylxcfs rw
106 105 8:1 /etc/hostname /proc/uptime ro - ext4 /dev/sda1 rw
107 102 0:40 /sys/devices/system/cpu /sys/devices/system/cpu ro - fuse.lxcfs pylxcfs rw
108 107 0:53 / /sys/devices/system/cpu/cpu0/thermal_throttle ro - tmpfs tmpfs ro
109 101 0:41 /proc/swaps /proc/swaps ro - fuse.lxcfs lxcfs rw
"""


def ours(mount: Mount) -> bool:
    """Choose what is called pylxcfs."""
    return mount.source == "pylxcfs"


def found(content: bytes) -> dict[str, Bind]:
    """Find our binds, by place."""
    binds, left_over = find_binds(content, mark=MARK, is_wanted=ours)
    assert not left_over
    return {bind.target: bind for bind in binds}


def namespace(inode: int, *, pid_namespace: int = 7, on_host: bool = False) -> Namespace:
    """Describe a mount namespace."""
    return Namespace(
        inode=inode,
        pid=inode,
        start_ticks=inode,
        pid_namespace=pid_namespace,
        is_hosts=False,
        in_host_pid_namespace=on_host,
        name=Name("/"),
    )


def reach_of(*tables: tuple[Namespace, bytes]) -> Reach:
    """Have read these tables."""
    reach = Reach()
    for whose, content in tables:
        reach.add(whose, content, is_whole=True)
    return reach


def test_binds_are_found() -> None:
    """Each bind of ours is found with the file that is bound, also when the kernel has dropped its name."""
    binds = found(CONTAINER)
    cpu = "/sys/devices/system/cpu"
    assert {"/proc/meminfo", "/proc/stat", "/proc/uptime", cpu} == binds.keys()
    assert ("proc/meminfo", "proc/stat", cpu[1:]) == tuple(
        binds[target].file for target in ("/proc/meminfo", "/proc/stat", cpu)
    )


def test_what_covers_a_bind() -> None:
    """A bind is seen with something mounted in it, and not with something mounted over it."""
    binds = found(CONTAINER)
    assert binds["/proc/uptime"].seen is None
    assert binds["/sys/devices/system/cpu"].seen is not None


def test_a_mount_over_a_directory_above_covers() -> None:
    """A fresh /proc over the old one hides all binds on that."""
    binds = found(CONTAINER + b"110 101 0:60 / /proc rw - proc proc rw\n")
    assert binds["/proc/meminfo"].seen is None
    assert binds["/sys/devices/system/cpu"].seen is not None


def test_stacked_binds_are_one_place() -> None:
    """Of binds on one place the one on top is seen."""
    (bind,) = (
        bind
        for target, bind in found(
            CONTAINER + b"110 103 0:42 /proc/meminfo /proc/meminfo ro - fuse.lxcfs pylxcfs rw\n"
        ).items()
        if target == "/proc/meminfo"
    )
    assert bind.seen is not None
    assert bind.seen.mount_id == 110
    assert [103, 110] == [mount.mount_id for mount in bind.mounts]


def shared(fields: bytes) -> bytes:
    """Write a /proc with these optional fields."""
    return b"101 100 0:51 / /proc rw " + fields + b" - proc proc rw\n"


@pytest.mark.parametrize(
    "others,expected",
    [
        ([], (5,)),
        # Same container: the pid namespace is shared.
        ([(namespace(2), b"shared:5")], (5,)),
        ([(namespace(2, pid_namespace=8), b"master:5")], ()),
        ([(namespace(2, pid_namespace=8), b"shared:5")], ()),
        # Received, and passed on.
        ([(namespace(2), b"shared:6 master:5"), (namespace(3, pid_namespace=8), b"master:6")], ()),
        # The other way round: what happens there reaches us.
        ([(namespace(2, pid_namespace=8), b"shared:9")], (5,)),
        # A name that looks like a line's end hides nobody.
        ([(namespace(2, pid_namespace=8), b"shared:5 - proc a\rb rw\n1 2 0:1 / /x\ry rw")], ()),
    ],
)
def test_whom_a_peer_group_reaches(others: list[tuple[Namespace, bytes]], expected: tuple[int, ...]) -> None:
    """A peer group is a container's own if all who receive from it, directly or not, are in the container."""
    one = namespace(1)
    tables = [(whose, shared(fields)) for whose, fields in [(one, b"shared:5 master:9"), *others]]
    assert reach_of(*tables).own_groups(one) == expected


def test_the_hosts_pid_namespace_makes_no_container() -> None:
    """Two namespaces with the host's processes are not of one container."""
    one, other = namespace(1, on_host=True), namespace(2, on_host=True)
    assert reach_of((one, shared(b"shared:5")), (other, shared(b"shared:5"))).own_groups(one) == ()


def test_a_host_that_is_not_seen_whole() -> None:
    """Where the host's own table is too long to be read, nothing is thought to be a container's own."""
    reach, one, host = Reach(), namespace(1), replace(namespace(9), is_hosts=True)
    reach.add(one, shared(b"shared:5"), is_whole=True)
    assert reach.own_groups(one) == (5,)
    reach.add(host, b"", is_whole=False)
    assert reach.own_groups(one) == ()


@pytest.mark.parametrize(
    "target,expected",
    [
        ("/proc/meminfo", True),
        ("/sys/devices/system/cpu", True),
        ("/sys/devices/system/cpu/online", True),
        ("/proc", False),
        ("/process", False),
        ("/sys/devices/system/cpufreq", False),
        ("/etc/shadow", False),
    ],
)
def test_places(target: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """Files of ours belong below /proc, and on the CPU directory or below it."""
    assert is_place(target) is expected


def test_jobs_and_answers_survive_the_pipe() -> None:
    """What one process writes the other reads."""
    jobs = [Job(1, 2, 3, (4, 5), (Order(Verb.ATTACH, "/proc/é", "proc/é", (6,)),)), Job(1, 2, 3, (), ())]
    answers = [Answer(Word.DONE), Answer(Word.FAILED, "why\nnot", 107)]
    assert load_jobs(dump_jobs(jobs)) == jobs
    assert load_answers(dump_answers(answers)) == answers
    assert "\n" not in dump_answers(answers)


def test_namespaces_of_this_machine() -> None:
    """Our own mount namespace is among those that are found, as one that is never touched."""
    ((own, table),) = (
        (namespace, table)
        for namespace, table in each_namespace(Path("/proc"))
        if namespace.inode == os.stat("/proc/self/ns/mnt").st_ino
    )
    assert own.is_hosts
    assert table.is_whole
    assert b" /proc " in table.content


def ask(pid: int, start_ticks: int, inode: int) -> Answer:
    """Have the worker look at a process."""
    job = Job(pid, start_ticks, inode, (), (Order(Verb.ASK, "/proc/meminfo", "proc/meminfo", (0,)),))
    ((answer,),) = Worker(Path("/proc")).carry_out([job])
    return answer


def test_a_container_that_ended() -> None:
    """A process that is gone, or is another one by now, is not entered."""
    inode = os.stat("/proc/self/ns/mnt").st_ino
    born = parse_start_ticks(Path("/proc/self/stat").read_bytes())
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert ask(ended.pid, born, inode).word is Word.GONE
    assert ask(os.getpid(), born + 1, inode).word is Word.GONE
    assert ask(os.getpid(), born, inode + 1).word is Word.GONE
    assert ask(os.getpid(), born, inode) == Answer(Word.LEFT, "something else is mounted over it")


def test_detached_binds_are_remembered(tmp_path: Path) -> None:
    """What was saved is loaded, by another process too, until the next boot."""
    detached = {Detached(1, 2, "/proc/meminfo", "proc/meminfo"), Detached(3, 4, "/proc/stat", "proc/stat")}
    DetachedFile(tmp_path, "boot").save(detached)
    assert DetachedFile(tmp_path, "boot").load() == detached
    assert DetachedFile(tmp_path, "next boot").load() == set()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"version": 2, "boot_id": "boot", "detached": []}']
    + [
        json.dumps({"version": 1, "boot_id": "boot", "detached": entries})
        for entries in (None, [1], [[1, 2, 3, 4]], [["x", 2, "/a", "a"]], [[1, 2, "/a"]])
    ],
)
def test_damaged_memory(tmp_path: Path, content: str) -> None:
    """A file that is not ours, or damaged, is nothing that is remembered."""
    (tmp_path / "binds.json").write_text(content)
    assert DetachedFile(tmp_path, "boot").load() == set()


def test_remembered_within_a_budget(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A container with thousands of detached binds leaves room for the few of all others; the log says so."""
    evil = {Detached(1, 1, f"/proc/{'x' * 230}{number}", "proc/meminfo") for number in range(20_000)}
    others = {Detached(number, 1, "/proc/stat", "proc/stat") for number in range(2, 1000)}
    DetachedFile(tmp_path, "boot").save(evil | others)
    assert (tmp_path / "binds.json").stat().st_size < 3 << 20
    loaded = DetachedFile(tmp_path, "boot").load()
    assert others < loaded
    assert "more than there is room for" in caplog.text


def test_the_lock_needs_no_room(tmp_path: Path) -> None:
    """Binds are healed where no file can be made: nothing but the directory is locked."""
    file = DetachedFile(tmp_path, "boot")
    with file.locked():
        command = ["flock", "--nonblock", str(tmp_path), "true"]
        assert subprocess.run(command, check=False).returncode == 1
    assert os.listdir(tmp_path) == []


def outcome(state: State, action: Action, target: str = "/proc/stat", reason: str = "") -> Outcome:
    """Describe one bind in a docker container."""
    return Outcome(Name(f"/docker/{ID}", ID, "docker"), 42, target, state, action, reason)


def test_table() -> None:
    """The table has what is not simply well, in columns."""
    outcomes = [
        outcome(State.ALIVE, Action.NOTHING),
        outcome(State.DEAD, Action.ATTACHED),
        outcome(State.HIDDEN, Action.LEFT, "/proc/meminfo", "why"),
        Outcome(Name("/user.slice"), 7, "/proc/stat", State.DEAD, Action.GONE),
    ]
    assert list(table(outcomes)) == [
        "CONTAINER          FILE           STATE   ACTION",
        "3f2a9c31be02       /proc/stat     dead    attached",
        "3f2a9c31be02       /proc/meminfo  hidden  left alone: why",
        "pid 7 /user.slice  /proc/stat     dead    gone",
    ]
    assert summary(outcomes) == "2 containers, 4 binds: 1 attached, 1 left alone, 1 gone"
    assert list(table(outcomes[:1])) == []
    assert summary(outcomes[:1]) == "1 containers, 1 binds: nothing to do"


@pytest.mark.parametrize(
    "state,action,target,expected",
    [
        (State.DEAD, Action.ATTACHED, "/proc/stat", False),
        (State.DEAD, Action.LEFT, "/proc/stat", True),
        (State.DEAD, Action.LEFT, "/opt/stat", False),
        (State.UNRESPONSIVE, Action.LEFT, "/proc/stat", True),
        (State.HIDDEN, Action.LEFT, "/proc/stat", False),
        (State.NONE, Action.FAILED, "/proc/stat", True),
        (State.DEAD, Action.GONE, "/proc/stat", False),
    ],
)
def test_trouble(state: State, action: Action, target: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """The exit status tells of failures, and of files that readers still get errors from."""
    assert outcome(state, action, target).is_trouble is expected


def test_the_kernels_own_files_in_place_of_ours() -> None:
    """A file that is bound upon itself is what a container has that was started while nobody served."""
    table = CONTAINER + (
        b"120 101 0:51 /swaps /proc/swaps ro - proc proc rw\n"
        b"121 101 0:51 /swaps /proc/uptime ro - proc proc rw\n"
        b"122 101 0:51 /irq /proc/irq ro - proc proc rw\n"
        b"123 102 0:52 /devices/system/cpu /sys/devices/system/cpu ro - sysfs sysfs rw\n"
        b"124 102 0:53 /stat /proc/stat ro - tmpfs proc rw\n"
    )
    cpu = "sys/devices/system/cpu"
    assert ["proc/swaps", cpu] == find_fallbacks(table, ["proc/swaps", "proc/uptime", "proc/stat", cpu])
