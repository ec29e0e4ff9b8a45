"""Waiting in trio, so that what is waited for can go on."""

from collections.abc import Callable
from typing import Final

import trio

_STEP_SECONDS: Final = 0.01
#: Only so that a hung test-suite ends one day; nothing is judged by it.
_GIVE_UP_SECONDS: Final = 120.0


async def until(what: str, happened: Callable[[], bool]) -> None:
    """Return once `happened`."""
    with trio.move_on_after(_GIVE_UP_SECONDS):
        while not happened():  # noqa: ASYNC110 - it happens in another process
            await trio.sleep(_STEP_SECONDS)
        return
    message = f"{what}: never happened"
    raise AssertionError(message)
