"""Signals as something to wait for, beside everything else that a poll loop waits for."""

import signal
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager


@contextmanager
def received_signals(numbers: Collection[signal.Signals]) -> Iterator[socket.socket]:
    """Have these signals arrive as bytes in a socket, one number each, for the length of a ``with`` block."""
    ours, kernels = socket.socketpair()
    with ours, kernels:
        ours.setblocking(False)  # noqa: FBT003 - the socket's own interface
        kernels.setblocking(False)  # noqa: FBT003
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        previous = signal.set_wakeup_fd(kernels.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
