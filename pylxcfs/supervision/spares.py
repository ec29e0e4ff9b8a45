"""Servers in reserve: a template of known-good code, and one server that it has forked in advance.

Code is loaded from the disk only when the operator asks for it (SIGUSR1), or when a template has been lost.
It replaces what is there only once a server of it has proved that it starts (docs/adr/0026-warm-spare.md).
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pylxcfs.rundir.supervisor_state import Reload
from pylxcfs.supervision.children import ServerProcess, wait_for_end
from pylxcfs.supervision.crash_loop import Retry
from pylxcfs.supervision.protocol import READY
from pylxcfs.supervision.template_client import Template

_log = logging.getLogger(__name__)
#: How long code may take until a server of it is ready, and a template that has it to fork one.
_START_SECONDS: Final = 60.0
_FORK_SECONDS: Final = 10.0
_REAP_SECONDS: Final = 0.2


class Line:
    """Code as it was installed at one moment: the template that has it, and a server forked from that."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Start a template; raises OSError."""
        self.template: Template | None = Template(arguments)
        self.started_at = self.template.started_at
        self.spare: ServerProcess | None = None
        #: Why the latest server could not be forked or has ended before it was told to serve; "" if neither.
        self.problem = ""
        self._retry = Retry()

    @property
    def is_ready(self) -> bool:
        """Whether a server waits for its word."""
        return self.spare is not None and self.spare.ready and not self.spare.hung_up

    def next_try_at(self, *, is_urgent: bool) -> float:
        """Return when the next server is forked, should none be there (monotonic clock)."""
        return self._retry.due(is_urgent=is_urgent)

    def sources(self) -> Iterator[tuple[int, Callable[[], None]]]:
        """Yield the descriptors to wait for, each with what is to be called when it is ready."""
        if self.template is not None and not self.template.is_ready:
            yield self.template.control.fileno(), self.template.hear
            yield self.template.printed_fd, self.template.hear
        if self.spare is not None and not self.spare.hung_up:
            yield self.spare.control.fileno(), self._hear_spare

    def advance(self, now: float, *, is_urgent: bool) -> None:
        """Have a server forked if there is none and it is time; end what does not come to be ready."""
        spare, template = self.spare, self.template
        if spare is None:
            is_due = now >= self._retry.due(is_urgent=is_urgent)
            if template is not None and template.is_ready and is_due:
                self.spare = ServerProcess()
                template.fork(self.spare)
                _log.debug("forking a server")
        elif spare.is_stillborn:
            self._lost_spare(None, now)
        elif not spare.ready and now - spare.started_at > _FORK_SECONDS:
            spare.kill()
            if spare.pid is None and template is not None:
                # It does not answer: somebody may have stopped it.
                template.kill()

    def take(self) -> ServerProcess:
        """Give away the server that waits; the next one is forked at the next `advance`."""
        spare, self.spare = self.spare, None
        if spare is None:
            raise LookupError("no server waits")
        self._retry, self.problem = Retry(), ""
        return spare

    def reaped(self, pid: int, code: int) -> str | None:
        """Take note of a child that has ended; return how, if it was the template, None otherwise."""
        if self.spare is not None and self.spare.pid == pid:
            self._lost_spare(code, time.monotonic())
        elif self.template is not None and self.template.pid == pid:
            self.template.hear()
            how = self.template.describe_end(code)
            for line in self.template.printed:
                _log.error("%s", line)
            self.template.close()
            self.template = None
            return how
        return None

    def kill(self) -> None:
        """End both at once; they are to be reaped."""
        for process in (self.template, self.spare):
            if process is not None:
                process.kill()
                process.close()

    def end(self) -> None:
        """End both, and reap them."""
        self.kill()
        for process in (self.template, self.spare):
            if process is not None and process.pid is not None:
                wait_for_end(process.pid, _REAP_SECONDS)

    def _hear_spare(self) -> None:
        if self.spare is not None and READY in self.spare.receive():
            self.spare.ready = True
            _log.debug("server %d waits to take over", self.spare.pid)

    def _lost_spare(self, code: int | None, now: float) -> None:
        if self.spare is None:
            return
        self.problem = self.spare.last_words or f"it {self.spare.describe_end(code)}"
        self.spare.close()
        self.spare = None
        self._retry = self._retry.after(now)


