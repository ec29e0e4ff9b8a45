"""Render /proc/pressure/*: what the kernel wrote for the cgroup (Documentation/accounting/psi.rst).

Zeros where the cgroup has no such file, in the lines that this kernel has: before Linux 5.13 there is no
``full`` for cpu, and for irq there is nothing else.
"""

import re
from collections.abc import Callable
from typing import Final

from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_VALUE: Final = re.compile(rb"=\d+(\.\d+)?")


def _renderer(host_text: Callable[[HostSnapshot], bytes]) -> Callable[[ResourceView, HostSnapshot], bytes]:
    """Return what renders one resource; `host_text` has the lines that this kernel has."""

    def render(view: ResourceView, host: HostSnapshot) -> bytes:
        return view.pressure or _VALUE.sub(_zero, host_text(host))

    return render


def _zero(value: re.Match[bytes]) -> bytes:
    return b"=0.00" if value[1] else b"=0"


render_cpu: Final = _renderer(lambda host: host.pressure_cpu)
render_io: Final = _renderer(lambda host: host.pressure_io)
render_irq: Final = _renderer(lambda host: host.pressure_irq)
render_memory: Final = _renderer(lambda host: host.pressure_memory)
