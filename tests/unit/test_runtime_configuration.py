"""Configuration of container engines: edited, and given back."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from pylxcfs.errors import StartupError
from pylxcfs.runtime.configuration import ENGINES, Engine, add_runtime, remove_runtime
from pylxcfs.runtime.installation import install, installing, uninstall, uninstalling

LIBEXEC = Path("/usr/libexec/pylxcfs")
DOCKER, PODMAN, CONTAINERD = ENGINES
_DOCKER_TEXT = '{"data-root": "/srv/docker",\n "runtimes": {"kata": {"path": "/usr/bin/kata"}}}'
_PODMAN_TEXT = """# Ours.
[containers]
pids_limit = 100  # few

[engine]
# crun is the default.
runtime = "crun"
"""
_CONTAINERD_TEXT = """version = 2
# The registry's.
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "pause"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""
_TEXTS = [(DOCKER, _DOCKER_TEXT), (PODMAN, _PODMAN_TEXT), (CONTAINERD, _CONTAINERD_TEXT)]


def test_docker_gets_a_runtime() -> None:
    """Beside those that it has, and as the default where that is wanted."""
    text = add_runtime(DOCKER, _DOCKER_TEXT, LIBEXEC, default=True)
    assert json.loads(text) == {
        "data-root": "/srv/docker",
        "runtimes": {"kata": {"path": "/usr/bin/kata"}, "pylxcfs": {"path": f"{LIBEXEC}/pylxcfs-runtime"}},
        "default-runtime": "pylxcfs",
    }
    assert "default-runtime" not in json.loads(add_runtime(DOCKER, "", LIBEXEC, default=False))


def test_podman_gets_a_runtime() -> None:
    """Comments stay."""
    text = add_runtime(PODMAN, _PODMAN_TEXT, LIBEXEC, default=True)
    assert tomllib.loads(text) == {
        "containers": {"pids_limit": 100},
        "engine": {"runtime": "pylxcfs", "runtimes": {"pylxcfs": [f"{LIBEXEC}/pylxcfs-crun"]}},
    }
    assert {"# Ours.", "# crun is the default."} <= set(text.splitlines())
    assert "pids_limit = 100  # few" in text


@pytest.mark.parametrize(
    "version, plugin", [(2, "io.containerd.grpc.v1.cri"), (3, "io.containerd.cri.v1.runtime")]
)
def test_containerd_gets_a_runtime(version: int, plugin: str) -> None:
    """Under the name that its version of the configuration has for the plugin."""
    text = add_runtime(CONTAINERD, f"version = {version}\n", LIBEXEC, default=True)
    program = {"BinaryName": f"{LIBEXEC}/pylxcfs-runtime"}
    assert tomllib.loads(text)["plugins"][plugin]["containerd"] == {
        "default_runtime_name": "pylxcfs",
        "runtimes": {"pylxcfs": {"runtime_type": "io.containerd.runc.v2", "options": program}},
    }


def test_containerd_keeps_what_it_has() -> None:
    """Other runtimes, and comments; an empty file gets a version, else containerd 1 would read version 1."""
    text = add_runtime(CONTAINERD, _CONTAINERD_TEXT, LIBEXEC, default=False)
    assert "# The registry's." in text
    runtimes = tomllib.loads(text)["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
    assert {"runc", "pylxcfs"} == runtimes.keys()
    assert tomllib.loads(add_runtime(CONTAINERD, "", LIBEXEC, default=False))["version"] == 2


@pytest.mark.parametrize("engine, text", _TEXTS, ids=lambda value: getattr(value, "name", ""))
def test_removal_takes_only_ours(engine: Engine, text: str) -> None:
    """Also from a file that others have changed since."""
    parse = json.loads if engine is DOCKER else tomllib.loads
    expected = parse(text)
    if engine is PODMAN:
        # What was the default before cannot be known from the file alone; podman has its own.
        del expected["engine"]
    assert parse(remove_runtime(engine, add_runtime(engine, text, LIBEXEC, default=True))) == expected


@pytest.mark.parametrize("engine, text", _TEXTS, ids=lambda value: getattr(value, "name", ""))
@pytest.mark.parametrize("times", [1, 2])
def test_uninstalling_gives_back_every_byte(tmp_path: Path, engine: Engine, text: str, times: int) -> None:
    """However often it was installed, with whatever options."""
    mine = replace(engine, path=tmp_path / "etc/file")
    mine.path.parent.mkdir()
    mine.path.write_text(text)
    mine.path.chmod(0o640)
    for time in range(times):
        install(installing(mine, LIBEXEC, default=bool(time)), tmp_path / "state")
    assert mine.path.read_text() != text
    uninstall(uninstalling(mine, tmp_path / "state"), tmp_path / "state")
    assert mine.path.read_text() == text
    assert mine.path.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etc"]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_a_file_that_was_not_there_is_not_there_again(tmp_path: Path, engine: Engine) -> None:
    """And twice is the same as once."""
    mine = replace(engine, path=tmp_path / "etc/file")
    install(installing(mine, LIBEXEC, default=True), tmp_path / "state")
    assert mine.path.exists()
    for _ in range(2):
        uninstall(uninstalling(mine, tmp_path / "state"), tmp_path / "state")
        assert not mine.path.exists()


def test_what_others_changed_since_stays(tmp_path: Path) -> None:
    """Our entries go, theirs stay."""
    mine = replace(DOCKER, path=tmp_path / "daemon.json")
    mine.path.write_text(_DOCKER_TEXT)
    install(installing(mine, LIBEXEC, default=True), tmp_path / "state")
    mine.path.write_text(json.dumps(json.loads(mine.path.read_text()) | {"debug": True}))
    uninstall(uninstalling(mine, tmp_path / "state"), tmp_path / "state")
    assert json.loads(mine.path.read_text()) == json.loads(_DOCKER_TEXT) | {"debug": True}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Where configuration is kept elsewhere."""
    (tmp_path / "real").write_text("{}")
    (tmp_path / "daemon.json").symlink_to("real")
    mine = replace(DOCKER, path=tmp_path / "daemon.json")
    install(installing(mine, LIBEXEC, default=False), tmp_path / "state")
    assert mine.path.is_symlink()
    assert "pylxcfs" in (tmp_path / "real").read_text()


@pytest.mark.parametrize(
    "engine, text",
    [
        (DOCKER, "{"),
        (DOCKER, "[]"),
        (DOCKER, '{"runtimes": 7}'),
        (PODMAN, "[engine"),
        (PODMAN, "engine = 7"),
        (CONTAINERD, "plugins = 7"),
        (CONTAINERD, 'version = "two"'),
    ],
)
def test_what_cannot_be_understood_is_left_alone(tmp_path: Path, engine: Engine, text: str) -> None:
    """In one line that names the file."""
    mine = replace(engine, path=tmp_path / "file")
    mine.path.write_text(text)
    with pytest.raises(StartupError, match=r"file .* cannot be edited, nothing is changed"):
        installing(mine, LIBEXEC, default=True)
