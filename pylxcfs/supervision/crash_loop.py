"""When to start the next server, and what it should show: the answer to crash loops. Pure."""

from typing import Final, NamedTuple

#: A server that dies this soon is one that cannot live; one that lives longer begins a new count.
YOUNG_SECONDS: Final = 1.0
#: After so many in a row, what makes them die may be how we look at containers: stop looking at them.
_TRIES: Final = 5
_FIRST_DELAY_SECONDS: Final = 0.1
#: Long enough to leave a machine alone, short enough for whoever reads meanwhile.
_LONGEST_DELAY_SECONDS: Final = 2.0
#: How long plain host content is served before containers are looked at again.
HOST_VIEW_SECONDS: Final = 60.0


#: Readers wait no longer for a server than that: then they get the kernel's own files.
HOPELESS_SECONDS: Final = 10.0
#: How often at most it is tried to have what is missing, while nobody serves and while somebody does.
_URGENT_SECONDS: Final = 1.0
_CALM_SECONDS: Final = 60.0


class Start(NamedTuple):
    """How to start a server."""

    delay_seconds: float = 0.0
    #: Show everybody the host's files.
    host_view: bool = False


class Deaths(NamedTuple):
    """How many servers in a row have died young."""

    young: int = 0

    def after(self, lived_seconds: float, *, hung: bool = False) -> "Deaths":
        """Count one more, that served for so long (0 if it did not come to that).

        One that `hung` is as one that died young: what it hung at comes again with the next one.
        """
        return Deaths(self.young + 1 if hung or lived_seconds < YOUNG_SECONDS else 0)

    @property
    def next_start(self) -> Start:
        """How to go on: at once, then with the host's content, then with that at growing intervals."""
        if self.young < _TRIES:
            return Start()
        delay = min(_FIRST_DELAY_SECONDS * 2 ** min(self.young - _TRIES, 16), _LONGEST_DELAY_SECONDS)
        return Start(delay if self.young > _TRIES else 0.0, host_view=True)


class Retry(NamedTuple):
    """How often in a row something could not be had, and when that was known last (monotonic clock)."""

    failures: int = 0
    failed_at: float = 0.0

    def after(self, now: float) -> "Retry":
        """Count one more failure, known `now`."""
        return Retry(self.failures + 1, now)

    def due(self, *, is_urgent: bool) -> float:
        """Return when to try again, 0 for at once: ever later, but soon where nobody serves (`is_urgent`)."""
        if not self.failures:
            return 0.0
        longest = _URGENT_SECONDS if is_urgent else _CALM_SECONDS
        return self.failed_at + min(_FIRST_DELAY_SECONDS * 2.0 ** min(self.failures - 1, 16), longest)
