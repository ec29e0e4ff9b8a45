"""The shell front of the runtime wrapper: whatever happens, the real runtime gets its arguments."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pylxcfs.errors import StartupError
from pylxcfs.runtime.programs import CRUN_WRAPPER, HOOK, WRAPPER, Options, install_programs, remove_programs

#: Tells how it was called, and by which name; ends with a status of its own.
_RUNTIME = '#!/bin/sh\nprintf "%s\\n" "${0##*/}" "$@"\nexit 7\n'
_NOTE = "import json, sys\njson.dump(sys.argv[1:], open({path!r}, 'w'))\n"
Run = Callable[..., list[str]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Install the programs, and a runc and a crun that tell how they were called."""
    install_programs(tmp_path / "libexec", Options())
    (tmp_path / "bin").mkdir()
    for name in ("runc", "crun"):
        (tmp_path / "bin" / name).write_text(_RUNTIME)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


@pytest.fixture
def run(directory: Path) -> Run:
    """Return the function that runs the wrapper; it returns the name and the arguments of the runtime."""

    def call(*arguments: str, program: str = WRAPPER) -> list[str]:
        done = subprocess.run(
            [directory / "libexec" / program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={"PATH": f"{directory}/bin"},
        )
        assert (done.returncode, done.stderr) == (7, "")
        return done.stdout.splitlines()

    return call


@pytest.fixture
def noted(directory: Path) -> Callable[[], list[str] | None]:
    """Put a program that notes its arguments in the place of the editor; return what reads the note."""
    note = directory / "note"
    (directory / "libexec/wrapper.py").write_text(_NOTE.format(path=str(note)))
    return lambda: json.loads(note.read_text()) if note.exists() else None


@pytest.mark.parametrize("command", ["create", "run", "restore"])
def test_bundles_are_edited(
    run: Run, noted: Callable[[], list[str] | None], directory: Path, command: str
) -> None:
    """What reads a bundle has it edited first."""
    arguments = ["--root", "create", "--systemd-cgroup", command, "--bundle", "a b", "id"]
    assert run(*arguments) == ["runc", *arguments]
    assert noted() == ["/var/lib/lxcfs", f"{directory}/libexec/{HOOK}", "--", *arguments]


@pytest.mark.parametrize("arguments", [["state", "create"], ["exec", "id", "run"], ["--version"], []])
def test_nothing_else_is_touched(
    run: Run, noted: Callable[[], list[str] | None], arguments: list[str]
) -> None:
    """Python is not even started."""
    assert run(*arguments) == ["runc", *arguments]
    assert noted() is None


def test_options_of_its_own(run: Run, noted: Callable[[], list[str] | None], directory: Path) -> None:
    """They come first, and the runtime does not see them."""
    crun = f"{directory}/bin/crun"
    assert run("--runc", crun, "--mount-point=/m p", "--opt-in", "run", "x") == ["crun", "run", "x"]
    assert noted() == ["/m p", f"{directory}/libexec/{HOOK}", "--opt-in", "--", "run", "x"]


def test_podmans_name_prefers_crun(run: Run, directory: Path) -> None:
    """And takes runc where there is no crun."""
    assert run("state", program=CRUN_WRAPPER) == ["crun", "state"]
    (directory / "bin/crun").unlink()
    assert run("state", program=CRUN_WRAPPER)[0] == "runc"


@pytest.mark.parametrize(
    "editor",
    [
        "raise SystemExit(1)",
        "syntax error",
        "import os; os.abort()",
        "import nothing_of_that_name",
        "print(1)",
    ],
)
def test_a_broken_editor_changes_nothing(run: Run, directory: Path, editor: str) -> None:
    """Neither the runtime's arguments nor the container's output."""
    (directory / "libexec/wrapper.py").write_text(editor)
    assert run("create", "--bundle", "/b", "id") == ["runc", "create", "--bundle", "/b", "id"]


@pytest.mark.parametrize("missing", ["editor", "python"])
def test_a_missing_part_changes_nothing(run: Run, directory: Path, missing: str) -> None:
    """Half an installation starts containers."""
    if missing == "python":
        install_programs(directory / "libexec", Options(python="/no/python"))
    else:
        (directory / "libexec/wrapper.py").unlink()
    assert run("create", "id") == ["runc", "create", "id"]


def test_input_is_the_containers(directory: Path) -> None:
    """Nothing of it is read before the runtime does."""
    (directory / "bin/runc").write_text("#!/bin/sh\nexec cat\n")
    (directory / "libexec/wrapper.py").write_text("import sys; sys.stdin.read(); print('noise')")
    done = subprocess.run(
        [directory / "libexec" / WRAPPER, "--runc", directory / "bin/runc", "run", "x"],
        check=True,
        input=b"for the container",
        capture_output=True,
    )
    assert done.stdout == b"for the container"


@pytest.mark.parametrize("state", [b"", b"{}", b'{"bundle": "/no/such"}', b"\xff"])
def test_the_hook_always_succeeds(directory: Path, state: bytes) -> None:
    """One that fails keeps its container from starting."""
    done = subprocess.run([directory / "libexec" / HOOK], check=False, input=state, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_names_with_quotes(tmp_path: Path) -> None:
    """A path is a word to the shell, whatever is in it."""
    python = tmp_path / "it's $python"
    python.symlink_to(sys.executable)
    install_programs(tmp_path / "libexec", Options(python=str(python)))
    text = (tmp_path / "libexec" / WRAPPER).read_text()
    found = subprocess.run(
        ["sh", "-c", text.partition("here=")[0] + 'printf %s "$python"'], check=True, capture_output=True
    )
    assert found.stdout.decode() == str(python)


def test_not_where_others_may_write(tmp_path: Path) -> None:
    """Runtimes execute what is there as root."""
    (tmp_path / "libexec").mkdir()
    (tmp_path / "libexec").chmod(0o777)
    with pytest.raises(StartupError, match="others than root may write"):
        install_programs(tmp_path / "libexec", Options())
    assert list((tmp_path / "libexec").iterdir()) == []


def test_removal_leaves_nothing(tmp_path: Path) -> None:
    """Not even the directory."""
    install_programs(tmp_path / "a/libexec", Options())
    remove_programs(tmp_path / "a/libexec")
    assert list((tmp_path / "a").iterdir()) == []
    remove_programs(tmp_path / "a/libexec")
