"""The serving process: everything is built here and passed in.

The supervisor starts ``python -m pylxcfs.server ARGUMENTS…`` as a template, which forks servers
(pylxcfs/supervision/template.py). One waits until it is told to serve; a server whose supervisor has died
becomes the supervisor. The name ``pylxcfs.server`` stays: supervisors of earlier versions start this code by
it.
"""

import contextlib
import gc
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from pylxcfs import __version__
from pylxcfs.accounting.load_file import LoadFile
from pylxcfs.cgroup.types import Controller
from pylxcfs.cli import parse_arguments
from pylxcfs.config import Config
from pylxcfs.console import set_up_logging
from pylxcfs.content.engine import Engine, assemble
from pylxcfs.content.features import describe, options
from pylxcfs.errors import StartupError
from pylxcfs.fuse import library
from pylxcfs.fuse.loop import Loop
from pylxcfs.fuse.mounting import minor_at
from pylxcfs.fuse.suspicion import Suspicion
from pylxcfs.linux.files import read_boot_id
from pylxcfs.linux.shared_word import SharedWord
from pylxcfs.reattach.__main__ import main as rebind
from pylxcfs.rundir import status_socket
from pylxcfs.status.source import StatusSource
from pylxcfs.supervision.children import python_command, python_environment
from pylxcfs.supervision.protocol import (
    ALIVE,
    ALIVE_SECONDS,
    DOUBT,
    DRAIN,
    FORK_REBINDING,
    GO,
    HOST_VIEW,
    OWN_VIEW,
    READY,
    STORE_NAME,
)
from pylxcfs.supervision.systemd import pass_descriptor
from pylxcfs.supervision.template import fork_on_demand, open_control, receive, tell, tell_failure

if TYPE_CHECKING:
    from pylxcfs.fuse.serving import Serving

_log = logging.getLogger(__name__)
_PRUNE_SECONDS: Final = 5.0
_SAVE_SECONDS: Final = 5.0
#: How long the serving thread may take to come to an end before the process goes on without it.
_STOP_SECONDS: Final = 1.0
#: How long whoever asks for the status may take to read it.
_TELL_SECONDS: Final = 1.0


class _Told(NamedTuple):
    """What comes with the word to go."""

    generation: int
    device_fd: int
    #: None: nobody wants to know what is being answered.
    suspicion: Suspicion | None


class _End(Enum):
    """Why serving ended."""

    #: It was never told to serve.
    UNUSED = "unused"
    UNMOUNTED = "unmounted"
    DRAINED = "drained"
    ORPHANED = "orphaned"


