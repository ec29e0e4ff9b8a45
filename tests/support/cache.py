"""Where downloads and what is made of them are kept from one run to the next."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """Name the directory; make it if need be."""
    home = os.environ.get("XDG_CACHE_HOME")
    directory = (Path(home) if home else Path("/var/cache")) / "pylxcfs-tests"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
