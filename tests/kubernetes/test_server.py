"""The running program: two ports, whatever is sent to it, and its end."""

import json
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
from h2.connection import H2Connection

from tests.kubernetes.certificate_files import SecretVolume
from tests.kubernetes.pods import pod
from tests.kubernetes.program import SERVER_NAME, Program, client, running, trusting
from tests.kubernetes.reviews import patch_of, review
from tests.kubernetes.waiting import until

_BODY = json.dumps(review(pod())).encode()
_JSON = {"content-type": "application/json"}
_SNI = {"sni_hostname": SERVER_NAME}


def _trust(authority: trustme.CA) -> ssl.SSLContext:
    return trusting(authority.cert_pem.bytes())


@asynccontextmanager
async def _served(directory: Path, volume: SecretVolume, *options: str) -> AsyncIterator[Program]:
    files = ("--tls-cert", volume.certificate, "--tls-key", volume.key)
    async with running(directory, *files, *options) as program:
        await program.until_ready()
        yield program


async def _post(http: httpx.AsyncClient, program: Program, **fields: Any) -> httpx.Response:  # noqa: ANN401
    arguments: dict[str, Any] = {"headers": _JSON, "content": _BODY, **fields}
    return await http.post(program.reviews, extensions=_SNI, **arguments)


@pytest.mark.parametrize("http2", [True, False])
async def test_review(tmp_path: Path, volume: SecretVolume, authority: trustme.CA, *, http2: bool) -> None:
    """A review is answered over TLS, with HTTP/2 as API servers speak it, and with HTTP/1.1."""
    async with _served(tmp_path, volume) as program, client(_trust(authority), http2=http2) as http:
        response = await _post(http, program, params={"timeout": "2s"})
        assert (200, "HTTP/2" if http2 else "HTTP/1.1") == (response.status_code, response.http_version)
        assert "application/json" == response.headers["content-type"]
        assert [] != patch_of(response.content)


async def test_bad_input(tmp_path: Path, volume: SecretVolume, authority: trustme.CA) -> None:
    """Whatever is sent, the answer is a 4xx of the right kind; nothing disturbs the reviews after it."""
    url_of = {"/": 404, "/mutate/": 404, "/healthz": 404, "/metrics": 404}
    bad: list[tuple[dict[str, Any], int]] = [
        ({"headers": {}}, 415),
        ({"headers": {"content-type": "text/plain"}}, 415),
        ({"headers": {"content-type": "application/jsonx"}}, 415),
        ({"content": b""}, 400),
        ({"content": b"{"}, 400),
        ({"content": b"null"}, 400),
        ({"content": b"[" * 200_000}, 400),
        ({"content": b"\0" * 100}, 400),
        ({"content": b" " * (4 * 1024**2 + 1)}, 413),
        ({"content": b"[" + b"[]," * 1_000_000 + b"[]]"}, 400),
        ({"content": json.dumps({"kind": "Pod"}).encode()}, 400),
    ]
    allowed = [
        {**_JSON, "content-type": "application/json; charset=utf-8"},
        {"content-type": "Application/JSON"},
    ]
    async with _served(tmp_path, volume) as program:
        for http2 in (True, False):
            async with client(_trust(authority), http2=http2) as http:
                for fields, status in bad:
                    assert status == (await _post(http, program, **fields)).status_code, fields[
                        "headers" if "headers" in fields else "content"
                    ][:20]
                for path, status in url_of.items():
                    url = program.reviews.replace("/mutate", path)
                    assert (
                        status
                        == (await http.post(url, content=_BODY, headers=_JSON, extensions=_SNI)).status_code
                    )
                for method in ("GET", "PUT", "DELETE", "HEAD"):
                    assert 405 == (await http.request(method, program.reviews, extensions=_SNI)).status_code
                for document in ({**review(None)}, review(7), review({"kind": "Pod", "spec": 7})):
                    response = await _post(http, program, content=json.dumps(document).encode())
                    assert (200, []) == (response.status_code, patch_of(response.content))
                for headers in allowed:
                    assert [] != patch_of((await _post(http, program, headers=headers)).content)
        assert 0.0 == await program.metric('pylxcfs_webhook_reviews_total{reason="internal-error"}')
        assert 14.0 == await program.metric('pylxcfs_webhook_refused_requests_total{status="400"}')


