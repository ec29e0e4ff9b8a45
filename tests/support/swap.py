"""Swap for the host, in a file."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def swap_file(file: Path, mebibytes: int = 64) -> Iterator[None]:
    """Let the host swap to `file`, which is made and removed."""
    subprocess.run(["fallocate", "--length", f"{mebibytes}MiB", file], check=True)
    file.chmod(0o600)
    subprocess.run(["mkswap", file], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["swapon", file], check=True)
    try:
        yield
    finally:
        subprocess.run(["swapoff", file], check=True)
        file.unlink()
