"""/proc/slabinfo: the container's caches, or the header alone."""

import pytest

from pylxcfs.procfiles import slabinfo
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_HEADER = slabinfo.render(ResourceView(0, slab_part=b""), HostSnapshot())


@pytest.mark.parametrize(
    "rows,parts",
    [
        (b"", [("caches", "0")]),
        (b"dentry 21 21 192 21 1\n", [("dentry", "21 21 192 21 1")]),
        (b"a 1 2\nb   3\n", [("a", "1 2"), ("b", "3")]),
    ],
)
def test_caches(rows: bytes, parts: list[tuple[str, str]]) -> None:
    """Each is a part of its own; without any, one part says so."""
    text = slabinfo.render(ResourceView(0, slab_part=_HEADER + rows), HostSnapshot())
    assert _HEADER + rows == text
    assert parts == [(part.name, part.value) for part in slabinfo.split(text)]
