"""The serving process: everything is built here and passed in."""

import contextlib
import gc
import logging
import signal
from typing import Final

import trio

from pylxcfs import __version__
from pylxcfs.assembly import Engine, assemble
from pylxcfs.cgroup.types import Controller
from pylxcfs.config import Config
from pylxcfs.features import describe, options
from pylxcfs.fuse.connection import Connection, open_connection, parse_mount_options, prepare_mount_point
from pylxcfs.fuse.filesystem import FileSystem
from pylxcfs.fuse.session import Session
from pylxcfs.fuse.tree import Tree
from pylxcfs.fuse.triggers import Triggers
from pylxcfs.loadstate import LoadFile, read_boot_id
from pylxcfs.loadtracker import STEP_SECONDS
from pylxcfs.pidfile import PidFile

_log = logging.getLogger(__name__)
_PRUNE_SECONDS: Final = 5.0
_SAVE_SECONDS: Final = 60.0
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(config: Config) -> int:
    """Mount, serve until told to stop or unmounted, and clean up; raises StartupError."""
    options = parse_mount_options(",".join(config.mount_options))
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(PidFile(config.pidfile or config.runtime_dir / "pylxcfs.pid"))
        # Before mounting: what is looked up by path from here on may be below our own mount, and wait for us.
        engine = assemble(config.view, config.proc_root, config.sys_root)
        saved = LoadFile(config.runtime_dir / "pylxcfs/load.json", read_boot_id(config.proc_root))
        engine.loads.restore(saved.load())
        prepare_mount_point(config.mount_point)
        connection = open_connection(config.mount_point, options)
        cleanup.callback(connection.unmount)
        session = Session(connection.fd)
        triggers = Triggers(engine.content, session) if config.psi_poll else None
        tree = Tree(engine.files, engine.cpu_tree, triggers=config.psi_poll)
        file_system = FileSystem(tree, engine.content, triggers)
        _log_start(config, engine)
        # What is here now stays; the collector need not walk it again while a reader waits.
        gc.collect()
        gc.freeze()
        trio.run(_serve, session, file_system, connection, engine, saved)
        saved.save(engine.loads.snapshot())
        _log.info("stopped serving %s", config.mount_point)
    return 0


async def _serve(
    loop: Session, file_system: FileSystem, connection: Connection, engine: Engine, saved: LoadFile
) -> None:
    """Run the serving thread, and the control plane beside it."""
    async with trio.open_nursery() as control:
        # Before anybody can be served: who is served may send a signal.
        await control.start(_stop_on_signal, loop, connection)
        await control.start(_toggle_host_view_on_signal, loop, engine)
        control.start_soon(_prune, loop, engine)
        control.start_soon(_follow_loads, loop, engine)
        control.start_soon(_save_loads, engine, saved)
        await trio.to_thread.run_sync(loop.run, file_system)
        control.cancel_scope.cancel()


async def _stop_on_signal(
    loop: Session, connection: Connection, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(*_STOP_SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            _log.info("%s: unmounting", signal.Signals(number).name)
            connection.unmount()
            loop.stop()
            return


async def _toggle_host_view_on_signal(
    loop: Session, engine: Engine, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    def toggle() -> None:
        if engine.content.toggle_host_view():
            _log.warning("SIGUSR2: everybody sees the host, until the next SIGUSR2")
        else:
            _log.info("SIGUSR2: containers see themselves again")

    with trio.open_signal_receiver(signal.SIGUSR2) as signals:
        task_status.started()
        async for _ in signals:
            loop.post(toggle)


async def _prune(loop: Session, engine: Engine) -> None:
    while True:
        await trio.sleep(_PRUNE_SECONDS)
        loop.post(engine.prune)


async def _follow_loads(loop: Session, engine: Engine) -> None:
    while True:
        await trio.sleep(STEP_SECONDS)
        if not engine.loads.idle:
            loop.post(engine.loads.step)


async def _save_loads(engine: Engine, saved: LoadFile) -> None:
    while True:
        await trio.sleep(_SAVE_SECONDS)
        saved.save(engine.loads.snapshot())


def _log_start(config: Config, engine: Engine) -> None:
    _log.info("version %s", __version__)
    _log.info("hierarchies:")
    for number, hierarchy in enumerate(engine.hierarchies):
        names = ",".join(hierarchy.names) or "cgroup2"
        _log.info("%3d: %-24s %s", number, names, hierarchy.mount_point)
    answering = (f"{controller.value} {engine.versions.get(controller, 'none')}" for controller in Controller)
    _log.info("controllers: %s", ", ".join(answering))
    _log.info("kernel: %s", describe(engine.features))
    _log.info("options: %s, cache-ttl %g", describe(options(config.view)), config.view.cache_ttl_seconds)
    _log.info("serving %s", config.mount_point)
