"""cgroupstats: the states of the tasks of one v1 cgroup, counted by the kernel, in one netlink request.

Source: kernel/taskstats.c, include/uapi/linux/{taskstats,cgroupstats,genetlink}.h. There only in the
initial network namespace; EINVAL for directories of cgroup v2.
"""

import errno
import os
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Final, NamedTuple

_NETLINK_GENERIC: Final = 16
_NLMSG_ERROR: Final = 2
_NLM_F_REQUEST: Final = 1
_GENL_ID_CTRL: Final = 16
_CTRL_CMD_GETFAMILY: Final = 3
_CTRL_ATTR_FAMILY_ID: Final = 1
_CTRL_ATTR_FAMILY_NAME: Final = 2
_CGROUPSTATS_CMD_GET: Final = 4
_CGROUPSTATS_CMD_ATTR_FD: Final = 1

#: struct nlmsghdr with struct genlmsghdr.
_HEADER: Final = struct.Struct("=IHHIIBBH")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")
_ID: Final = struct.Struct("=H")
_TASKSTATS: Final = b"TASKSTATS\0"
_NLMSG_HEADER_BYTES: Final = 16
#: struct cgroupstats, whose last field came with the first version.
_STATS: Final = struct.Struct("=QQQQQ")
_MOST_BYTES: Final = 8192


class TaskStates(NamedTuple):
    """How many tasks are in exactly these states; any state with a modifier is in none of them."""

    sleeping: int
    running: int
    stopped: int
    uninterruptible: int


class CgroupStats:
    """Asks the kernel for the states of a cgroup's tasks. Each thread has a socket of its own."""

    def __init__(self) -> None:
        """Open a socket; raises OSError where this kernel or network namespace has no taskstats."""
        self._threads = threading.local()
        self._family = 0
        request = pack_request(_GENL_ID_CTRL, 1, _CTRL_CMD_GETFAMILY, _CTRL_ATTR_FAMILY_NAME, _TASKSTATS)
        connection = self._open_socket()
        try:
            self._family = parse_family(_ask(connection.socket, request, 1))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close this thread's socket."""
        self._threads.connection.socket.close()
        del self._threads.connection

    def count(self, directory: int) -> TaskStates:
        """Count the tasks directly in the v1 cgroup whose directory is open; raises OSError."""
        connection: _Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._open_socket()
        sequence = connection.sequence = (connection.sequence + 1) & 0xFFFFFFFF
        asked = struct.pack("=I", directory)
        request = pack_request(self._family, sequence, _CGROUPSTATS_CMD_GET, _CGROUPSTATS_CMD_ATTR_FD, asked)
        return parse_states(_ask(connection.socket, request, sequence))

    def _open_socket(self) -> "_Connection":
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC)
        opened.bind((0, 0))
        connection: _Connection
        connection = self._threads.connection = _Connection(opened)
        return connection


@dataclass(slots=True)
class _Connection:
    """One thread's socket, and the number of its last request."""

    socket: socket.socket
    sequence: int = 1


def pack_request(family: int, sequence: int, command: int, attribute: int, value: bytes) -> bytes:
    """Return a generic netlink request with one attribute."""
    padded = value + b"\0" * (-len(value) % 4)
    body = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), attribute) + padded
    return _HEADER.pack(_HEADER.size + len(body), family, _NLM_F_REQUEST, sequence, 0, command, 1, 0) + body


def parse_reply(reply: bytes, sequence: int) -> bytes | None:
    """Return a reply's attributes; None if it answers another request. Raises OSError if it tells of one."""
    if len(reply) < _HEADER.size:
        raise OSError(errno.EPROTO, "netlink: short reply")
    _length, kind, _flags, answered, *_ = _HEADER.unpack_from(reply)
    if answered != sequence:
        return None
    if kind == _NLMSG_ERROR:
        number = -_ERROR.unpack_from(reply, _NLMSG_HEADER_BYTES)[0]
        raise OSError(number, f"netlink: {os.strerror(number)}")
    return reply[_HEADER.size :]


def parse_states(attributes: bytes) -> TaskStates:
    """Return the states in the attributes of a reply to CGROUPSTATS_CMD_GET; raises OSError."""
    if len(attributes) < _ATTRIBUTE.size + _STATS.size:
        raise OSError(errno.EPROTO, "cgroupstats: short reply")
    sleeping, running, stopped, uninterruptible, _io_wait = _STATS.unpack_from(attributes, _ATTRIBUTE.size)
    return TaskStates(sleeping, running, stopped, uninterruptible)


def parse_family(attributes: bytes) -> int:
    """Return the family's number in the attributes of a reply to CTRL_CMD_GETFAMILY; raises OSError."""
    offset = 0
    while offset + _ATTRIBUTE.size + _ID.size <= len(attributes):
        length, attribute = _ATTRIBUTE.unpack_from(attributes, offset)
        if attribute == _CTRL_ATTR_FAMILY_ID:
            return int(_ID.unpack_from(attributes, offset + _ATTRIBUTE.size)[0])
        offset += max(_ATTRIBUTE.size, (length + 3) & ~3)
    raise OSError(errno.EPROTO, "netlink: a family without an id")


def _ask(connection: socket.socket, request: bytes, sequence: int) -> bytes:
    connection.send(request)
    # The kernel answers while the request is being sent. What is left of an earlier one is skipped.
    while True:
        attributes = parse_reply(connection.recv(_MOST_BYTES, socket.MSG_DONTWAIT), sequence)
        if attributes is not None:
            return attributes
