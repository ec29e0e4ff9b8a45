"""Inside a template: a process that has imported everything, and forks others that need not.

Its code is what was installed when it was started; what becomes of the files afterwards is no matter. It
never serves, has one thread, and does nothing but fork, so that whatever kills servers leaves it alone
(docs/adr/0026-warm-spare.md).
"""

import gc
import os
import signal
import socket
from typing import Final

from pylxcfs.supervision.protocol import BORN, CONTROL_FD, FAILED, MAX_MESSAGE, READY, STDERR_FD

#: For the supervisor; whoever sends them to the whole service or terminal does not mean us.
_IGNORED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def open_control() -> socket.socket:
    """Return the end of the pair that this process shares with its supervisor, and leave signals to that."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=CONTROL_FD)
    control.set_inheritable(False)
    return control


def fork_on_demand(control: socket.socket) -> tuple[bytes, socket.socket] | None:
    """Fork a process for each order of the supervisor; return in each of them with the order and its socket.

    Returns None in the template itself once its supervisor has gone. From here on standard error is the
    daemon's own; until now what was written there has told the supervisor why the code does not start.
    """
    os.dup2(STDERR_FD, 2)
    os.close(STDERR_FD)
    # What is here now stays. The collector would write to pages that all processes of the template share.
    gc.collect()
    gc.freeze()
    if not tell(control, READY):
        return None
    while True:
        order, fds = receive(control)
        if not order:
            return None
        if not fds:
            continue
        theirs = socket.socket(fileno=fds[0])
        if _fork(control, theirs):
            return order, theirs
        theirs.close()


def receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """Return the next word and the descriptors that came with it; no word once the supervisor has gone."""
    try:
        word, fds, _, _ = socket.recv_fds(control, MAX_MESSAGE, 2, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        # It went without having read all that we said.
        return b"", []
    return word, fds


def tell(control: socket.socket, word: bytes) -> bool:
    """Say a word to the supervisor; False if it has gone. Raises OSError for any other reason."""
    try:
        control.send(word)
    except ConnectionError:
        return False
    return True


def tell_failure(theirs: socket.socket, why: object) -> None:
    """Have the supervisor know why this process ends; what cannot be told is lost."""
    try:
        theirs.send((FAILED + " ".join(str(why).split()).encode(errors="replace"))[:MAX_MESSAGE])
    except OSError:
        return


def _fork(control: socket.socket, theirs: socket.socket) -> bool:
    """Fork a process whose parent is the supervisor, as it adopts orphans; return True in that process."""
    try:
        between = os.fork()
        if between:
            os.waitpid(between, 0)
            return False
        control.close()
        if os.fork():
            os._exit(0)
    except OSError as error:
        tell_failure(theirs, error.strerror)
        if control.fileno() < 0:
            os._exit(1)
        return False
    # If the supervisor has gone, the next that is said to it, or heard of it, shows that.
    tell(theirs, BORN + str(os.getpid()).encode())
    return True
