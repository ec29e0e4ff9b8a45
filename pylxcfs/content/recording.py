"""Remembers which of the kernel's files were read for something, and what they said."""

import contextlib
from typing import NamedTuple

from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import V2, CgroupPath
from pylxcfs.view.host import HostReader


class Reading(NamedTuple):
    """One file as it was read."""

    path: str
    text: bytes
    #: The cgroup below its mount point, and the file's name in it; empty for the host's files.
    cgroup: str = ""
    name: str = ""


#: In the order of reading.
Log = list[Reading]


def recording_files(log: Log) -> type[CgroupFiles]:
    """Return what reads cgroup files and writes each reading to `log`."""

    class RecordingFiles(CgroupFiles):
        """Reads as ever."""

        def read(self, hierarchy: str, located: CgroupPath, name: str) -> bytes:
            """Read, and remember."""
            text = super().read(hierarchy, located, name)
            log.append(Reading(self.describe(hierarchy, located, name), text, located, name))
            return text

        def open_directory(self, hierarchy: str, located: CgroupPath) -> int:
            """Open a cgroup's directory, and remember its tasks: for them it is opened."""
            directory = super().open_directory(hierarchy, located)
            name = "cgroup.threads" if hierarchy == V2 else "tasks"
            with contextlib.suppress(OSError):
                text = self.read_once(hierarchy, located, name)
                log.append(Reading(self.describe(hierarchy, located, name), text, located, name))
            return directory

    return RecordingFiles


def recording_host(log: Log) -> type[HostReader]:
    """Return what reads the host's files and writes each reading to `log`."""

    class RecordingHost(HostReader):
        """Reads as ever."""

        def read(self, name: str, *, as_linux32: bool = False) -> bytes:
            """Read, and remember."""
            text = super().read(name, as_linux32=as_linux32)
            top = "/sys/devices/system" if name.startswith("cpu/") else "/proc"
            log.append(Reading(f"{top}/{name}", text, name=name))
            return text

    return RecordingHost