def _nested(pairs: bytes) -> bytes:
    """Make the largest body that a client may send, of as many of these as have room."""
    return b"[" + pairs * ((4 * 1024**2 - 10) // len(pairs)) + pairs.rstrip(b",") + b"]"


#: What makes the most of few bytes: lists, objects, keys, deep nesting, wide characters, escapes.
_HOSTILE = (
    _nested(b"[],"),
    _nested(b'{"":{}},'),
    _nested(b'{"a":1},'),
    b"[" * (4 * 1024**2),
    b'["' + "\U0001f600".encode() + b"x" * (4 * 1024**2 - 20) + b'"]',
    b'["' + b"\\u0041" * 690_000 + b'"]',
)


# What httpx leaves where a connection ends in the midst of a request.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_memory_and_time_are_bounded(
    tmp_path: Path, volume: SecretVolume, authority: trustme.CA
) -> None:
    """Whatever many clients send at once, the process stays within its pod's memory, and answers others."""

    async def send(program: Program, content: bytes) -> None:
        # Who has not sent all of it after some seconds is cut off.
        with suppress(httpx.TransportError):
            async with client(_trust(authority), http2=False) as http:
                assert (await _post(http, program, content=content)).status_code in {400, 503}

    async with _served(tmp_path, volume) as program, client(_trust(authority)) as http:
        async with trio.open_nursery() as nursery:
            for content in _HOSTILE * 2:
                nursery.start_soon(send, program, content)
            assert [] != patch_of((await _post(http, program)).content)
        assert [] != patch_of((await _post(http, program)).content)
        # deploy/kubernetes/webhook/deployment.yaml
        assert program.peak_bytes < 256 << 20
        print(f"\npeak {program.peak_bytes >> 20} MiB")  # noqa: T201 - worth a look


async def test_connections_are_bounded(tmp_path: Path, volume: SecretVolume, authority: trustme.CA) -> None:
    """One peer with a hundred connections has some of them closed, and is served on the others."""
    async with _served(tmp_path, volume) as program, client(_trust(authority)) as http:
        assert [] != patch_of((await _post(http, program)).content)
        streams = [await trio.open_tcp_stream("127.0.0.1", program.port) for _ in range(100)]
        ended = 0
        for stream in reversed(streams):
            with trio.move_on_after(0.05 if ended else 60):
                with suppress(OSError, trio.BrokenResourceError):
                    assert await stream.receive_some(1) == b""
                ended += 1
        assert ended == 100 + 1 - 64
        assert [] != patch_of((await _post(http, program)).content)
        for stream in streams:
            await trio.aclose_forcefully(stream)


async def test_body_without_length(tmp_path: Path, volume: SecretVolume, authority: trustme.CA) -> None:
    """A body whose length nobody announced is read up to the limit."""

    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 1024**2
        yield _BODY

    async with _served(tmp_path, volume) as program, client(_trust(authority)) as http:
        assert [] != patch_of((await _post(http, program, content=pieces(2))).content)
        assert 413 == (await _post(http, program, content=pieces(9))).status_code


@pytest.mark.parametrize("http2", [True, False])
@pytest.mark.parametrize(
    "refusal",
    [(415, 16, "text/plain"), (413, 16, "application/json"), (413, 80, "application/json")],
)
async def test_refused_client_still_sends(
    tmp_path: Path,
    volume: SecretVolume,
    authority: trustme.CA,
    refusal: tuple[int, int, str],
    *,
    http2: bool,
) -> None:
    """More than any buffer holds is sent; the client has its answer, and its connection for what follows."""
    status, mebibytes, content_type = refusal

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(mebibytes):
            yield bytes(1024**2)

    async with _served(tmp_path, volume) as program, client(_trust(authority), http2=http2) as http:
        refused = await _post(http, program, headers={"content-type": content_type}, content=pieces())
        reviewed = await _post(http, program)
        assert (status, 200) == (refused.status_code, reviewed.status_code)
        ports = [
            response.extensions["network_stream"].get_extra_info("client_addr")[1]
            for response in (refused, reviewed)
        ]
        assert ports[0] == ports[1]


async def test_garbage_on_the_wire(tmp_path: Path, volume: SecretVolume, authority: trustme.CA) -> None:
    """Broken TLS, broken HTTP, and clients that go away do no harm to others."""
    trust = _trust(authority)
    http2 = trusting(authority.cert_pem.bytes())
    http2.set_alpn_protocols(["h2"])

    def send(data: bytes, context: ssl.SSLContext | None) -> None:
        connection = socket.create_connection(("127.0.0.1", program.port))
        with (
            connection,
            context.wrap_socket(connection, server_hostname=SERVER_NAME) if context else connection as s,
            # The server may have seen enough, and have closed it.
            suppress(OSError),
        ):
            s.sendall(data)
            s.shutdown(socket.SHUT_WR) if context is None else None

    head = (
        b"POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n"
    )
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    async with _served(tmp_path, volume) as program:
        for data in (b"", b"\0" * 99, b"\x16\x03\x01" + b"A" * 500, b"GET / HTTP/1.1\r\n\r\n"):
            send(data, None)
        for data in (b"\0" * 99, b"x" * 99_999, head + b"{", b"POST /mutate HTTP/9.9\r\n\r\n", b"\r\n\r\n"):
            send(data, trust)
        for data in (
            b"\0" * 99,
            preface,
            preface + b"\xff" * 999,
            preface + b"\0\0\x04\x01\x05\0\0\0\x01\xff\xff\xff\xff",
        ):
            send(data, http2)
        async with client(trust) as http:
            assert [] != patch_of((await _post(http, program)).content)


