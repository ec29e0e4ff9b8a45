"""What the driver relies on in pyfuse3 (pylxcfs/fuse/driver.py names the lines)."""

import hashlib
import re
from itertools import takewhile
from pathlib import Path
from typing import Final

import pyfuse3
import pytest

from pylxcfs.fuse.library import TESTED_VERSION

_SOURCES: Final = Path(pyfuse3.__file__).parent
#: Of these functions' source, without comments and blank lines, in the pyfuse3 that was read.
_READ: Final = {
    ("internal.pxi", "_wait_fuse_readable"): "973393e0a024a660",
    ("internal.pxi", "_session_loop"): "c7a7e12d3f028af0",
    ("internal.pxi", "get_request_context"): "7c8b3958b59029fe",
    ("__init__.pyx", "init"): "9c5dc8f14ef66a45",
    ("__init__.pyx", "main"): "4b050312848ee50c",
    ("__init__.pyx", "close"): "4c1db78bc7886222",
    ("handlers.pxi", "fuse_open_async"): "d2e80844f20fc03d",
    ("handlers.pxi", "fuse_read_async"): "86a845a4dfe23169",
    ("handlers.pxi", "fuse_poll_async"): "0ae9e65d40cc3724",
    ("handlers.pxi", "fuse_init"): "06a5aea4928dbb5d",
}


def _source(file: str, function: str) -> str:
    text = (_SOURCES / file).read_text()
    kept = [
        line for line in text.splitlines() if re.match(rf"(?:async def|def|cdef [\w ]+) {function} ?\(", line)
    ]
    assert 1 == len(kept), f"{file} has no {function}"
    after = text.partition(kept[0])[2].splitlines()[1:]
    kept += takewhile(lambda line: not line or line[0].isspace(), after)
    kept = [line.partition("#")[0].rstrip() for line in kept]
    return "\n".join(line for line in kept if line)


def test_version() -> None:
    """Another pyfuse3 is to be read before it is used; then change `TESTED_VERSION`, and the digests."""
    assert pyfuse3.__version__.startswith(f"{TESTED_VERSION}.")


@pytest.mark.parametrize("file,function", _READ)
def test_sources(file: str, function: str) -> None:
    """What was read is what is installed."""
    source = _source(file, function)
    assert _READ[file, function] == hashlib.sha256(source.encode()).hexdigest()[:16], source
