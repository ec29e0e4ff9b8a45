"""Installs our runtime into the configuration of container engines, and undoes exactly that."""

import json
from dataclasses import dataclass
from pathlib import Path

from pylxcfs.errors import StartupError
from pylxcfs.rundir.files import READABLE, replace_file
from pylxcfs.runtime.configuration import Engine, add_runtime, remove_runtime


@dataclass(frozen=True, slots=True)
class Change:
    """One configuration file before and after; None: the file is not there."""

    engine: Engine
    before: str | None
    after: str | None


def installing(engine: Engine, directory: Path, *, default: bool) -> Change:
    """Return what would change for `engine` to know the programs in `directory`.

    Raises StartupError where its configuration cannot be understood, OSError.
    """
    before = _read(engine.path)
    return Change(engine, before, add_runtime(engine, before or "", directory, default=default))


def uninstalling(engine: Engine, state: Path) -> Change:
    """Return what would change for `engine` to forget our runtime; raises as `installing` does.

    A file that nobody has changed since becomes what it was, byte by byte. From any other, our entries are
    taken out.
    """
    before = _read(engine.path)
    if before is None:
        return Change(engine, None, None)
    kept = _kept(state / engine.name)
    if kept is not None and kept.after == before:
        return Change(engine, before, kept.before)
    return Change(engine, before, remove_runtime(engine, before))


def install(change: Change, state: Path) -> None:
    """Write what `installing` has found, and keep what was there before. Raises OSError."""
    kept = _kept(state / change.engine.name)
    # Installed again, with other options perhaps: what was there before the first time counts.
    before = kept.before if kept is not None and kept.after == change.before else change.before
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    record = json.dumps({"before": before, "after": change.after})
    replace_file(state / change.engine.name, record.encode())
    _write(change)


def uninstall(change: Change, state: Path) -> None:
    """Write what `uninstalling` has found, and forget what was kept. Raises OSError."""
    _write(change)
    (state / change.engine.name).unlink(missing_ok=True)
    if state.is_dir() and not any(state.iterdir()):
        state.rmdir()


@dataclass(frozen=True, slots=True)
class _Kept:
    before: str | None
    after: str


def _kept(path: Path) -> _Kept | None:
    text = _read(path)
    if text is None:
        return None
    try:
        return _Kept(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise StartupError(f"{path}: {error}; remove it to have only our entries taken out") from error


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _write(change: Change) -> None:
    if change.after == change.before:
        return
    # A link stays one: replacing a file follows none.
    path = change.engine.path.resolve()
    if change.after is None:
        path.unlink()
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if change.before is not None else READABLE
    replace_file(path, change.after.encode(), mode)
