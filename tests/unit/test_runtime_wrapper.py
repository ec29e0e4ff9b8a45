"""What the runtime wrapper makes of a bundle."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pylxcfs.procfiles.binds import bindable
from pylxcfs.procfiles.table import VIRTUAL_FILES
from pylxcfs.runtime import wrapper

_PROC: dict[str, Any] = {"destination": "/proc", "type": "proc", "source": "proc"}
_ALL = (*wrapper.PATHS, wrapper.PRESSURE)
Bundle = Callable[[dict[str, Any]], Path]


def _targets(spec: dict[str, Any]) -> list[str]:
    return [mount["destination"] for mount in spec["mounts"] if mount["type"] == "bind"]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what went to the system log."""
    lines: list[str] = []
    monkeypatch.setattr("syslog.syslog", lambda _priority, text: lines.append(text))
    monkeypatch.setattr("signal.alarm", lambda _seconds: 0)
    return lines


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return the function that makes a bundle directory."""

    def make(spec: dict[str, Any]) -> Path:
        (tmp_path / "config.json").write_text(json.dumps(spec))
        return tmp_path

    return make


def test_knows_what_can_be_bound() -> None:
    """The list that must not import the table is the table's."""
    assert {path.lstrip("/") for path in wrapper.PATHS} == set(bindable(file.path for file in VIRTUAL_FILES))


@pytest.mark.parametrize(
    "arguments, bundle",
    [
        (["create", "--bundle", "/b", "id"], "/b"),
        (["--root", "/r", "create", "-b", "/b", "id"], "/b"),
        (["run", "--bundle=/b", "id"], "/b"),
        (["restore", "-b=/b"], "/b"),
        (["create", "id"], "."),
        (["create", "--bundle"], "."),
    ],
)
def test_finds_the_bundle(arguments: list[str], bundle: str) -> None:
    """As runc's own command line does."""
    assert wrapper.bundle_of(arguments) == bundle


def test_adds_a_bind_for_each_file() -> None:
    """Read-only, from the mount point; pressure by the hook, for runc refuses it."""
    spec: dict[str, Any] = {"mounts": [_PROC]}
    assert wrapper.add_binds(spec, "/mnt", _ALL, "/hook")
    assert list(wrapper.PATHS) == _targets(spec)
    assert spec["mounts"][1]["source"] == "/mnt/proc/cpuinfo"
    assert "ro" in spec["mounts"][1]["options"]
    call = {"path": "/hook", "args": ["/hook", "--mount-point", "/mnt", "proc/pressure"]}
    assert spec["hooks"] == {"createContainer": [call]}


def test_no_hook_without_its_program() -> None:
    """A hook that cannot be executed would keep the container from starting."""
    spec: dict[str, Any] = {"mounts": [_PROC]}
    wrapper.add_binds(spec, "/mnt", _ALL, None)
    assert "hooks" not in spec


@pytest.mark.parametrize(
    "destination, missing",
    [
        ("/proc/uptime", "/proc/uptime"),
        ("proc//uptime/", "/proc/uptime"),
        ("/proc/../proc/uptime", "/proc/uptime"),
        ("/sys/devices", "/sys/devices/system/cpu"),
        ("/sys/devices/system/cpu/online", "/sys/devices/system/cpu"),
        ("/sys", None),
        ("/", None),
    ],
)
def test_a_users_own_bind_wins(destination: str, missing: str | None) -> None:
    """However it is spelt; one above or below a place of ours takes that place."""
    own = {"destination": destination, "type": "none", "source": "/x", "options": ["bind"]}
    spec: dict[str, Any] = {"mounts": [_PROC, own]}
    wrapper.add_binds(spec, "/mnt", wrapper.PATHS, None)
    assert [path for path in wrapper.PATHS if path != missing] == _targets(spec)


