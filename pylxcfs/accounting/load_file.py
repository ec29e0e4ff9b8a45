"""Load averages in a small file, for the process that serves next (docs/adr/0008-load-averages.md)."""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pylxcfs.accounting.load_average import Averages, LoadAverage
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths
from pylxcfs.containers.container import ContainerKey
from pylxcfs.rundir.files import replace_file

_log = logging.getLogger(__name__)
_VERSION: Final = 1
_AVERAGES: Final = 3
#: The kernel's averages are of as many tasks as it can have, fixed-point.
_MOST: Final = 1 << 40


class LoadFile:
    """Where averages are kept. They are of use only until the next boot: pids and clock begin anew."""

    def __init__(self, path: Path, boot_id: str) -> None:
        """Keep them in `path`, which need not exist yet."""
        self._path = path
        self._boot_id = boot_id
        self._complained = False

    def save(self, loads: Mapping[ContainerKey, LoadAverage]) -> None:
        """Replace the file as a whole; a failure is logged once, and costs no more than the history."""
        entries = [
            [[*key.paths], key.init_pid, key.init_start_ticks, load.averages, load.due]
            for key, load in loads.items()
        ]
        text = json.dumps({"version": _VERSION, "boot_id": self._boot_id, "loads": entries})
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            replace_file(self._path, text.encode())
        except OSError as error:
            if not self._complained:
                _log.warning("load averages will not survive a restart: %s", error)
            self._complained = True

    def load(self) -> dict[ContainerKey, LoadAverage]:
        """Return what was saved since the last boot; nothing where that cannot be told for certain."""
        try:
            content = json.loads(self._path.read_bytes())
            if (content["version"], content["boot_id"]) != (_VERSION, self._boot_id):
                return {}
            return dict(map(_parse, content["loads"]))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            _log.warning("ignoring the load averages in %s: %r", self._path, error)
            return {}


def _parse(entry: Any) -> tuple[ContainerKey, LoadAverage]:  # noqa: ANN401 - JSON
    paths, init_pid, start_ticks, averages, due = entry
    numbers = [int(number) for number in averages]
    is_load = len(numbers) == _AVERAGES and 0 <= min(numbers) <= max(numbers) <= _MOST
    if not (is_load and math.isfinite(due)):
        raise ValueError(entry)
    by_hierarchy = {str(name): CgroupPath(str(path)) for name, path in paths}
    key = ContainerKey(CgroupPaths.of(by_hierarchy), int(init_pid), int(start_ticks))
    return key, LoadAverage(Averages(*numbers), float(due))
