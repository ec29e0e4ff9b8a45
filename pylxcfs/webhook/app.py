"""The ASGI application: reviews over TLS; health and metrics on a port of their own."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from pylxcfs.webhook import metrics
from pylxcfs.webhook.logs import FIELDS
from pylxcfs.webhook.metrics import Metrics
from pylxcfs.webhook.patch import Decision
from pylxcfs.webhook.review import BadRequestError, Review, answer, judge, parse
from pylxcfs.webhook.rules import Reason
from pylxcfs.webhook.settings import Settings

_LOG: Final = logging.getLogger(__name__)
#: etcd keeps no object of more than 1.5 MiB (--max-request-bytes), and a review of an update has two.
MOST_BODY_BYTES: Final = 4 * 1024**2
#: Of all requests that are being read together. With the process itself, its connections, and what is made of
#: one body, that is within the memory limit of deploy/kubernetes/webhook (docs/threat-model.md).
_MOST_HELD_BYTES: Final = 16 * 1024**2
#: Read, but not kept, before the answer: most clients look at it only when they have sent everything.
_MOST_IGNORED_BYTES: Final = 64 * 1024**2
_JSON: Final = b"application/json"
_TEXT: Final = b"text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Response:
    status: HTTPStatus
    body: bytes
    content_type: bytes = _TEXT


class _Refusal(Exception):  # noqa: N818 - not an error of ours
    """The request is none that we answer."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Unread(Enum):
    """Why there is no body."""

    #: larger than any review
    TOO_LARGE = auto()
    #: The client went away, or stopped sending.
    CUT = auto()
    #: Too much is being read from others meanwhile.
    BUSY = auto()