@pytest.mark.parametrize(
    "mounts",
    [
        [],
        [{"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}],
        [{"destination": "/proc", "source": "/proc"}],
    ],
    ids=["no-proc", "the-hosts-proc", "no-type"],
)
def test_only_over_a_proc_of_its_own(mounts: list[dict[str, Any]]) -> None:
    """A bind into the host's own /proc would change it for everybody."""
    with pytest.raises(wrapper.LeftAloneError):
        wrapper.add_binds({"mounts": mounts}, "/mnt", wrapper.PATHS, None)


@pytest.mark.parametrize(
    "value, opt_out, opt_in",
    [
        (None, True, False),
        ("enabled", True, True),
        ("true", True, True),
        ("disabled", False, False),
        ("false", False, False),
    ],
)
@pytest.mark.parametrize("where", ["annotation", "label"])
def test_containers_choose(
    tmp_path: Path, where: str, value: str | None, *, opt_out: bool, opt_in: bool
) -> None:
    """By an annotation in the bundle, or by docker's label beside it."""
    labels = {} if value is None else {wrapper.INJECT: value}
    (tmp_path / "config.v2.json").write_text(
        json.dumps({"Config": {"Labels": labels if where == "label" else None}})
    )
    hostname = {"destination": "/etc/hostname", "type": "bind", "source": str(tmp_path / "hostname")}
    spec = {"mounts": [_PROC, hostname], "annotations": labels if where == "annotation" else None}
    assert wrapper.wants_files(spec, opt_in=False) is opt_out
    assert wrapper.wants_files(spec, opt_in=True) is opt_in


def test_a_pipe_in_place_of_dockers_file_is_not_waited_for(tmp_path: Path) -> None:
    """A user names the source of a bind."""
    os.mkfifo(tmp_path / "config.v2.json")
    hostname = {"destination": "/etc/hostname", "type": "bind", "source": str(tmp_path / "hostname")}
    assert wrapper.wants_files({"mounts": [hostname]}, opt_in=False)


def test_edits_the_bundle_in_place(
    bundle: Bundle, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the mode that it had, and nothing left beside it."""
    monkeypatch.setattr(wrapper, "_is_served", lambda _mount_point, path: path != wrapper.PRESSURE)
    directory = bundle({"mounts": [_PROC], "process": {"cwd": "/"}})
    (directory / "config.json").chmod(0o640)
    wrapper.main(["/mnt", "/no/hook", "--", "create", "--bundle", str(directory), "id"])
    spec = json.loads((directory / "config.json").read_text())
    assert list(wrapper.PATHS) == _targets(spec)
    assert spec["process"] == {"cwd": "/"}
    assert stat.S_IMODE((directory / "config.json").stat().st_mode) == 0o640
    assert ["config.json"] == [path.name for path in tmp_path.iterdir()]
    assert said == []


def test_what_nobody_serves_is_not_bound(bundle: Bundle, said: list[str]) -> None:
    """An empty mount point's files would keep the container from starting."""
    directory = bundle({"mounts": [_PROC]})
    before = (directory / "config.json").read_bytes()
    wrapper.main([str(directory), "/no/hook", "--", "create", "--bundle", str(directory), "id"])
    assert before == (directory / "config.json").read_bytes()
    assert said == [f"pylxcfs does not serve at {directory}: the container starts with the host's files"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"mounts": 7}', b'{"mounts": [{}]}', b'{"mounts": [{"destination": 1}]}'],
)
def test_any_mistake_is_one_line(
    tmp_path: Path, content: bytes, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle stays as it is, and nothing is raised."""
    monkeypatch.setattr(wrapper, "_is_served", lambda _mount_point, _path: True)
    (tmp_path / "config.json").write_bytes(content)
    wrapper.main(["/mnt", "/no/hook", "--", "create", "-b", str(tmp_path)])
    assert (tmp_path / "config.json").read_bytes() == content
    assert ["config.json"] == [path.name for path in tmp_path.iterdir()]
    assert len(said) == 1
    assert said[0].endswith("the container starts with the host's files")


def test_a_huge_bundle_is_not_read(tmp_path: Path, said: list[str]) -> None:
    """Memory is the host's."""
    (tmp_path / "config.json").write_bytes(b" " * ((4 << 20) + 1))
    wrapper.main(["/mnt", "/no/hook", "--", "create", "-b", str(tmp_path)])
    assert "has more than 4194304 bytes" in said[0]


def test_a_full_disk_leaves_the_bundle(
    bundle: Bundle, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no half-written file beside it."""
    monkeypatch.setattr(wrapper, "_is_served", lambda _mount_point, _path: True)
    directory = bundle({"mounts": [_PROC]})
    before = (directory / "config.json").read_bytes()

    def full(_from: str, _to: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.rename", full)
    wrapper.main(["/mnt", "/no/hook", "--", "create", "-b", str(directory)])
    assert before == (directory / "config.json").read_bytes()
    assert ["config.json"] == [path.name for path in directory.iterdir()]
    assert "No space left" in said[0]


def test_the_log_is_one_line_of_printable_characters(tmp_path: Path, said: list[str]) -> None:
    """Names of bundles come from whoever starts containers."""
    wrapper.main(["/mnt", "/no/hook", "--", "create", "-b", f"{tmp_path}/a\nb\x1b[2Jc"])
    assert len(said) == 1
    assert said[0].isprintable()
