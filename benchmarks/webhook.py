"""Time admission reviews: a webhook in a process of its own, over TLS, asked at a steady rate.

``python -m benchmarks.webhook``, without root or cluster; ``benchmarks/README.md`` explains the table.
"""

import argparse
import json
import math
import select
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import psutil
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded

from pylxcfs.webhook.certificates import Authorities, renewed

HOST: Final = "localhost"
START_SECONDS: Final = 30.0
HTTP1_CONNECTIONS: Final = 8
RECEIVE_BYTES: Final = 2**18


class BenchmarkError(Exception):
    """The benchmark cannot be run; one line for the user."""


def review() -> bytes:
    """Make a review of an ordinary pod: an init container, three containers, a token."""
    mounts = [
        {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    ]

    def container(name: str) -> dict[str, object]:
        environment = [{"name": f"VARIABLE_{number}", "value": "x" * 40} for number in range(20)]
        return {"name": name, "image": f"example.org/{name}:1", "env": environment, "volumeMounts": mounts}

    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-5d4f8c7b9-", "labels": {"app": "web"}, "annotations": {"a": "b"}},
        "spec": {
            "initContainers": [container("init")],
            "containers": [container(name) for name in ("app", "log", "proxy")],
            "volumes": [{"name": "token", "emptyDir": {}}],
        },
    }
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "shop",
        "operation": "CREATE",
        "object": pod,
    }
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(document).encode()


class Connection(Protocol):
    """A connection to the webhook."""

    socket: ssl.SSLSocket

    def takes(self, size: int) -> bool:
        """Tell whether another review of `size` bytes can be sent now."""

    def send(self, number: int, body: bytes) -> None:
        """Send a review."""

    def receive(self) -> list[int]:
        """Take what has arrived; return the numbers of the reviews that are answered."""


class Http1:
    """HTTP/1.1: one review at a time."""

    def __init__(self, socket: ssl.SSLSocket) -> None:
        """Take a connected socket."""
        self.socket = socket
        self._number: int | None = None
        self._received = b""

    def takes(self, size: int) -> bool:
        """Tell whether nothing is under way."""
        del size
        return self._number is None

    def send(self, number: int, body: bytes) -> None:
        """Send a review."""
        head = f"POST /mutate HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
        self._number = number
        self.socket.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def receive(self) -> list[int]:
        """Take what has arrived."""
        self._received += self.socket.recv(RECEIVE_BYTES)
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return []
        if not head.startswith(b"HTTP/1.1 200"):
            raise BenchmarkError(f"answered {head[:20]!r}")
        (length,) = (line[15:] for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) < int(length):
            return []
        done, self._number, self._received = self._number, None, b""
        return [] if done is None else [done]


