"""Which requests servers were busy with when they ended, and which are not to be tried again. Pure."""

from collections import OrderedDict
from typing import Final

#: The kernel marks those that it sends again by the highest bit (FUSE_UNIQUE_RESEND, since Linux 6.9).
_NUMBER: Final = (1 << 63) - 1
#: A request that was what so many servers were busy with is what they have died of.
_STRIKES: Final = 2
#: Requests in flight that servers have died of; the oldest are forgotten.
_MOST: Final = 32


class Suspects:
    """Requests by their number, which no other request of a connection ever has.

    A server that was killed from outside, or that got no processor in time and seemed to hang, was busy with
    some request too, mostly an innocent one. So each is tried once more.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._strikes: OrderedDict[int, int] = OrderedDict()

    def ended(self, unique: int) -> None:
        """Take note that a server has ended that was last busy with request `unique`, 0 for none."""
        unique &= _NUMBER
        if not unique:
            return
        self._strikes[unique] = self._strikes.pop(unique, 0) + 1
        while len(self._strikes) > _MOST:
            self._strikes.popitem(last=False)

    @property
    def convicted(self) -> frozenset[int]:
        """Those that are to be answered from the fallback, should the kernel send them again."""
        return frozenset(unique for unique, strikes in self._strikes.items() if strikes >= _STRIKES)
