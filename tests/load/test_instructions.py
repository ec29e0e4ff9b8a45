"""What a read costs in instructions of the interpreter, which do not depend on how busy the machine is.

Processors' own counters would, and virtual machines often have none. Bounds are half above what was counted
when they were set, with Python 3.11: only a gross regression is to fail, and versions of Python differ.
"""

import os
from collections.abc import Callable

import pytest

from pylxcfs.config import ViewConfig
from pylxcfs.content.engine import assemble
from pylxcfs.procfiles.table import VIRTUAL_FILES
from tests.support.cgroups import MIB, Limits
from tests.support.container import Container
from tests.support.instructions import count_instructions

_FILES = {file.path: file for file in VIRTUAL_FILES}
#: Each possible CPU has a counter that is parsed and added up.
_FOR_EACH_CPU = 200
#: The least of so many: once a second more is looked at.
_TIMES = 10


@pytest.mark.parametrize(
    "name,cache_ttl_seconds,most",
    [
        ("meminfo", 3600, 440),
        ("stat", 3600, 440),
        ("meminfo", 0, 9700),
        ("swaps", 0, 3200),
        ("stat", 0, 5500),
        ("uptime", 0, 4700),
        ("loadavg", 0, 1800),
    ],
)
def test_instructions_per_read(
    monkeypatch: pytest.MonkeyPatch,
    make_container: Callable[..., Container],
    name: str,
    cache_ttl_seconds: float,
    most: int,
) -> None:
    """To find out who asks and to render takes no more than when this was written, and half of that."""
    # A socket that nobody would close.
    monkeypatch.setattr("pylxcfs.content.engine._open_cgroup_stats", lambda: None)
    engine = assemble(ViewConfig(cache_ttl_seconds=cache_ttl_seconds))
    pid = make_container(Limits(memory=100 * MIB, cpus="0")).init_pid
    file = _FILES[f"proc/{name}"]
    engine.render_for_pid(file, pid)
    counts = [count_instructions(lambda: engine.render_for_pid(file, pid)) for _ in range(_TIMES)]
    more_cpus = os.sysconf("SC_NPROCESSORS_CONF") - 2
    assert 0 < min(counts) <= most + _FOR_EACH_CPU * more_cpus
