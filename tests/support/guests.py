"""pytest plugin: guests that tests need are booted in the background, one after the other, while others run.

A test names its guest with ``pytest.mark.guest(GUEST)`` and gets what it printed from the fixture ``guests``.
"""

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.support.guest import Guest, guest_command, guest_environment

_NAME: Final = "guests"
_MARKER: Final = "guest"


class Guests:
    """Boots each guest once; they share one thread, and so run one at a time."""

    def __init__(self) -> None:
        """Have no guest yet."""
        self._executor = ThreadPoolExecutor(max_workers=1)
        self._runs: dict[Guest, Future[str]] = {}
        self._state: Path | None = None
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        #: How long each took.
        self._seconds: dict[Guest, float] = {}

    def start(self, guests: Iterable[Guest]) -> None:
        """Have guests booted in this order, those that are not yet."""
        for guest in guests:
            if guest not in self._runs:
                self._runs[guest] = self._executor.submit(self._run, guest)

    def output(self, guest: Guest) -> str:
        """Return what a guest's program printed, once it has ended; fail with its errors if it failed."""
        self.start([guest])
        return self._runs[guest].result()

    def stop(self) -> None:
        """End what nobody will ask for any more."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.terminate()
        self._executor.shutdown(cancel_futures=True)
        if self._state is not None:
            # Whatever has become of it, the tests' report comes after this.
            shutil.rmtree(self._state, ignore_errors=True)

    def _run(self, guest: Guest) -> str:
        started = time.monotonic()
        process = self._boot(guest)
        output, errors = process.communicate()
        self._seconds[guest] = time.monotonic() - started
        assert 0 == process.returncode, errors
        return output

    def _boot(self, guest: Guest) -> "subprocess.Popen[str]":
        with self._lock:
            assert not self._stopped
            self._state = self._state or Path(tempfile.mkdtemp(prefix="pylxcfs-guests-"))
            self._process = subprocess.Popen(
                guest_command(guest),
                env=guest_environment(self._state),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            return self._process

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Boot what the chosen tests need, in the order in which they will ask."""
        if not session.config.option.collectonly:
            self.start(
                marker.args[0] for item in session.items for marker in [*item.iter_markers(_MARKER)][::-1]
            )

    def pytest_sessionfinish(self) -> None:
        """Leave no guest behind."""
        self.stop()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print how long guests took: the parts' times have only the waiting for them."""
        if self._seconds:
            terminalreporter.section("guests, meanwhile")
            for guest, seconds in self._seconds.items():
                terminalreporter.line(f"{guest.name[:38]:<38}{seconds:>10.1f}")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and what boots."""
    config.addinivalue_line("markers", f"{_MARKER}(guest): what is booted for a test")
    config.pluginmanager.register(Guests(), _NAME)


@pytest.fixture(scope="session")
def guests(request: pytest.FixtureRequest) -> Guests:
    """Return the guests that were booted for tests."""
    found = request.config.pluginmanager.get_plugin(_NAME)
    assert isinstance(found, Guests)
    return found
