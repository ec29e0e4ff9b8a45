"""The process: TLS, the two ports, the watch over the certificate, and an end without a lost review."""

import logging
import signal
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, Scope
from hypercorn.utils import repr_socket_addr

from pylxcfs.errors import StartupError
from pylxcfs.webhook.app import Application
from pylxcfs.webhook.authority import Authority, Place
from pylxcfs.webhook.certificates import CertificateError
from pylxcfs.webhook.kubeapi import KubernetesApi
from pylxcfs.webhook.logs import FIELDS
from pylxcfs.webhook.metrics import Metrics
from pylxcfs.webhook.settings import Settings
from pylxcfs.webhook.tls import CertificateFiles, LiveContext

_LOG: Final = logging.getLogger(__name__)
#: Longer than the 90 s after which Go's client drops an idle connection: it must not be us who close it, just
#: when the next review is under way.
_IDLE_SECONDS: Final = 120
_HANDSHAKE_SECONDS: Final = 10
#: An API server keeps one for all reviews (HTTP/2), a kubelet one for its probe. Each takes some 100 kB.
_MOST_CONNECTIONS: Final = 256
_MOST_OF_A_PEER: Final = 64
#: Requests of one connection that are under way at once.
_MOST_STREAMS: Final = 32
#: API servers wait for an answer 30 s at most, 2 s by our manifests.
_REQUEST_SECONDS: Final = 10
#: A review takes milliseconds; API servers wait 30 s at most.
_FINISH_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class OwnAuthority:
    """Certificates of our own making, kept in the cluster."""

    place: Place
    #: host and port of the API server
    api_server: tuple[str, str]
    service_account: Path


@dataclass(frozen=True, slots=True)
class GivenFiles:
    """Certificates that somebody else makes."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the command line asks for, besides the `Settings`."""

    bind: str
    health_bind: str
    certificates: OwnAuthority | GivenFiles
    #: How often the certificate is looked after.
    check_seconds: float
    #: From readiness lost to the last connection accepted: until then Services still send reviews here.
    drain_seconds: float


class _HypercornConfig(Config):
    """Hypercorn's configuration for a context that it does not know."""

    @property
    def ssl_enabled(self) -> bool:
        return True


async def call_in_time(
    application: ASGIFramework, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
) -> None:
    """Have a request answered; who has not sent all of it in time is taken for a client that has gone."""
    give_up_at = trio.current_time() + _REQUEST_SECONDS

    async def receive_in_time() -> ASGIReceiveEvent:
        with trio.move_on_at(give_up_at):
            return await receive()
        return {"type": "http.disconnect"}

    await application(scope, receive_in_time, send)


class _Connections:
    """How many are open, by peer: each takes memory, long before it has sent anything."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_more(self, stream: trio.abc.Stream) -> Iterator[bool]:
        """Count one while it is open; tell whether there is room for it."""
        peer = _peer_of(stream)
        has_room = self._open.total() < _MOST_CONNECTIONS and self._open[peer] < _MOST_OF_A_PEER
        if not has_room:
            yield False
            return
        self._open[peer] += 1
        try:
            yield True
        finally:
            self._open[peer] -= 1
            self._open += Counter()


def _peer_of(stream: trio.abc.Stream) -> str:
    """Return who is at the other end, without the port; nothing where that has gone."""
    below = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    try:
        return str(cast("trio.SocketStream", below).socket.getpeername()[0])
    except OSError:
        return ""


async def _serve_connection(
    application: Application,
    config: Config,
    context: WorkerContext,
    connections: _Connections,
    stream: trio.abc.Stream,
) -> None:
    """Serve it until it ends; an error of hypercorn's in one of them is not the end of all."""
    with connections.one_more(stream) as has_room:
        if has_room:
            await _serve_one(application, config, context, stream)
        else:
            await trio.aclose_forcefully(stream)


async def _serve_one(
    application: Application, config: Config, context: WorkerContext, stream: trio.abc.Stream
) -> None:
    tls_stream = cast("trio.SSLStream[trio.SocketStream]", stream)
    try:
        await TCPServer(ASGIWrapper(partial(call_in_time, application)), config, context, {}, tls_stream)
    except* Exception as group:  # noqa: BLE001 - whatever a client can provoke
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        # Its text could quote what was sent.
        _LOG.warning("connection", extra={FIELDS: {"error": type(error).__name__}})


