"""Real cgroups of whatever layout the machine has: v1, v2 or hybrid, told in cgroup v2's words.

`layout` finds the hierarchies, `place` makes room in the cgroup2 one, `v1` and `v2` are the halves of a
`group`.
"""

from tests.support.cgroups.group import Cgroup, NoControllerError, cgroup
from tests.support.cgroups.layout import CONTROLLERS, Layout, Unified, find_layout
from tests.support.cgroups.limits import MIB, Limits

__all__ = [
    "CONTROLLERS",
    "MIB",
    "Cgroup",
    "Layout",
    "Limits",
    "NoControllerError",
    "Unified",
    "cgroup",
    "find_layout",
]
