"""Render /proc/diskstats: the devices that the container used (proc_diskstats(5)).

Columns: Documentation/admin-guide/iostats.rst of the kernel. cgroups count operations and bytes; merges,
times and requests in flight read 0.
"""

import re
from typing import Final

from pylxcfs.cgroup.types import DeviceIo, DeviceNumber
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_LINE: Final = re.compile(rb"^( *(\d{1,10}) +(\d{1,10}) [^ \n]+)((?: +\d+)+)$", re.MULTILINE)
#: A sector here is 512 bytes, whatever the device says (iostats.rst).
_SECTOR: Final = 512
_UNUSED: Final = DeviceIo()


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the host's lines of the devices used, with the container's numbers."""
    used = {device: io for device, io in view.io.items() if io != _UNUSED}
    if not used:
        return b""
    lines = []
    for prefix, major, minor, columns in _LINE.findall(host.diskstats):
        io = used.get(DeviceNumber(int(major), int(minor)))
        if io is not None:
            lines.append(prefix + _columns(io, columns.count(b" ")))
    return b"".join(lines)


def _columns(io: DeviceIo, count: int) -> bytes:
    """Return as many columns as this kernel has: 11, with discards 15, with flushes 17."""
    reads = (io.rios, 0, io.rbytes // _SECTOR, 0)
    writes = (io.wios, 0, io.wbytes // _SECTOR, 0)
    discards = (io.dios, 0, io.dbytes // _SECTOR, 0)
    columns = (*reads, *writes, 0, 0, 0, *discards, *(0 for _ in range(15, count)))[:count]
    return b" %d" * len(columns) % columns + b"\n"
