"""Which container a word means: ids, names, cgroups."""

import json
from typing import Any

import pytest

from pylxcfs.containers.name import BELOW, CALLED, EXACT, PREFIX, Name, name_of
from pylxcfs.containers.runtime_state import (
    bundle_names,
    bundle_of_conmon,
    docker_directory,
    docker_names,
    storage_names,
)

ID = "3f2a9c31be02" + "0123456789abcdef" * 3 + "0123"
OTHER = "0" * 64


@pytest.mark.parametrize(
    "path,runtime",
    [
        (f"/docker/{ID}", "docker"),
        (f"/system.slice/docker-{ID}.scope", "docker"),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope/init", "docker"),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", "containerd"),
        (
            f"/system.slice/x.service/kubepods-besteffort-pod1.slice:cri-containerd:{ID}",
            "containerd",
        ),
        (f"/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope", "cri-o"),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman"),
        (f"/libpod_parent/libpod-{ID}", "podman"),
        (f"/kubepods/besteffort/pod1/{ID}", ""),
        (f"/docker/{OTHER}/docker/{ID}", "docker"),
    ],
)
def test_ids_in_cgroups(path: str, runtime: str) -> None:
    """The id is found as each runtime and cgroup driver writes it, the innermost of nested ones."""
    name = name_of([("memory", "/"), ("pids", path)])
    assert (ID, runtime, "3f2a9c31be02") == (name.container_id, name.runtime, name.short)
    assert (path, (path,), ID) == (name.cgroup, name.cgroups, name.identity)


@pytest.mark.parametrize(
    "path,name",
    [
        ("/lxc.payload.web-1/system.slice/cron.service", "web-1"),
        ("/lxc.payload.web", "web"),
        ("/lxc/web", "web"),
        ("/lxc/web/init.scope", "web"),
        ("/user.slice/lxc/web/x", "web"),
        ("/lxc.payload.project_web", "project_web"),
    ],
)
def test_lxc_is_named_by_its_name(path: str, name: str) -> None:
    """LXC and Incus have names instead of ids, all of them exact."""
    found = name_of([("", path)])
    assert (name, "lxc", name, False) == (found.container_id, found.runtime, found.short, found.has_hash)
    assert EXACT == found.fits(name) == found.fits(f"lxc://{name}")
    assert 0 == found.fits(name[:-1]) == found.fits(f"{name}x")


@pytest.mark.parametrize(
    "path", ["/", "/user.slice", f"/docker/{ID[:-1]}", f"/docker/{ID}0", "/lxc.monitor.web", "/xlxc/web"]
)
def test_no_id(path: str) -> None:
    """Where no id is recognised, the cgroup is what there is to say."""
    name = name_of([("memory", path), ("pids", "/something/else/that/is/longer")])
    assert (path, "", "", path) == (name.cgroup, name.container_id, name.short, name.identity)
    assert not name.has_hash


def test_telling_hierarchies() -> None:
    """A group that was made by hand is named by the hierarchy that was used."""
    assert "/m" == name_of([("", "/u"), ("cpu", "/c"), ("memory", "/m")]).cgroup
    assert "/c" == name_of([("", "/u"), ("cpu", "/c")]).cgroup
    assert "/u" == name_of([("pids", "/p"), ("", "/u")]).cgroup
    assert "/" == name_of([("pids", "/p")]).cgroup
    assert ("/p",) == name_of([("pids", "/p"), ("cpu", "/")]).cgroups


@pytest.mark.parametrize(
    "word,expected",
    [
        (ID, EXACT),
        (f"containerd://{ID}", EXACT),
        (f"cri-o://{ID}", EXACT),
        ("docker://3f2a9c", PREFIX),
        ("3f2a9c", PREFIX),
        ("3", PREFIX),
        ("f2a9c", 0),
        (f"{ID}0", 0),
        ("web", CALLED),
        ("docker://web", CALLED),
        ("ns/pod/web", CALLED),
        ("we", 0),
        ("webs", 0),
        ("", 0),
        ("://", 0),
        ("/", 0),
        ("//", 0),
        (f"/docker/{ID}", EXACT),
        (f"/docker/{ID}/", EXACT),
        (f"/sys/fs/cgroup/docker/{ID}", EXACT),
        (f"/sys/fs/cgroup/memory/docker/{ID}", EXACT),
        ("/sys/fs/cgroup", 0),
        ("/sys/fs/cgroup/memory", 0),
        ("/docker", BELOW),
        ("/sys/fs/cgroup/unified/docker", BELOW),
        ("/dock", 0),
        (f"/docker/{ID}/below", 0),
        ("docker", 0),
    ],
)
def test_words_for_a_docker_container(word: str, expected: int) -> None:
    """Ids, their beginnings, names and cgroups fit; parts of names do not."""
    name = name_of([("memory", f"/docker/{ID}"), ("pids", "/")])
    assert expected == name.fits(word, ("web", "ns/pod/web"))


