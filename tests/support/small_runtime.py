"""A daemon whose own files have little room."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_runtime(mount_point: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs with `options` where the daemon of `mount_point` keeps its own files."""
    runtime = mount_point.with_name(mount_point.name + ".run")
    runtime.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", runtime], check=True)
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", runtime], check=True)
