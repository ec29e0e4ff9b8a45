"""The application by itself: errors of ours, and connections that end."""

import json
import logging
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import cast

import pytest
import trio
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, HTTPScope
from trio.testing import MockClock

from pylxcfs.webhook import app
from pylxcfs.webhook.app import Application
from pylxcfs.webhook.logs import JsonFormatter
from pylxcfs.webhook.metrics import Metrics
from pylxcfs.webhook.patch import Decision
from pylxcfs.webhook.review import Review
from pylxcfs.webhook.server import call_in_time
from pylxcfs.webhook.settings import Settings
from tests.kubernetes.pods import pod
from tests.kubernetes.reviews import patch_of, review

_BODY = json.dumps(review(pod())).encode()


class _Exchange:
    """A client's request, piece by piece, and the answer to it."""

    def __init__(self, messages: Iterable[dict[str, object]], **scope: object) -> None:
        self._messages = iter(messages)
        self._scope = {
            "type": "http",
            "scheme": "https",
            "method": "POST",
            "path": "/mutate",
            "headers": [(b"content-type", b"application/json")],
            **scope,
        }
        #: pieces taken
        self.received = 0
        #: what was sent, and how many pieces had been taken by then
        self.sent: list[tuple[int, dict[str, object]]] = []

    async def run(self, metrics: Metrics) -> tuple[int, bytes]:
        """Return status and body."""
        application = Application(Settings(), metrics, clock=lambda: 0.0, unready=str)
        await call_in_time(application, cast("HTTPScope", self._scope), self._receive, self._send)
        (_, start), *rest = self.sent
        assert isinstance(start["status"], int)
        assert [True] * (len(rest) - 1) + [False] == [message["more_body"] for _, message in rest]
        return start["status"], b"".join(cast("bytes", message["body"]) for _, message in rest)

    async def _receive(self) -> ASGIReceiveEvent:
        message = next(self._messages, None)
        if message is None:
            await trio.sleep_forever()
        self.received += 1
        return cast("ASGIReceiveEvent", message)

    async def _send(self, event: ASGISendEvent) -> None:
        self.sent.append((self.received, cast("dict[str, object]", event)))


async def _post(metrics: Metrics, *messages: dict[str, object]) -> tuple[int, bytes]:
    """Send a review in pieces; return status and body."""
    return await _Exchange(messages).run(metrics)


def _message(body: bytes, *, more: bool = False) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_who_sends_the_most_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of requests that are read at the same time the largest is dropped, whoever came first."""
    monkeypatch.setattr(app, "_MOST_HELD_BYTES", 3 * 1024**2)
    application = Application(Settings(), Metrics(), clock=lambda: 0.0, unready=str)
    answers: dict[str, int] = {}
    go_on = trio.Event()

    async def request(name: str, size: int) -> None:
        sent: list[dict[str, object]] = []
        pieces = iter([{"body": b" " * size, "more_body": True}, {"body": _BODY, "more_body": False}])

        async def receive() -> ASGIReceiveEvent:
            piece = next(pieces)
            if not piece["more_body"]:
                await go_on.wait()
            return cast("ASGIReceiveEvent", {"type": "http.request", **piece})

        async def send(message: ASGISendEvent) -> None:
            sent.append(cast("dict[str, object]", message))

        scope = {
            "type": "http",
            "scheme": "https",
            "method": "POST",
            "path": "/mutate",
            "headers": [(b"content-type", b"application/json")],
        }
        await application(cast("HTTPScope", scope), receive, send)
        answers[name] = cast("int", sent[0]["status"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(request, "large", 2 * 1024**2)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(10):
            nursery.start_soon(request, f"small {number}", 150_000)
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
    assert answers.pop("large") == 503
    assert set(answers.values()) == {200}


async def test_error_of_ours(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong with us, the pod is allowed as it is; the log says where, and quotes nothing."""

    def fail(_review: Review, _settings: Settings) -> Decision:
        raise KeyError("correct horse battery staple")

    monkeypatch.setattr(app, "judge", fail)
    metrics = Metrics()
    with caplog.at_level(logging.INFO):
        status, body = await _post(metrics, _message(_BODY))
    assert (200, []) == (status, patch_of(body))
    response = json.loads(body)["response"]
    assert ["pylxcfs: internal error; the pod is left as it is"] == response["warnings"]
    assert b'pylxcfs_webhook_reviews_total{reason="internal-error"} 1.0' in metrics.exposition()
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert {"error": "KeyError", "level": "error"}.items() <= lines[0].items()
    assert "fail" in lines[0]["at"]
    assert "horse" not in json.dumps(lines)


async def test_client_that_stops_sending(autojump_clock: MockClock) -> None:
    """It is not waited for without end: a connection costs memory, and delays the program's end."""
    exchange = _Exchange([_message(_BODY[:9], more=True)])
    status, _ = await exchange.run(Metrics())
    assert (400, 10) == (status, autojump_clock.current_time())


async def test_rest_that_never_comes(autojump_clock: MockClock) -> None:
    """The answer is given; the rest of a body far too large is not waited for without end."""
    exchange = _Exchange([_message(bytes(1024**2), more=True)] * 70)
    status, _ = await exchange.run(Metrics())
    assert (413, 10) == (status, autojump_clock.current_time())


async def test_pieces() -> None:
    """A body arrives in as many pieces as it likes."""
    pieces = [_message(_BODY[start : start + 100], more=True) for start in range(0, len(_BODY), 100)]
    status, body = await _post(Metrics(), *pieces, _message(b""))
    assert (200, True) == (status, bool(patch_of(body)))


async def test_connection_is_closed() -> None:
    """A client that goes away in the midst of its review is no error."""
    status, _ = await _post(Metrics(), _message(_BODY[:9], more=True), {"type": "http.disconnect"})
    assert 400 == status


@pytest.mark.parametrize(
    "status, scope",
    [
        (404, {"path": "/"}),
        (404, {"scheme": "http"}),
        (405, {"method": "PUT"}),
        (405, {"scheme": "http", "path": "/healthz"}),
        (200, {"scheme": "http", "path": "/healthz", "method": "GET"}),
        (415, {"headers": []}),
        (413, {}),
    ],
)
async def test_answer_waits_for_the_body(status: int, scope: dict[str, object]) -> None:
    """Whatever the answer, the client has sent everything before: one that still sends would lose it."""
    pieces = [_message(b" " * 1024**2, more=True)] * 9
    exchange = _Exchange([*pieces, _message(b"")], **scope)
    assert status == (await exchange.run(Metrics()))[0]
    assert [10, 10] == [received for received, _ in exchange.sent]


async def test_endless_body() -> None:
    """A body far too large is refused before its end, which is waited for all the same; it is not kept."""

    def endless() -> Iterator[dict[str, object]]:
        for _ in range(1000):
            yield _message(bytes(1024**2), more=True)
        yield {"type": "http.disconnect"}

    exchange = _Exchange(endless())
    tracemalloc.start()
    assert 413 == (await exchange.run(Metrics()))[0]
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [65, 65, 1001] == [received for received, _ in exchange.sent]
    assert 12 * 1024**2 > most_bytes