def test_a_group_without_id_is_named_by_its_whole_name() -> None:
    """A part of a name is not enough where the name was not made to be unique."""
    name = name_of([("memory", "/mine/web")])
    assert CALLED == name.fits("web")
    assert 0 == name.fits("we") == name.fits("mine") == name.fits("") == Name("/").fits("")
    assert (EXACT, BELOW) == (name.fits("/mine/web"), name.fits("/mine"))


#: As docker 20.10 writes it, what does not name it left out.
DOCKER = {"ID": ID, "Name": "/web", "Config": {"Hostname": "3f2a9c31be02", "Labels": {"a": "b"}}}
BUNDLE = {
    "ociVersion": "1.0.2-dev",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/etc/hostname", "type": "bind", "source": f"/data/containers/{ID}/hostname"},
    ],
}
#: As containerd 1.6 (containerd.io/... left out), CRI-O 1.24, nerdctl 1.7 annotate.
CONTAINERD = {
    "io.kubernetes.cri.container-name": "app",
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.sandbox-name": "web-0",
    "io.kubernetes.cri.sandbox-namespace": "shop",
}
CRI_O = {
    "io.kubernetes.container.name": "app",
    "io.kubernetes.pod.name": "web-0",
    "io.kubernetes.pod.namespace": "shop",
}
POD = ("app", "web-0/app", "shop/web-0/app")
#: containers/storage 1.51.
STORAGE = [
    {"id": OTHER, "names": ["other"]},
    {"id": ID, "names": ["web", "alias"], "layer": "1"},
    {"id": "x"},
]


def _text(document: Any) -> bytes:  # noqa: ANN401 - JSON
    return json.dumps(document).encode()


def test_docker_names() -> None:
    """Docker's own name, without its slash; Kubernetes' labels with it; nobody else's file."""
    assert ("web",) == docker_names(_text(DOCKER), ID)
    assert () == docker_names(_text(DOCKER), OTHER)
    labelled = DOCKER | {"Name": "/k8s_app", "Config": {"Labels": CRI_O}}
    assert ("k8s_app", *POD) == docker_names(_text(labelled), ID)
    assert ("web",) == docker_names(_text(DOCKER | {"Config": {"Labels": None}}), ID)
    assert ("web",) == docker_names(_text({"ID": ID, "Name": "/web"}), ID)


@pytest.mark.parametrize("annotations", [CONTAINERD, CRI_O])
def test_pods(annotations: dict[str, str]) -> None:
    """A container of a pod may be called with its pod's name and namespace."""
    assert POD == bundle_names(_text({"annotations": annotations}))
    without = {key: value for key, value in annotations.items() if not key.endswith("namespace")}
    assert POD[:2] == bundle_names(_text({"annotations": without}))
    only = {key: value for key, value in annotations.items() if "container" in key}
    assert () == bundle_names(_text({"annotations": only}))


def test_other_names() -> None:
    """Nerdctl annotates, podman has a list."""
    assert ("web",) == bundle_names(_text({"annotations": {"nerdctl/name": "web"}}))
    assert () == bundle_names(_text(BUNDLE)) == bundle_names(_text({"annotations": None}))
    assert ("web", "alias") == storage_names(_text(STORAGE), ID)
    assert () == storage_names(_text(STORAGE), "x") == storage_names(_text(STORAGE), "y")


def test_docker_directory() -> None:
    """Docker's directory for a container is told by what it binds from there, and by nothing else."""
    assert f"/data/containers/{ID}" == docker_directory(_text(BUNDLE), ID)
    assert docker_directory(_text(BUNDLE), OTHER) is None
    for source in (f"/data/containers/{ID}/x", f"/containers/{ID}x/hosts", f"/data/{ID}/hosts", "hosts"):
        assert docker_directory(_text({"mounts": [{"source": source}]}), ID) is None
    assert docker_directory(_text({"mounts": None}), ID) is None


def test_conmon() -> None:
    """The bundle is the word after the option."""
    assert "/b" == bundle_of_conmon(b"conmon\0-c\0id\0-b\0/b\0-n\0web\0")
    assert "/b" == bundle_of_conmon(b"/usr/bin/conmon\0--bundle\0/b\0")
    assert bundle_of_conmon(b"conmon\0-b") is None
    assert bundle_of_conmon(b"") is None


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"null", b"[]", b"1", b'"x"', b"[1]", b"[[]]", b"\xff", b"[" * 100_000, b"{}"),
        *(_text({"ID": ID}), _text({"ID": ID, "Name": 1}), _text({"annotations": 1, "mounts": 1})),
        _text({"annotations": {"nerdctl/name": 1}, "mounts": [1]}),
        _text([{"id": ID, "names": 1}]),
        _text([{"id": ID, "names": [1]}]),
    ],
)
def test_what_is_not_as_expected_names_nothing(text: bytes) -> None:
    """No state of a runtime, however damaged, is an error."""
    assert () == docker_names(text, ID) == bundle_names(text) == storage_names(text, ID)
    assert docker_directory(text, ID) is None