class Spares:
    """The line that servers are taken from, and the one that is to take its place."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Begin with nothing; `load` starts the first line."""
        self._arguments = arguments
        self._line: Line | None = None
        self._next: Line | None = None
        #: Why the installed code was not taken, where there is no other.
        self.why_not = ""
        self._retry = Retry()
        #: When the operator asked for the code that is being loaded (seconds since the epoch), None if never.
        self._asked_at: float | None = None
        self._has_renewed = False
        #: The latest reload that has come to an end.
        self.reload = Reload()

    @property
    def is_ready(self) -> bool:
        """Whether a server can be taken."""
        return self._line is not None and self._line.is_ready

    @property
    def _has_template(self) -> bool:
        return self._line is not None and self._line.template is not None

    @property
    def is_loading(self) -> bool:
        """Whether code is being loaded from the disk at this moment."""
        return self._next is not None

    @property
    def problem(self) -> str:
        """Why no server is in reserve, or no template to fork one after the next; "" in health."""
        if self._line is not None and self._line.template is not None:
            return f"no server can be forked: {self._line.problem}" if self._line.problem else ""
        return f"the installed code does not start: {self.why_not}" if self.why_not else ""

    def next_try_at(self, *, is_urgent: bool) -> float:
        """Return when it is tried again to have what is missing (monotonic clock)."""
        if self._line is not None and self._line.template is not None:
            return self._line.next_try_at(is_urgent=is_urgent)
        return self._retry.due(is_urgent=is_urgent)

    @property
    def template(self) -> Template | None:
        """The template that can fork at this moment."""
        template = self._line.template if self._line is not None else None
        return template if template is not None and template.is_ready else None

    @property
    def pids(self) -> tuple[int, int]:
        """The template's pid and that of the server in reserve, 0 for none."""
        line = self._line
        template = line.template.pid if line is not None and line.template is not None else 0
        spare = line.spare.pid if line is not None and line.spare is not None else None
        return template, spare or 0

    def load(self, asked_at: float | None = None) -> None:
        """Load the installed code, in place of what may be loading; `asked_at` is when the operator asked."""
        if self._next is not None:
            self._next.kill()
        self._next = None
        self._asked_at = asked_at
        try:
            self._next = Line(self._arguments)
        except OSError as error:
            self._load_failed(f"it cannot be started: {error}")

    def take(self) -> ServerProcess | None:
        """Give away the server that waits, None if there is none."""
        return self._line.take() if self._line is not None and self._line.is_ready else None

    def has_renewed(self) -> bool:
        """Return once whether code that the operator asked for is ready to serve."""
        renewed, self._has_renewed = self._has_renewed, False
        return renewed

    def sources(self) -> dict[int, Callable[[], None]]:
        """Return the descriptors to wait for, each with what is to be called when it is ready."""
        lines = (self._line, self._next)
        return {fd: hear for line in lines if line is not None for fd, hear in line.sources()}

    def reaped(self, pid: int, code: int) -> None:
        """Take note of a child that has ended."""
        if self._line is not None and (how := self._line.reaped(pid, code)) is not None:
            _log.warning("the template has ended (%s); another one loads the installed code", how)
        elif self._next is not None:
            how = self._next.reaped(pid, code)
            if how is not None:
                self._load_failed(how)

    def advance(self, now: float, *, is_urgent: bool) -> None:
        """Do what is due: fork, try again, give up, swap. `now` is of the monotonic clock.

        It `is_urgent` while nobody serves.
        """
        if self._next is not None:
            self._next.advance(now, is_urgent=is_urgent)
            if self._next.problem:
                self._load_failed(self._next.problem)
            elif self._next.is_ready:
                self._swap()
            elif now - self._next.started_at > _START_SECONDS:
                self._load_failed(f"it did not start within {_START_SECONDS:.0f} s")
        elif not self._has_template and now >= self._retry.due(is_urgent=is_urgent):
            self.load()
        if self._line is not None:
            self._line.advance(now, is_urgent=is_urgent)

    def end(self) -> None:
        """Leave no process behind."""
        for line in (self._line, self._next):
            if line is not None:
                line.end()

    def _swap(self) -> None:
        if self._line is not None:
            self._line.kill()
        self._line, self._next = self._next, None
        self._retry, self.why_not = Retry(), ""
        if self._asked_at is not None:
            self._has_renewed = True
            self.reload = Reload(self._asked_at, time.time())
            self._asked_at = None

    def _load_failed(self, why: str) -> None:
        if self._next is not None:
            self._next.kill()
            self._next = None
        if self._asked_at is not None:
            self.reload = Reload(self._asked_at, time.time(), why)
            self._asked_at = None
            _log.error("reload failed, nothing changes: %s", why)
        if not self._has_template:
            self._retry = self._retry.after(time.monotonic())
            self.why_not = why
