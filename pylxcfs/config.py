"""What one run of the daemon was told to do.

Named tuples: to import dataclasses costs the supervisor 1.2 MB, a twelfth of what it has.
"""

from pathlib import Path
from typing import Final, NamedTuple

DEFAULT_CACHE_TTL_SECONDS: Final = 0.05
#: A server of a node with 500 containers has a fifth of it.
DEFAULT_MAX_MEMORY: Final = 256 << 20
DEFAULT_RUNTIME_DIR: Final = Path("/run")


class ViewConfig(NamedTuple):
    """How containers are shown; all that rendering needs to know."""

    #: Show a CPU quota as that many CPUs (``--disable-cfs`` turns it off).
    cfs: bool = True
    #: Show the container's load averages (``--disable-loadavg`` shows the host's).
    loadavg: bool = True
    #: Show swap at all (``-u`` turns it off).
    swap: bool = True
    #: Show compressed swap (``--disable-zswap`` turns it off).
    zswap: bool = True
    #: Count memory.high of cgroup v2 as a limit (``--memory-high``).
    memory_high: bool = False
    #: Number the container's CPUs from 0 (``--cpu-numbering compact``) instead of as the kernel does.
    compact_cpus: bool = False
    #: How long rendered content may be served again; 0 renders every time.
    cache_ttl_seconds: float = DEFAULT_CACHE_TTL_SECONDS


class Config(NamedTuple):
    """The daemon's command line, checked and with its defaults filled in."""

    mount_point: Path
    view: ViewConfig = ViewConfig()
    #: FUSE mount options as given with ``-o``, already checked.
    mount_options: tuple[str, ...] = ()
    runtime_dir: Path = DEFAULT_RUNTIME_DIR
    #: None: ``pylxcfs.pid`` in the runtime directory.
    pidfile: Path | None = None
    log_level: str = "INFO"
    #: Above this resident memory a server is replaced.
    max_memory: int = DEFAULT_MAX_MEMORY
    #: How long the connection is kept, and readers wait, when we end; 0: we unmount (``--hold``).
    hold_seconds: float = 0.0
    #: Stop as soon as we serve: those who wait are answered, and nobody is left with a dead file.
    leave: bool = False
    #: Let containers set PSI triggers (``--enable-psi-poll``).
    psi_poll: bool = False
    #: Plant binds in running containers anew after mounting, and take them away before unmounting
    #: (``--disable-reattach`` leaves them alone).
    reattach: bool = True
    #: The host's /proc and /sys; elsewhere only in tests.
    proc_root: Path = Path("/proc")
    sys_root: Path = Path("/sys")

    @property
    def state_directory(self) -> Path:
        """Where the processes of this run, and of the next, leave word for each other."""
        return self.runtime_dir / "pylxcfs"
