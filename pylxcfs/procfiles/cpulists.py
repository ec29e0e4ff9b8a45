"""Render the CPU lists of /sys/devices/system/cpu (Documentation/ABI/testing/sysfs-devices-system-cpu).

The picture of a machine whose other processors are absent, not merely offline: present, possible and
online are the same, so that _SC_NPROCESSORS_CONF and _SC_NPROCESSORS_ONLN agree.
"""

from pylxcfs.cgroup.parse import format_cpu_list
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView


def render_visible(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the list of the visible CPUs, which are those of cpuinfo and stat."""
    del host
    return format_cpu_list(view.cpus) + b"\n"


def render_none(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the empty list, as the kernel writes it."""
    del view, host
    return b"\n"
