"""Render /proc/loadavg (proc_loadavg(5))."""

from pylxcfs.host import HostSnapshot
from pylxcfs.view import ResourceView


def render(_view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the host's load, as it is."""
    return host.loadavg
