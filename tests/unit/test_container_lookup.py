"""Which of several containers is meant, and what is read of their runtimes' state."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pylxcfs.containers import lookup
from pylxcfs.containers.lookup import Lookup
from pylxcfs.containers.name import Name
from pylxcfs.containers.processes import Processes

A, B = "a" * 12 + "0" * 52, "ab" + "1" * 62


@dataclass(frozen=True)
class Here:
    """A candidate."""

    name: Name
    inode: int = 0
    pid: int = 1 << 30


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookup]:
    """Look at this machine, with runtimes that have told of one container."""
    called = {A: ("web", "ab1"), B: ("db", "twice", "7777777")}
    monkeypatch.setattr(Lookup, "names", lambda _self, each: called.get(each.name.container_id, ()))
    with Lookup(Path("/proc")) as opened:
        yield opened


CANDIDATES = [
    Here(Name(f"/docker/{A}", A, "docker", (f"/docker/{A}",))),
    Here(Name(f"/docker/{A}", A, "docker", (f"/docker/{A}/nested",)), inode=1),
    Here(Name(f"/docker/{B}", B, "docker", (f"/docker/{B}",))),
    Here(Name("/mine/db", cgroups=("/mine/db",))),
    Here(Name("/mine", cgroups=("/mine",))),
]


@pytest.mark.parametrize(
    "word,chosen",
    [
        (A, [0, 1]),
        ("web", [0, 1]),
        # A name goes before the beginning of another's id.
        ("ab1", [0, 1]),
        ("ab11", [2]),
        ("aaa", [0, 1]),
        ("7777777", [2]),
        (f"/docker/{B}", [2]),
        # The cgroup itself goes before what is below it.
        ("/mine", [4]),
        ("/mine/db", [3]),
    ],
)
def test_one_is_meant(look: Lookup, word: str, chosen: list[int]) -> None:
    """The best fit counts, and all that belongs to the same container."""
    assert [CANDIDATES[index] for index in chosen] == look.choose(word, CANDIDATES)


@pytest.mark.parametrize(
    "word,problem",
    [
        ("a", f"several containers are called 'a': {A}, {B}"),
        ("db", f"several containers are called 'db': /mine/db, {B}"),
        ("/docker", f"several containers are called '/docker': {A}, {B}"),
        ("nobody", "no running container is called 'nobody'"),
        ("", "no running container is called ''"),
        ("8888888", "no running container is called '8888888'"),
    ],
)
def test_none_or_several(look: Lookup, word: str, problem: str) -> None:
    """What is not one container is refused, and those that it may be are told."""
    with pytest.raises(LookupError) as refused:
        look.choose(word, CANDIDATES)
    assert problem == str(refused.value)


def test_many_of_one_name(look: Lookup) -> None:
    """Only some of very many are told."""
    many = [Here(Name(f"/{number}/x")) for number in range(9)]
    with pytest.raises(LookupError, match=r"'x': /0/x, /1/x, /2/x, /3/x, /4/x$"):
        look.choose("x", many)


def test_process(look: Lookup) -> None:
    """A process means the container whose mounts it has; where nothing else is called like its number."""
    own = Here(Name("/self"), inode=os.stat("/proc/self/ns/mnt").st_ino)
    word = str(os.getpid())
    assert [own] == look.choose(word, [*CANDIDATES, own]) == look.of_process(os.getpid(), [*CANDIDATES, own])
    # Before one whose id begins like it, and after one that is called so.
    begins = Here(Name(f"/docker/{word.ljust(64, '0')}", word.ljust(64, "0")))
    assert [own] == look.choose(word, [begins, own])
    assert [begins] == look.choose(word, [begins])
    called = Here(Name(f"/mine/{word}"))
    assert [called] == look.choose(word, [called, own])
    with pytest.raises(LookupError, match=f"process {word} is in no container"):
        look.of_process(os.getpid(), CANDIDATES)
    with pytest.raises(LookupError, match="no such process: 1073741824"):
        look.of_process(1 << 30, [own])


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Lookup, Path]]:
    """Look at a made-up host: process 1, and a container's process 20 with its monitor 10."""
    proc, root = tmp_path / "proc", tmp_path / "root"
    root.mkdir()
    for pid, parent in ((1, 0), (10, 1), (20, 10)):
        (proc / f"{pid}/ns").mkdir(parents=True)
        (proc / f"{pid}/ns/mnt").symlink_to(f"mnt:[{100 + (pid == 20)}]")
        (proc / f"{pid}/stat").write_text(f"{pid} (x) S {parent} 0\n")
        (proc / f"{pid}/cmdline").write_bytes(b"")
        (proc / f"{pid}/root").symlink_to(root)
        (proc / f"{pid}/cwd").symlink_to("/")
    monkeypatch.setattr(Processes, "_own_time", lambda _self: (0, 0))
    with Lookup(proc) as opened:
        yield opened, root


