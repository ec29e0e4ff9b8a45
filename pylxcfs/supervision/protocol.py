"""What the supervisor and its children say to each other: one word per message on SOCK_SEQPACKET sockets.

Code of a later version is started by the supervisor of an earlier one (SIGUSR1), so words may be added here
but never change their meaning. A word that is not known is passed over. Some are followed by what they are
about.
"""

from typing import Final

#: Where a template finds its end of the pair, and what is to become its standard error once it is ready.
CONTROL_FD: Final = 3
STDERR_FD: Final = 4

#: Supervisor to template: fork a server, or a process that works on binds as the verb says. The end of the
#: pair that the new process shares with the supervisor comes with it.
FORK_SERVER: Final = b"fork-server"
FORK_REBINDING: Final = b"fork-rebinding "

#: Forked process: it is there; followed by its pid.
BORN: Final = b"born "
#: Forked process, or its template in its place: it will not serve; followed by why.
FAILED: Final = b"failed "

#: Template: everything is imported. Server: everything is built; it waits for `GO`.
READY: Final = b"ready"
#: Supervisor: serve from now on; followed by the generation. With it come the descriptor of the connection,
#: and that of a `SharedWord` in which the server notes the number of the request that it is about to answer.
GO: Final = b"go "
#: Supervisor, before `GO`: answer these requests from the fallback, should the kernel send them again;
#: followed by their numbers.
DOUBT: Final = b"doubt "
#: Server: its serving thread has just been through its loop.
ALIVE: Final = b"alive"
#: Supervisor: take no more requests, save what the next server needs, exit.
DRAIN: Final = b"drain"
#: Supervisor: show everybody the host's files, or end that.
HOST_VIEW: Final = b"host-view"
OWN_VIEW: Final = b"own-view"

#: Names the connection where descriptors are kept, followed by the minor number of the mount's device.
STORE_NAME: Final = "pylxcfs-"

MAX_MESSAGE: Final = 1024
#: How often a server says that it is alive.
ALIVE_SECONDS: Final = 0.25
