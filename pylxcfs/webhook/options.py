"""The options that say what is injected; of the webhook and of ``pylxcfsctl inject``."""

import argparse
from pathlib import PurePosixPath

from pylxcfs.procfiles.binds import DEFAULT_MOUNT_POINT
from pylxcfs.webhook.selection import words
from pylxcfs.webhook.settings import (
    DEFAULT_EXCLUDED_NAMESPACES,
    DEFAULT_NAMES,
    DEFAULT_SKIPPED_RUNTIME_CLASSES,
    INJECTED_FILES,
    Settings,
)


def mount_point(text: str) -> str:
    """Check an option's value: the API server refuses a hostPath with ``..``."""
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts:
        raise argparse.ArgumentTypeError(f"not an absolute path: {text!r}")
    return str(path)


def file_names(text: str) -> frozenset[str]:
    """Check an option's value: names of files."""
    names = frozenset(words(text))
    known = [file.name for file in INJECTED_FILES]
    unknown = sorted(names - set(known))
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"no such file: {', '.join(unknown)} (there are: {', '.join(known)})"
        )
    return names


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that make up `Settings`."""
    parser.add_argument(
        "--mount-point",
        metavar="DIR",
        type=mount_point,
        default=DEFAULT_MOUNT_POINT,
        help="where pylxcfs serves on the nodes (default: %(default)s)",
    )
    parser.add_argument(
        "--files",
        metavar="NAMES",
        type=file_names,
        default=DEFAULT_NAMES,
        help="what containers get that ask for nothing in particular (default: all but slabinfo)",
    )
    parser.add_argument(
        "--no-init-containers",
        dest="init_containers",
        action="store_false",
        help="leave init containers alone",
    )
    parser.add_argument("--host-pid", action="store_true", help="inject into pods with hostPID: true as well")
    parser.add_argument(
        "--exclude-namespace",
        metavar="NAME",
        action="append",
        default=[],
        help=f"besides {', '.join(sorted(DEFAULT_EXCLUDED_NAMESPACES))}; may be repeated",
    )
    parser.add_argument(
        "--skip-runtime-class",
        metavar="PATTERN",
        action="append",
        default=[],
        help=f"besides {', '.join(DEFAULT_SKIPPED_RUNTIME_CLASSES)}; may be repeated",
    )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return what `add_policy_arguments` declared."""
    return Settings(
        mount_point=arguments.mount_point,
        default_names=arguments.files,
        excluded_namespaces=DEFAULT_EXCLUDED_NAMESPACES | set(arguments.exclude_namespace),
        init_containers=arguments.init_containers,
        host_pid=arguments.host_pid,
        skipped_runtime_classes=(*DEFAULT_SKIPPED_RUNTIME_CLASSES, *arguments.skip_runtime_class),
    )
