"""Render /proc/pressure/*: what the kernel wrote for the cgroup (Documentation/accounting/psi.rst).

Zeros where the cgroup has no such file, in the lines that this kernel has: before Linux 5.13 there is no
``full`` for cpu, and for irq there is nothing else.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from pylxcfs.procfiles.field import Field, Part, Rule
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_FIELD: Final = Field(
    Rule.COMPUTED,
    "what the kernel wrote for the container's cgroup; 0 where that has no such file (cgroup v1)",
    "the same word of the cgroup's pressure file",
    ("*.pressure",),
)
_VALUE: Final = re.compile(rb"=\d+(\.\d+)?")


def _renderer(host_text: Callable[[HostSnapshot], bytes]) -> Callable[[ResourceView, HostSnapshot], bytes]:
    """Return what renders one resource; `host_text` has the lines that this kernel has."""

    def render(view: ResourceView, host: HostSnapshot) -> bytes:
        return view.pressure or _VALUE.sub(_zero, host_text(host))

    return render


def split(text: bytes) -> Iterator[Part]:
    """Yield each average and total: ``some avg10``."""
    for line in text.decode(errors="replace").split("\n"):
        name, *pairs = line.split() or [""]
        for pair in pairs:
            key, _, value = pair.partition("=")
            yield Part(f"{name} {key}", value, _FIELD)


def _zero(value: re.Match[bytes]) -> bytes:
    return b"=0.00" if value[1] else b"=0"


render_cpu: Final = _renderer(lambda host: host.pressure_cpu)
render_io: Final = _renderer(lambda host: host.pressure_io)
render_irq: Final = _renderer(lambda host: host.pressure_irq)
render_memory: Final = _renderer(lambda host: host.pressure_memory)
