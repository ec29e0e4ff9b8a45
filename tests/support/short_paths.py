"""Directories whose paths are short: a socket's has at most 107 bytes, podman's for its state 50."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.mounts import unmount_under
from tests.support.session import token


@contextmanager
def short_directory() -> Iterator[Path]:
    """Make a directory for what a program has at run time, wherever TMPDIR is."""
    directory = Path(tempfile.mkdtemp(prefix=f"{token()}-", dir="/run"))
    try:
        yield directory
    finally:
        unmount_under(directory)
        shutil.rmtree(directory)
