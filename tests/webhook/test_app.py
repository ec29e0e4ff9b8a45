"""The application by itself: errors of ours, and connections that end."""

import json
import logging
from typing import cast

import pytest
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, HTTPScope

from pylxcfs.webhook import app
from pylxcfs.webhook.app import Application
from pylxcfs.webhook.logs import JsonFormatter
from pylxcfs.webhook.metrics import Metrics
from pylxcfs.webhook.patch import Decision
from pylxcfs.webhook.review import Review
from pylxcfs.webhook.settings import Settings
from tests.webhook.pods import pod
from tests.webhook.reviews import patch_of, review

_BODY = json.dumps(review(pod())).encode()


async def _post(metrics: Metrics, *messages: dict[str, object]) -> tuple[int, bytes]:
    """Send a review in pieces; return status and body."""
    application = Application(Settings(), metrics, clock=lambda: 0.0, unready=str)
    scope = {
        "type": "http",
        "scheme": "https",
        "method": "POST",
        "path": "/mutate",
        "headers": [(b"content-type", b"application/json")],
    }
    waiting, sent = list(messages), []

    async def receive() -> ASGIReceiveEvent:
        return cast("ASGIReceiveEvent", waiting.pop(0))

    async def send(event: ASGISendEvent) -> None:
        sent.append(cast("dict[str, object]", event))

    await application(cast("HTTPScope", scope), receive, send)
    start, body = sent
    assert isinstance(start["status"], int)
    assert isinstance(body["body"], bytes)
    return start["status"], body["body"]


def _message(body: bytes, *, more: bool = False) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


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


async def test_pieces() -> None:
    """A body arrives in as many pieces as it likes."""
    pieces = [_message(_BODY[start : start + 100], more=True) for start in range(0, len(_BODY), 100)]
    status, body = await _post(Metrics(), *pieces, _message(b""))
    assert (200, True) == (status, bool(patch_of(body)))


async def test_connection_is_closed() -> None:
    """A client that goes away in the midst of its review is no error."""
    status, _ = await _post(Metrics(), _message(_BODY[:9], more=True), {"type": "http.disconnect"})
    assert 400 == status


async def test_endless_body() -> None:
    """What does not end is not read to the end."""
    endless = [_message(b" " * 1024**2, more=True)] * 1000
    status, _ = await _post(Metrics(), *endless)
    assert 413 == status
