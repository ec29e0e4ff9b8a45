"""What supervisor and server say to each other: one word per message on a pair of SOCK_SEQPACKET sockets.

A server of a later version is started by the supervisor of an earlier one (SIGUSR1), so words may be added
here but never change their meaning. A word that is not known is passed over.
"""

from typing import Final

#: Where a server finds its end of the pair.
CONTROL_FD: Final = 3

#: Server: everything is built; it waits for `GO`.
READY: Final = b"ready"
#: Supervisor: serve from now on; the descriptor of the connection comes with it.
GO: Final = b"go"
#: Server: its serving thread has just been through its loop.
ALIVE: Final = b"alive"
#: Supervisor: take no more requests, save what the next server needs, exit.
DRAIN: Final = b"drain"
#: Supervisor: show everybody the host's files, or end that.
HOST_VIEW: Final = b"host-view"
OWN_VIEW: Final = b"own-view"

#: Names the connection where descriptors are kept, followed by the minor number of the mount's device.
STORE_NAME: Final = "pylxcfs-"

MAX_MESSAGE: Final = 64
#: How often a server says that it is alive.
ALIVE_SECONDS: Final = 0.25
