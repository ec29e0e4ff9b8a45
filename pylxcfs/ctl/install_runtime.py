"""``pylxcfsctl install-runtime``: docker, podman and containerd give new containers our files."""

import argparse
import difflib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pylxcfs.console import complain, write_lines
from pylxcfs.ctl.options import add_mount_point_word
from pylxcfs.runtime.programs import DEFAULT_DIRECTORY, DEFAULT_STATE

if TYPE_CHECKING:
    from pylxcfs.runtime.configuration import Engine
    from pylxcfs.runtime.installation import Change

_NAMES = ("docker", "podman", "containerd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_common_arguments(parser)
    add_mount_point_word(parser)
    parser.add_argument(
        "--runc",
        metavar="PATH",
        default="",
        help="the runtime that really starts containers (default: runc, for podman crun, as PATH has them)",
    )
    parser.add_argument(
        "--opt-in",
        action="store_true",
        help="only for containers with the annotation or label pylxcfs.io/inject=enabled"
        " (without: for all but those with pylxcfs.io/inject=disabled)",
    )
    parser.add_argument(
        "--default", action="store_true", help="also make it the runtime of containers that name none"
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what uninstall-runtime takes as well."""
    for name in _NAMES:
        parser.add_argument(
            f"--{name}",
            metavar="FILE",
            nargs="?",
            const="",
            help=f"edit the configuration of {name}, FILE if it is not where {name} looks by default"
            " (without any of these options: of all that are installed)",
        )
    parser.add_argument("--dry-run", action="store_true", help="only show what would change")
    parser.add_argument(
        "--libexec",
        metavar="DIR",
        type=Path,
        default=DEFAULT_DIRECTORY,
        help="directory of the programs that runtimes execute (default: %(default)s)",
    )
    parser.add_argument(
        "--state",
        metavar="DIR",
        type=Path,
        default=DEFAULT_STATE,
        help="directory where the configuration is kept as it was before (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the programs, then the configuration of each engine."""
    from pylxcfs.runtime.installation import install, installing  # noqa: PLC0415 - -h should not wait for it
    from pylxcfs.runtime.programs import Options, install_programs  # noqa: PLC0415

    changes = [
        installing(engine, arguments.libexec, default=arguments.default) for engine in chosen(arguments)
    ]
    if not arguments.dry_run:
        options = Options(arguments.mount_point, arguments.runc, opt_in=arguments.opt_in)
        install_programs(arguments.libexec, options)
    return report(changes, lambda change: install(change, arguments.state), dry_run=arguments.dry_run)


def chosen(arguments: argparse.Namespace) -> Iterator["Engine"]:
    """Yield the engines that are named, with their files; if none is, those that are on this machine."""
    from pylxcfs.runtime.configuration import ENGINES  # noqa: PLC0415

    files: dict[str, str | None] = {name: getattr(arguments, name) for name in _NAMES}
    named = any(file is not None for file in files.values())
    for engine in ENGINES:
        file = files[engine.name]
        if file:
            yield replace(engine, path=Path(file).absolute())
        elif file is not None or (not named and shutil.which(engine.name) is not None):
            yield engine


def report(changes: Sequence["Change"], write: Callable[["Change"], None], *, dry_run: bool) -> int:
    """Make each change, or show it; return 1 if there is no engine."""
    if not changes:
        complain("pylxcfsctl", "neither docker nor podman nor containerd found; name one, like --docker")
        return 1
    for change in changes:
        path = change.engine.path
        if change.after == change.before:
            write_lines([f"{change.engine.name}: {path}: nothing to change"])
        elif dry_run:
            write_lines(_difference(change))
        else:
            write(change)
            what = "removed" if change.after is None else "written"
            write_lines([f"{change.engine.name}: {path}: {what}. To take effect: {change.engine.then}"])
    return 0


def _difference(change: "Change") -> Iterator[str]:
    before, after = ((text or "").splitlines() for text in (change.before, change.after))
    path = str(change.engine.path)
    yield from difflib.unified_diff(before, after, path, path, lineterm="")