async def test_error_in_a_connection(tmp_path: Path, volume: SecretVolume, authority: trustme.CA) -> None:
    """What goes wrong within one connection ends that one, is logged, and disturbs no other."""
    trust = _trust(authority)
    trust.set_alpn_protocols(["h2"])
    # hypercorn 0.18 takes a path for ASCII.
    request = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", b"/\xff")]
    h2 = H2Connection()
    h2.initiate_connection()
    h2.send_headers(1, request, end_stream=True)
    async with _served(tmp_path, volume) as program, client(_trust(authority)) as other:
        assert 200 == (await _post(other, program)).status_code
        connection = await trio.open_tcp_stream("127.0.0.1", program.port)
        async with trio.SSLStream(connection, trust, server_hostname=SERVER_NAME) as stream:
            await stream.send_all(h2.data_to_send())
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
        await until(
            "the line", lambda: bool(program.messages("connection")) or program.process.poll() is not None
        )
        assert ["UnicodeDecodeError"] == [line["error"] for line in program.messages("connection")]
        assert 200 == (await _post(other, program)).status_code


async def test_health_and_metrics(tmp_path: Path, volume: SecretVolume, authority: trustme.CA) -> None:
    """Probes and Prometheus find their pages on the other port, and no reviews are taken there."""
    async with _served(tmp_path, volume) as program, client(_trust(authority)) as http:
        await _post(http, program)
        await _post(http, program, content=json.dumps(review(pod(hostPID=True))).encode())
        assert [200, 200] == [(await program.health(path)).status_code for path in ("/healthz", "/readyz")]
        assert 404 == (await program.health("/mutate")).status_code
        page = await program.health("/metrics")
        assert page.headers["content-type"].startswith("text/plain; version=")
        assert 1.0 == await program.metric('pylxcfs_webhook_reviews_total{reason="injected"}')
        assert 1.0 == await program.metric('pylxcfs_webhook_reviews_total{reason="host-pid"}')
        assert 2.0 == await program.metric("pylxcfs_webhook_review_seconds_count")
        assert 1.0 == await program.metric("pylxcfs_webhook_certificate_loads_total")
        assert 0.0 < await program.metric("pylxcfs_webhook_certificate_expiry_timestamp_seconds")


async def test_not_ready_without_certificate(tmp_path: Path) -> None:
    """Until there is a certificate the program lives but is not ready; it takes the first that appears."""
    volume, authority = SecretVolume(tmp_path / "tls"), trustme.CA()
    files = ("--tls-cert", volume.certificate, "--tls-key", volume.key, "--check-seconds", "0.05")
    async with running(tmp_path, *files) as program:
        await until("the complaint", lambda: bool(program.messages("certificate")))
        assert (200, 503) == tuple([(await program.health(p)).status_code for p in ("/healthz", "/readyz")])
        volume.issue(authority)
        await program.until_ready()
        assert 200 == (await program.health("/readyz")).status_code
        async with client(_trust(authority)) as http:
            assert [] != patch_of((await _post(http, program)).content)


async def test_log_has_no_pod_contents(tmp_path: Path, volume: SecretVolume, authority: trustme.CA) -> None:
    """One JSON line tells of a review; of the pod it has name, namespace and what was decided."""
    async with _served(tmp_path, volume) as program, client(_trust(authority)) as http:
        await _post(http, program)
        await until("the line", lambda: bool(program.messages("review")))
        (line,) = program.messages("review")
        assert ("shop", "web-5d4f8c7b9-", "injected") == (line["namespace"], line["pod"], line["reason"])
        assert "correct horse" not in json.dumps(program.lines)


async def test_drain(tmp_path: Path, volume: SecretVolume, authority: trustme.CA) -> None:
    """Asked to end, it is not ready any more, but answers what is under way and what is still sent to it."""
    started, finish = trio.Event(), trio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield _BODY[:100]
        started.set()
        await finish.wait()
        yield _BODY[100:]

    answers: list[httpx.Response] = []

    async with (
        _served(tmp_path, volume, "--drain-seconds", "3600") as program,
        client(_trust(authority)) as http,
        client(_trust(authority)) as other,
        trio.open_nursery() as nursery,
    ):

        async def review_slowly() -> None:
            answers.append(await _post(http, program, content=slowly()))

        nursery.start_soon(review_slowly)
        await started.wait()
        program.process.send_signal(signal.SIGTERM)
        await until("draining", lambda: bool(program.messages("draining")))
        assert (200, 503) == tuple([(await program.health(p)).status_code for p in ("/healthz", "/readyz")])
        assert [] != patch_of((await _post(other, program)).content)
        finish.set()
    assert [] != patch_of(answers[0].content)


async def test_address_in_use(tmp_path: Path, volume: SecretVolume) -> None:
    """An address that cannot be bound is one line and exit status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AssertionError, match=r"pylxcfs-webhook: .*[Aa]ddress already in use"):
            async with running(
                tmp_path, "--tls-cert", volume.certificate, "--tls-key", volume.key, "--health-bind", address
            ):
                pass
