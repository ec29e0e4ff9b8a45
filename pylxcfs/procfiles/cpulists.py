"""Render the CPU lists of /sys/devices/system/cpu (Documentation/ABI/testing/sysfs-devices-system-cpu).

The picture of a machine whose other processors are absent, not merely offline: present, possible and
online are the same, so that _SC_NPROCESSORS_CONF and _SC_NPROCESSORS_ONLN agree.
"""

from collections.abc import Iterator
from typing import Final

from pylxcfs.cgroup.parse import format_cpu_list
from pylxcfs.procfiles.field import CPU_FILES, Field, Part, Rule
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_VISIBLE: Final = Field(
    Rule.COMPUTED,
    "the visible CPUs, those of cpuinfo and stat",
    "first max(1, ceil(quota / period)) of (cpuset and online)",
    CPU_FILES,
)
_NONE: Final = Field(Rule.ZERO, "CPUs that are not visible are absent, not offline")


def render_visible(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the list of the visible CPUs, which are those of cpuinfo and stat."""
    del host
    return format_cpu_list(view.cpus) + b"\n"


def render_none(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the empty list, as the kernel writes it."""
    del view, host
    return b"\n"


def split_visible(text: bytes) -> Iterator[Part]:
    """Yield the list."""
    yield Part("list", text.decode(errors="replace").strip(), _VISIBLE)


def split_none(text: bytes) -> Iterator[Part]:
    """Yield the empty list."""
    yield Part("list", text.decode(errors="replace").strip(), _NONE)
