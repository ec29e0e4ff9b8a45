"""How a daemon begins: what has to hold before anything is mounted, and what is taken back at the end."""

import contextlib
import os
from collections.abc import Sequence

from pylxcfs.config import Config
from pylxcfs.errors import StartupError
from pylxcfs.fuse.mount_options import parse_mount_options
from pylxcfs.fuse.mounting import Connection, open_connection, prepare_mount_point
from pylxcfs.rundir.files import make_state_directory
from pylxcfs.rundir.pidfile import PidFile
from pylxcfs.supervision.signals import received_signals
from pylxcfs.supervision.supervisor import SIGNALS, Supervisor


def run(config: Config, arguments: Sequence[str]) -> int:
    """Mount, or take over a mount; have it served until told to stop. `arguments` are ours and the server's.

    Returns the exit status; raises StartupError.
    """
    options = parse_mount_options(",".join(config.mount_options))
    if config.state_directory.is_relative_to(config.mount_point):
        # Whoever writes there would wait for the server, and that is us.
        raise StartupError(
            f"the mount point {config.mount_point} would hide {config.state_directory}: "
            "choose another --runtime-dir"
        )
    if config.hold_seconds and os.getpid() == 1:
        raise StartupError("--hold needs the host's pid namespace: what keeps the mount would end with ours")
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(PidFile(config.pidfile or config.runtime_dir / "pylxcfs.pid"))
        make_state_directory(config.state_directory)
        cleanup.enter_context(PidFile(config.state_directory / "lock"))
        if config.mount_point.parent == config.state_directory:
            # Not Path.mkdir: it asks whoever serves what is there.
            with contextlib.suppress(FileExistsError):
                os.mkdir(config.mount_point)  # noqa: PTH102
        signals = cleanup.enter_context(received_signals(SIGNALS))

        def mount() -> Connection:
            prepare_mount_point(config.mount_point)
            return open_connection(config.mount_point, options)

        return Supervisor(config, arguments, signals, mount).run()