CONTAINER = Here(Name(f"/docker/{A}", A, "docker"), pid=20)


def _write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def _be_docker(root: Path) -> Path:
    file = root / f"var/lib/docker/containers/{A}/config.v2.json"
    _write(file, {"ID": A, "Name": "/web"})
    return file


def test_names_at_known_places(host: tuple[Lookup, Path]) -> None:
    """Docker's, containerd's, podman's and CRI-O's state is found where they keep it."""
    look, root = host
    assert () == look.names(CONTAINER)
    _be_docker(root)
    pod = {"io.kubernetes.container.name": "app", "io.kubernetes.pod.name": "pod"}
    task = "run/containerd/io.containerd.runtime.v2.task"
    _write(root / f"{task}/k8s.io/{A}/config.json", {"annotations": pod})
    _write(root / f"{task}/default/{A}/config.json", {"annotations": {"nerdctl/name": "nerd"}})
    assert ("app", "pod/app", "nerd", "web") == look.names(CONTAINER)
    assert () == look.names(Here(Name("/lxc/web", "web", "lxc"), pid=20))


def test_podman_names(host: tuple[Lookup, Path]) -> None:
    """The list of all containers is read once."""
    look, root = host
    file = root / "var/lib/containers/storage/overlay-containers/containers.json"
    _write(file, [{"id": A, "names": ["web"]}])
    assert ("web",) == look.names(CONTAINER)
    file.unlink()
    assert ("web",) == look.names(CONTAINER)


@pytest.mark.parametrize("monitor", ["shim", "conmon"])
def test_names_at_other_places(host: tuple[Lookup, Path], monitor: str) -> None:
    """Where the runtime was told another place, the container's parent knows it."""
    look, root = host
    _write(root / f"elsewhere/{A}/config.json", {"mounts": [{"source": f"/data/containers/{A}/resolv.conf"}]})
    _write(root / f"data/containers/{A}/config.v2.json", {"ID": A, "Name": "/web"})
    proc = root.parent / "proc"
    if monitor == "shim":
        (proc / "10/cwd").unlink()
        (proc / "10/cwd").symlink_to("/elsewhere/sandbox")
    else:
        (proc / "10/cmdline").write_bytes(f"conmon\0-b\0/elsewhere/{A}\0".encode())
    assert ("web",) == look.names(CONTAINER)
    # A parent that is in a container itself says nothing about this machine.
    (proc / "10/ns/mnt").unlink()
    (proc / "10/ns/mnt").symlink_to("mnt:[101]")
    assert () == look.names(CONTAINER)


def test_state_that_is_no_file(host: tuple[Lookup, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No link is followed, nothing is waited for, and no more than some is read."""
    look, root = host
    file = _be_docker(root)
    assert ("web",) == look.names(CONTAINER)
    length = file.stat().st_size
    monkeypatch.setattr(lookup, "_MOST_BYTES", length)
    assert ("web",) == look.names(CONTAINER)
    file.rename(root / "real")
    file.symlink_to(root / "real")
    assert () == look.names(CONTAINER)
    file.unlink()
    os.mkfifo(file)
    assert () == look.names(CONTAINER)
    file.unlink()
    file.mkdir()
    assert () == look.names(CONTAINER)
    file.rmdir()
    (root / "real").rename(file)
    assert ("web",) == look.names(CONTAINER)
    file.write_bytes(file.read_bytes() + b"\n")
    assert () == look.names(CONTAINER)