async def _serve_connections(
    application: Application,
    config: Config,
    tls: ssl.SSLContext,
    end: trio.Event,
    *,
    task_status: trio.TaskStatus[list[str]],
) -> None:
    """Listen until the `end`, then let connections finish. Reports the addresses, as URLs.

    hypercorn's own `serve` ends, and all connections with it, at the first error in one: 0.18 has such for a
    path that is not ASCII, and for what arrives in an HTTP/2 stream after the answer.
    """
    context = WorkerContext(None)
    sockets = config.create_sockets()
    listeners: dict[str, trio.abc.Listener[Any]] = {}
    for scheme, bound in (("https", sockets.secure_sockets), ("http", sockets.insecure_sockets)):
        for sock in bound:
            sock.listen(config.backlog)
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            url = f"{scheme}://{repr_socket_addr(sock.family, sock.getsockname())}"
            listeners[url] = (
                trio.SSLListener(listener, tls, https_compatible=True) if scheme == "https" else listener
            )
    async with trio.open_nursery() as connections, trio.open_nursery() as listening:
        serve_one = partial(_serve_connection, application, config, context, _Connections())
        listening.start_soon(
            partial(trio.serve_listeners, serve_one, list(listeners.values()), handler_nursery=connections)
        )
        task_status.started(list(listeners))
        await end.wait()
        await context.terminated.set()
        listening.cancel_scope.cancel()
        connections.cancel_scope.deadline = trio.current_time() + _FINISH_SECONDS


class _Ending:
    """How far the end has come."""

    def __init__(self) -> None:
        self.draining = False
        self.reached = trio.Event()


async def _keep_certificate(
    read: Callable[[], Awaitable[tuple[bytes, bytes]]], context: LiveContext, metrics: Metrics, seconds: float
) -> None:
    """Look after the certificate for ever."""
    while True:
        try:
            if context.load(*await read()) and context.expires is not None:
                metrics.certificate_loads.inc()
                metrics.certificate_expiry.set(context.expires.timestamp())
                _LOG.info(
                    "certificate taken into use", extra={FIELDS: {"expires": context.expires.isoformat()}}
                )
        except CertificateError as error:
            metrics.certificate_errors.inc()
            _LOG.warning("certificate", extra={FIELDS: {"error": str(error)}})
        await trio.sleep(seconds)


async def _watch_signals(ending: _Ending, drain_seconds: float) -> None:
    """Begin to drain at the first signal that asks for the end; a second one is in a hurry."""

    async def end_later() -> None:
        await trio.sleep(drain_seconds)
        ending.reached.set()

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            async for _ in signals:
                if ending.draining:
                    ending.reached.set()
                else:
                    _LOG.info("draining")
                    ending.draining = True
                    nursery.start_soon(end_later)


def _now() -> datetime:
    return datetime.now(UTC)


async def _read_files(files: CertificateFiles) -> tuple[bytes, bytes]:
    return files.read()


async def _serve(settings: Settings, options: ServerOptions) -> None:
    context, metrics, ending = LiveContext(), Metrics(), _Ending()

    def unready() -> str:
        if ending.draining:
            return "draining"
        if context.expires is None:
            return "no certificate yet"
        return "" if _now() < context.expires else "the certificate has ended"

    config = _HypercornConfig()
    config.bind = [options.bind]
    config.insecure_bind = [options.health_bind]
    config.errorlog = None
    config.include_server_header = False
    config.h2_max_concurrent_streams = _MOST_STREAMS
    config.keep_alive_timeout = _IDLE_SECONDS
    config.keep_alive_max_requests = 2**31
    config.ssl_handshake_timeout = _HANDSHAKE_SECONDS
    application = Application(settings, metrics, clock=time.perf_counter, unready=unready)
    async with AsyncExitStack() as stack:
        if isinstance(options.certificates, OwnAuthority):
            own = options.certificates
            api = await stack.enter_async_context(KubernetesApi(*own.api_server, own.service_account))
            read = Authority(api, own.place, _now).read
        else:
            given = options.certificates
            read = partial(_read_files, CertificateFiles(given.certificate, given.key))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_keep_certificate, read, context, metrics, options.check_seconds)
            nursery.start_soon(_watch_signals, ending, options.drain_seconds)
            async with trio.open_nursery() as serving:
                binds = await serving.start(
                    _serve_connections, application, config, context.ssl_context, ending.reached
                )
                _LOG.info("serving", extra={FIELDS: {"on": binds}})
            nursery.cancel_scope.cancel()
    _LOG.info("ended")


def run(settings: Settings, options: ServerOptions) -> int:
    """Serve until a signal; return the exit status. Raises StartupError if an address cannot be bound."""
    try:
        trio.run(_serve, settings, options)
    except BaseExceptionGroup as group:
        _, rest = group.split(OSError)
        if rest is not None:
            raise
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise StartupError(f"{options.bind}, {options.health_bind}: {error}") from None
    return 0