class _Memory:
    """What requests that are being read take together; who takes the most gives way."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held: dict[_Body, int] = {}

    def take(self, body: "_Body", size: int) -> None:
        """Count more of a body, and have the largest one dropped while all are too large."""
        self._held[body] = self._held.get(body, 0) + size
        while sum(self._held.values()) > self._most:
            largest = max(self._held, key=self._held.__getitem__)
            self.release(largest)
            largest.drop()

    def release(self, body: "_Body") -> None:
        """Count it no more."""
        self._held.pop(body, None)


class _Body:
    """What a client sends with its request."""

    def __init__(self, receive: ASGIReceiveCallable, memory: _Memory) -> None:
        self._receive = receive
        self._memory = memory
        self._content = bytearray()
        self._is_dropped = False
        #: Nothing more will come.
        self.ended = False
        self._cut = False

    async def read(self) -> bytes | _Unread:
        """Return it; of one that is too large, a bounded rest may be left."""
        size = 0
        try:
            while not self.ended and size <= _MOST_IGNORED_BYTES:
                piece = await self._next()
                size += len(piece)
                if size > MOST_BODY_BYTES:
                    self.drop()
                elif not self._is_dropped:
                    self._content += piece
                    self._memory.take(self, len(piece))
        finally:
            self._memory.release(self)
        if self._cut:
            return _Unread.CUT
        if size > MOST_BODY_BYTES:
            return _Unread.TOO_LARGE
        return _Unread.BUSY if self._is_dropped else bytes(self._content)

    def drop(self) -> None:
        """Keep nothing of it; it is read to its end all the same."""
        self._is_dropped = True
        self._content = bytearray()
        self._memory.release(self)

    async def skip(self) -> None:
        """Read to the end, and keep nothing: while nobody reads, the whole connection stands still."""
        while not self.ended:
            await self._next()

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            self.ended = self._cut = True
            return b""
        self.ended = not message["more_body"]
        return message["body"]


_Handler = Callable[[HTTPScope, bytes | _Unread], _Response]


class Application:
    """Answers requests; `clock` is monotonic seconds, `unready` says why reviews should go elsewhere."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        unready: Callable[[], str],
    ) -> None:
        """Build it of its parts."""
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._unready = unready
        self._memory = _Memory(_MOST_HELD_BYTES)
        #: By scheme and path. Health and metrics have no secrets, and probes no certificates.
        self._routes: dict[tuple[str, str], tuple[str, _Handler]] = {
            ("https", "/mutate"): ("POST", self._mutate),
            ("http", "/healthz"): ("GET", self._live),
            ("http", "/readyz"): ("GET", self._ready),
            ("http", "/metrics"): ("GET", self._show_metrics),
        }

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer one request. Its body is read to the end even when it does not matter.

        hypercorn 0.18 closes an HTTP/1.1 connection whose request is not over, and the client, still sending,
        loses the answer; with HTTP/2, what arrives after an answer ends the connection and all its requests.
        """
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
            return
        body = _Body(receive, self._memory)
        response = self._respond(scope, await body.read())
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", str(len(response.body)).encode()),
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": not body.ended})
        if not body.ended:
            await body.skip()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _respond(self, scope: HTTPScope, body: bytes | _Unread) -> _Response:
        route = self._routes.get((scope["scheme"], scope["path"]))
        try:
            if body is _Unread.CUT:
                raise _Refusal(HTTPStatus.BAD_REQUEST, "the request has not come to its end")
            if route is None:
                raise _Refusal(HTTPStatus.NOT_FOUND, "no such path")
            method, handler = route
            if scope["method"] != method:
                raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} only")
            return handler(scope, body)
        except _Refusal as refusal:
            self._metrics.refused.labels(str(refusal.status.value)).inc()
            return _Response(refusal.status, f"{refusal}\n".encode())

    def _mutate(self, scope: HTTPScope, body: bytes | _Unread) -> _Response:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != _JSON:
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "application/json only")
        if body is _Unread.BUSY:
            raise _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too much is being read; try again")
        if isinstance(body, _Unread):
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large for a review")
        start = self._clock()
        try:
            review = parse(body)
        except BadRequestError as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        decision = self._judge(review)
        response = answer(review, decision)
        seconds = self._clock() - start
        self._metrics.reviewed(decision, seconds)
        fields = {
            "uid": review.uid,
            "namespace": review.namespace,
            "pod": review.pod_name,
            "reason": decision.reason.value,
            "files": decision.files,
            "conflicts": decision.conflicts,
            "milliseconds": round(seconds * 1000, 3),
        }
        _LOG.info("review", extra={FIELDS: fields})
        return _Response(HTTPStatus.OK, response, _JSON)

    def _judge(self, review: Review) -> Decision:
        """Decide; whatever goes wrong with us, the pod is let through."""
        try:
            return judge(review, self._settings)
        except Exception as error:  # noqa: BLE001 - the one place where our errors end
            # The traceback's last line could quote the pod.
            where = error.__traceback__
            while where and where.tb_next:
                where = where.tb_next
            place = f"{where.tb_frame.f_code.co_qualname}:{where.tb_lineno}" if where else ""
            _LOG.error(
                "internal error",
                extra={FIELDS: {"uid": review.uid, "error": type(error).__name__, "at": place}},
            )
            return Decision(Reason.INTERNAL_ERROR, warnings=("internal error; the pod is left as it is",))

    def _live(self, _scope: HTTPScope, _body: bytes | _Unread) -> _Response:
        return _Response(HTTPStatus.OK, b"ok\n")

    def _ready(self, _scope: HTTPScope, _body: bytes | _Unread) -> _Response:
        why_not = self._unready()
        if why_not:
            return _Response(HTTPStatus.SERVICE_UNAVAILABLE, f"{why_not}\n".encode())
        return _Response(HTTPStatus.OK, b"ok\n")

    def _show_metrics(self, _scope: HTTPScope, _body: bytes | _Unread) -> _Response:
        return _Response(HTTPStatus.OK, self._metrics.exposition(), metrics.CONTENT_TYPE.encode())