class Http2:
    """HTTP/2 as API servers speak it: one connection, many reviews under way."""

    def __init__(self, socket: ssl.SSLSocket) -> None:
        """Take a connected socket and shake hands."""
        self.socket = socket
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(2**30)
        self._numbers: dict[int, int] = {}
        socket.sendall(self._h2.data_to_send())

    def takes(self, size: int) -> bool:
        """Tell whether the server takes another stream, and so much on its connection."""
        return (
            len(self._numbers) < 50 and self._h2.outbound_flow_control_window >= size
        )  # hypercorn takes 100

    def send(self, number: int, body: bytes) -> None:
        """Send a review."""
        stream = self._h2.get_next_available_stream_id()
        self._numbers[stream] = number
        headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/mutate"),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
        ]
        self._h2.send_headers(stream, headers)
        size = self._h2.max_outbound_frame_size
        for start in range(0, len(body), size):
            self._h2.send_data(stream, body[start : start + size], end_stream=start + size >= len(body))
        self.socket.sendall(self._h2.data_to_send())

    def receive(self) -> list[int]:
        """Take what has arrived."""
        done = []
        for event in self._h2.receive_data(self.socket.recv(RECEIVE_BYTES)):
            if isinstance(event, ResponseReceived) and (b":status", b"200") not in (event.headers or []):
                raise BenchmarkError("answered with an error")
            if isinstance(event, DataReceived) and event.stream_id is not None:
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            if isinstance(event, StreamEnded) and event.stream_id is not None:
                done.append(self._numbers.pop(event.stream_id))
        self.socket.sendall(self._h2.data_to_send())
        return done


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured in one run."""

    protocol: str
    connections: int
    reviews_per_second: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    server_cpu_ms_per_review: float


def measure(connections: list[Connection], body: bytes, rate: float, seconds: float) -> list[float]:
    """Ask `rate` times a second; return what each answer took, in ms since the review was due."""
    total = int(rate * seconds)
    start = time.perf_counter() + 0.1
    took: list[float] = []
    sent = 0
    while len(took) < total:
        now = time.perf_counter()
        while sent < total and start + sent / rate <= now:
            free = next((connection for connection in connections if connection.takes(len(body))), None)
            if free is None:
                break
            free.send(sent, body)
            sent += 1
        pause = max(0.0, start + sent / rate - time.perf_counter()) if sent < total else 1.0
        pending = [connection for connection in connections if connection.socket.pending()]
        readable, _, _ = select.select([c.socket for c in connections], [], [], 0.0 if pending else pause)
        for connection in connections:
            if connection in pending or connection.socket in readable:
                answered = connection.receive()
                arrived = time.perf_counter()
                took += [(arrived - start - number / rate) * 1000 for number in answered]
    return took


def percentile(values: list[float], share: float) -> float:
    """Return the smallest value that `share` of the values do not exceed."""
    return sorted(values)[math.ceil(len(values) * share) - 1]


@contextmanager
def webhook(directory: Path, made: Authorities) -> Iterator[tuple[psutil.Popen, int]]:
    """Run the webhook on a port of the system's choice; yield its process and the port."""
    if made.leaf is None:
        raise BenchmarkError("no certificate")
    (directory / "tls.crt").write_bytes(made.leaf.certificate_pem)
    (directory / "tls.key").write_bytes(made.leaf.key_pem)
    log = directory / "log"
    command = [sys.executable, "-m", "pylxcfs.webhook.cli", "--bind", "127.0.0.1:0"]
    command += ["--health-bind", "127.0.0.1:0", "--drain-seconds", "0"]
    command += ["--tls-cert", str(directory / "tls.crt"), "--tls-key", str(directory / "tls.key")]
    with log.open("wb") as stderr:
        process = psutil.Popen(command, stderr=stderr)
    try:
        give_up = time.monotonic() + START_SECONDS
        while '"serving"' not in log.read_text() or '"certificate taken' not in log.read_text():
            if process.poll() is not None or time.monotonic() > give_up:
                raise BenchmarkError(f"the webhook does not start: {log.read_text().strip()}")
            time.sleep(0.02)
        lines = (json.loads(line) for line in log.read_text().splitlines() if '"serving"' in line)
        yield process, int(next(lines)["on"][0].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()


def run(arguments: argparse.Namespace) -> list[Result]:
    """Measure HTTP/2 and HTTP/1.1."""
    body = review()
    made = renewed(Authorities(), b"", (HOST,), datetime.now(UTC))
    results = []
    with tempfile.TemporaryDirectory() as name, webhook(Path(name), made) as (process, port):
        for protocol, kind, count in (("h2", Http2, 1), ("http/1.1", Http1, HTTP1_CONNECTIONS)):
            context = ssl.create_default_context(cadata=made.bundle.decode())
            context.set_alpn_protocols([protocol])
            connections: list[Connection] = []
            for _ in range(count):
                plain = socket.create_connection(("127.0.0.1", port))
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections.append(kind(context.wrap_socket(plain, server_hostname=HOST)))
            measure(connections, body, arguments.rate, 1.0)
            before, clock = sum(process.cpu_times()[:2]), time.perf_counter()
            took = measure(connections, body, arguments.rate, arguments.seconds)
            elapsed = time.perf_counter() - clock
            used = sum(process.cpu_times()[:2]) - before
            for connection in connections:
                connection.socket.close()
            results.append(
                Result(
                    protocol,
                    count,
                    len(took) / elapsed,
                    statistics.median(took),
                    percentile(took, 0.99),
                    max(took),
                    used / len(took) * 1000,
                )
            )
    return results


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=200.0, help="reviews per second (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="for each protocol (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="everything measured, for a machine")
    try:
        arguments = parser.parse_args()
        results = run(arguments)
    except (BenchmarkError, OSError) as error:
        print(f"webhook: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps([{name: getattr(r, name) for name in Result.__slots__} for r in results]))
        return 0
    print("protocol  connections  reviews/s   p50 ms   p99 ms  slowest   CPU ms")
    for r in results:
        times = (r.p50_ms, r.p99_ms, r.slowest_ms, r.server_cpu_ms_per_review)
        row = f"{r.protocol:<8}{r.connections:>13}{r.reviews_per_second:>11.1f}"
        print(row + "".join(f"{value:>9.2f}" for value in times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