def main(argv: Sequence[str] | None = None) -> int:
    """Be a template; in each process that it forks, do what that is for. Return the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    template_control = open_control()
    config = parse_arguments(arguments)
    try:
        serving_class = _load_fuse()
    except StartupError as error:
        tell_failure(template_control, error)
        return 1
    forked = fork_on_demand(template_control)
    if forked is None:
        return 0
    order, control = forked
    with control:
        if order.startswith(FORK_REBINDING):
            return rebind([order.removeprefix(FORK_REBINDING).decode(), *arguments])
        set_up_logging(config.log_level)
        try:
            _run(config, control, arguments, serving_class)
        except StartupError as error:
            tell_failure(control, error)
            return 1
        except Exception as error:  # noqa: BLE001 - not hidden: it ends the process
            tell_failure(control, repr(error))
            _log.exception("the server ends")
            return 1
    return 0


def _run(
    config: Config,
    control: socket.socket,
    arguments: Sequence[str],
    serving_class: "type[Serving]",
) -> None:
    """Build everything, wait for the word to go, and serve; raises StartupError."""
    # Before anything is mounted: what is looked up by path from then on may be below our own mount.
    ledgers = config.state_directory / "ledgers"
    engine = assemble(config.view, config.proc_root, config.sys_root, ledgers, counts_beside=True)
    saved = LoadFile(config.state_directory / "load.json", read_boot_id(config.proc_root))
    # What is here now stays; the collector need not walk it again while a reader waits.
    gc.collect()
    gc.freeze()
    end, device_fd = trio.run(_wait_and_serve, config, control, engine, saved, serving_class)
    if end is not _End.UNUSED:
        saved.save(engine.loads.snapshot())
    if end is _End.ORPHANED:
        _become_supervisor(config, device_fd, arguments)


async def _wait_and_serve(
    config: Config,
    control: socket.socket,
    engine: Engine,
    saved: LoadFile,
    serving_class: "type[Serving]",
) -> tuple[_End, int]:
    """Serve the descriptor that comes with the word to go; return why that ended, and the descriptor.

    The event loop runs, and a thread has, before anybody is kept waiting: to start them takes longer than all
    that is left to be done then.
    """
    await trio.to_thread.run_sync(gc.isenabled)
    if not tell(control, READY):
        # The supervisor has left while this was being built: nobody needs it any more.
        return _End.UNUSED, -1
    told = await _wait_for_connection(control, engine)
    if told is None:
        return _End.UNUSED, -1
    generation, device_fd = told.generation, told.device_fd
    serving = serving_class(
        device_fd,
        engine,
        config.state_directory / "passes",
        triggers=config.psi_poll,
        suspicion=told.suspicion,
    )
    if generation == 1:
        serving.begin_anew()
        _log_start(config, engine)
    # Only now: the server before us has saved them at its very end.
    engine.loads.restore(saved.load())
    source = StatusSource(generation, engine, serving)
    beside = (
        partial(_count_loads, engine),
        partial(_save_loads, engine, saved),
        partial(_tell_status, source, config.state_directory),
    )
    return await _serve(serving, control, engine, beside), device_fd


def _load_fuse() -> "type[Serving]":
    """Load pyfuse3, which loads libfuse; raises StartupError where one of them is missing."""
    error = library.load_error()
    if error:
        raise StartupError(f"cannot load pyfuse3: {error}; {library.ADVICE}")
    from pylxcfs.fuse.serving import Serving  # noqa: PLC0415 - so that what is missing can be told in one line

    return Serving


async def _wait_for_connection(control: socket.socket, engine: Engine) -> _Told | None:
    """Return what to serve; None if the supervisor has gone."""
    doubted: frozenset[int] = frozenset()
    while True:
        await trio.lowlevel.wait_readable(control)
        word, fds = receive(control)
        if word.startswith(GO) and fds:
            suspicion = Suspicion(SharedWord(fds[1]).cell, doubted) if len(fds) > 1 else None
            return _Told(int(word.removeprefix(GO)), fds[0], suspicion)
        if word.startswith(DOUBT):
            doubted = frozenset(map(int, word.removeprefix(DOUBT).split()))
        if not word:
            return None
        _obey_view(word, engine)


async def _serve(
    serving: "Serving",
    control: socket.socket,
    engine: Engine,
    beside: Sequence[Callable[[], Awaitable[None]]],
) -> _End:
    """Run the serving thread, the control plane, and what else is to be done beside it."""
    end = _End.UNMOUNTED
    loop = serving.loop

    async def obey() -> None:
        nonlocal end
        end = await _obey(loop, control, engine)
        # A thread that hangs is left behind: the process ends all the same.
        nursery.cancel_scope.deadline = trio.current_time() + _STOP_SECONDS

    async with trio.open_nursery() as nursery:
        nursery.start_soon(obey)
        nursery.start_soon(_say_alive, loop, control)
        nursery.start_soon(_prune, loop, engine)
        for task in beside:
            nursery.start_soon(task)
        await trio.to_thread.run_sync(serving.run, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()
    return end


async def _obey(loop: Loop, control: socket.socket, engine: Engine) -> _End:
    """Do what the supervisor says until serving has to end."""
    while True:
        await trio.lowlevel.wait_readable(control)
        word, _ = receive(control)
        if word == DRAIN or not word:
            loop.stop()
            return _End.DRAINED if word else _End.ORPHANED
        loop.post(lambda word=word: _obey_view(word, engine))  # type: ignore[misc]


def _obey_view(word: bytes, engine: Engine) -> None:
    if word == HOST_VIEW and engine.content.show_host(on=True):
        _log.info("SIGUSR2: everybody sees the host, until the next SIGUSR2")
    elif word == OWN_VIEW and engine.content.show_host(on=False):
        _log.info("SIGUSR2: containers see themselves again")


async def _say_alive(loop: Loop, control: socket.socket) -> None:
    """Have the serving thread say that it is alive: if that thread hangs, it does not."""

    def say() -> None:
        # Nobody to hear it: we are about to be told.
        with contextlib.suppress(OSError):
            control.send(ALIVE, socket.MSG_DONTWAIT)

    while True:
        loop.post(say)
        await trio.sleep(ALIVE_SECONDS)


async def _prune(loop: Loop, engine: Engine) -> None:
    while True:
        await trio.sleep(_PRUNE_SECONDS)
        loop.post(engine.prune)


async def _count_loads(engine: Engine) -> None:
    """Begin to count what no request counts, in a thread that ends with the process."""
    threading.Thread(target=engine.loads.run, name="loads", daemon=True).start()


async def _save_loads(engine: Engine, saved: LoadFile) -> None:
    while True:
        await trio.sleep(_SAVE_SECONDS)
        if not engine.loads.idle:
            saved.save(engine.loads.snapshot())


async def _tell_status(source: StatusSource, directory: Path) -> None:
    """Tell the status to all who ask in `directory`."""

    async def tell(stream: trio.SocketStream) -> None:
        try:
            document = json.dumps(source.status().document()).encode()
            with trio.move_on_after(_TELL_SECONDS):
                await stream.send_all(document)
        except trio.BrokenResourceError:
            # Whoever asked has left.
            return
        except Exception:  # noqa: BLE001 - serving must not end for that
            _log.exception("cannot tell the status")

    try:
        listening = status_socket.listen(directory)
    except OSError as error:
        _log.warning("pylxcfsctl status will not know what is read: %s", error)
        return
    await trio.serve_listeners(tell, [trio.SocketListener(trio.socket.from_stdlib_socket(listening))])


def _become_supervisor(config: Config, device_fd: int, arguments: Sequence[str]) -> None:
    """Execute the daemon's program in this process, with the connection; returns only if that fails."""
    minor = minor_at(config.mount_point)
    if minor is None:
        return
    _log.warning("the supervisor has died; server %d takes its place", os.getpid())
    command = python_command("pylxcfs.cli", *arguments)
    environment = python_environment() | pass_descriptor(STORE_NAME + minor, device_fd)
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted


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


if __name__ == "__main__":
    _status = main()
    logging.shutdown()
    # Readers wait until a server that hands over has gone, and to take an interpreter down takes its time.
    os._exit(_status)
