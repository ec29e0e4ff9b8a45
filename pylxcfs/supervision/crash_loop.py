"""When to start the next server, and what it should show: the answer to crash loops. Pure."""

from typing import Final, NamedTuple

#: A server that dies this soon is one that cannot live; one that lives longer begins a new count.
YOUNG_SECONDS: Final = 1.0
#: After so many in a row, what makes them die may be how we look at containers: stop looking at them.
_TRIES: Final = 5
_FIRST_DELAY_SECONDS: Final = 0.1
_LONGEST_DELAY_SECONDS: Final = 10.0
#: How long plain host content is served before containers are looked at again.
HOST_VIEW_SECONDS: Final = 60.0


class Start(NamedTuple):
    """How to start a server."""

    delay_seconds: float = 0.0
    #: Show everybody the host's files.
    host_view: bool = False


class Deaths(NamedTuple):
    """How many servers in a row have died young."""

    young: int = 0

    def after(self, lived_seconds: float) -> "Deaths":
        """Count one more, that served for so long (0 if it did not come to that)."""
        return Deaths(self.young + 1 if lived_seconds < YOUNG_SECONDS else 0)

    @property
    def next_start(self) -> Start:
        """How to go on: at once, then with the host's content, then with that at growing intervals."""
        if self.young < _TRIES:
            return Start()
        delay = min(_FIRST_DELAY_SECONDS * 2 ** min(self.young - _TRIES, 16), _LONGEST_DELAY_SECONDS)
        return Start(delay if self.young > _TRIES else 0.0, host_view=True)
