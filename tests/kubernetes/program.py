"""The webhook as a process: started, known to serve, ended."""

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from tests.kubernetes.waiting import until
from tests.support.daemon import REPOSITORY

#: What the API server asks for, and the certificate must have.
SERVER_NAME: Final = "pylxcfs-webhook.pylxcfs-webhook.svc"

#: Nothing is judged by time on a machine that others use too.
NEVER: Final = httpx.Timeout(120.0)


def command(*options: str | Path) -> list[str]:
    """Spell a command line, to be run in the repository; ports are the system's choice."""
    program = [sys.executable, "-m", "pylxcfs.webhook.cli"]
    return [*program, "--bind", "127.0.0.1:0", "--health-bind", "127.0.0.1:0", *map(str, options)]


class Program:
    """A running webhook."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """Describe a webhook that was just started."""
        self.process = process
        self._log = log

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far, in whole lines."""
        return [
            json.loads(line)
            for line in self._log.read_text().splitlines(keepends=True)
            if line[0] == "{" and line[-1] == "\n"
        ]

    def messages(self, message: str) -> list[dict[str, Any]]:
        """Return those lines."""
        return [line for line in self.lines if line["message"] == message]

    def _address(self, scheme: str) -> str:
        binds: list[str] = self.messages("serving")[0]["on"]
        return next(bind for bind in binds if bind.startswith(f"{scheme}://"))

    @property
    def reviews(self) -> str:
        """The URL for reviews."""
        return f"{self._address('https')}/mutate"

    @property
    def port(self) -> int:
        """The port for reviews."""
        return int(self._address("https").rpartition(":")[2])

    async def health(self, path: str) -> httpx.Response:
        """Ask the other port."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"{self._address('http')}{path}", timeout=NEVER)

    async def metric(self, sample: str) -> float:
        """Return a sample's value; 0 if there is none."""
        text = (await self.health("/metrics")).text
        values = [line.rpartition(" ")[2] for line in text.splitlines() if line.rpartition(" ")[0] == sample]
        return float(values[0]) if values else 0.0

    @property
    def peak_bytes(self) -> int:
        """The most memory that it has had (VmHWM of proc_pid_status(5))."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:"))

    async def until_ready(self) -> None:
        """Wait for a certificate."""
        await until("the certificate", lambda: bool(self.messages("certificate taken into use")))

    async def end(self) -> int:
        """Ask it to end at once; return its exit status."""
        if not self.messages("draining"):
            self.process.send_signal(signal.SIGTERM)
            await until("draining", lambda: bool(self.messages("draining")))
        # In a hurry.
        self.process.send_signal(signal.SIGTERM)
        await until("the end", lambda: self.process.poll() is not None)
        return self.process.returncode


@asynccontextmanager
async def running(
    directory: Path, *options: str | Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Run the webhook, and make sure that it ends well."""
    log = directory / "webhook.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time
            command(*options), cwd=REPOSITORY, stderr=stderr, env={**os.environ, **(environment or {})}
        )
    program = Program(process, log)
    try:
        await until("serving", lambda: process.poll() is not None or bool(program.messages("serving")))
        assert process.poll() is None, log.read_text()
        yield program
        assert process.poll() is None, log.read_text()
        assert await program.end() == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def client(trust: ssl.SSLContext, *, http2: bool = True) -> httpx.AsyncClient:
    """Make a client that keeps its connections, as API servers do."""
    return httpx.AsyncClient(verify=trust, http2=http2, trust_env=False, timeout=NEVER)


def trusting(*authorities: bytes) -> ssl.SSLContext:
    """Make a client's context that trusts these authorities (PEM) only."""
    return ssl.create_default_context(cadata=b"".join(authorities).decode())
