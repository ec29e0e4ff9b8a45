"""Render /proc/pressure/*: what the kernel wrote for the cgroup (Documentation/accounting/psi.rst).

Zeros where the cgroup has no such file, in the lines that this kernel has: before Linux 5.13 there is no
``full`` for cpu, and for irq there is nothing else.
"""

import re
from typing import Final

from pylxcfs.host import HostSnapshot
from pylxcfs.view import ResourceView

_VALUE: Final = re.compile(rb"=\d+(\.\d+)?")


def render_cpu(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the pressure of waiting for a CPU."""
    return view.pressure or _zeros(host.pressure_cpu)


def render_io(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the pressure of waiting for block I/O."""
    return view.pressure or _zeros(host.pressure_io)


def render_irq(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the pressure of being interrupted."""
    return view.pressure or _zeros(host.pressure_irq)


def render_memory(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the pressure of waiting for memory."""
    return view.pressure or _zeros(host.pressure_memory)


def _zeros(text: bytes) -> bytes:
    return _VALUE.sub(lambda value: b"=0.00" if value[1] else b"=0", text)
