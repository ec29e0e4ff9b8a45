"""cgroupstats: the states of the tasks of one v1 cgroup, counted by the kernel, in one netlink request.

Source: kernel/taskstats.c, include/uapi/linux/{taskstats,cgroupstats,genetlink}.h. There only in the
initial network namespace; EINVAL for directories of cgroup v2.
"""

import errno
import os
import socket
import struct
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
    """Asks the kernel for the states of a cgroup's tasks."""

    def __init__(self) -> None:
        """Open the socket; raises OSError where this kernel or network namespace has no taskstats."""
        self._sequence = 0
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC
        )
        self._socket.bind((0, 0))
        try:
            reply = self._ask(_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, _CTRL_ATTR_FAMILY_NAME, b"TASKSTATS\0")
            self._family = _family_id(reply)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def count(self, directory: int) -> TaskStates:
        """Count the tasks directly in the v1 cgroup whose directory is open; raises OSError."""
        reply = self._ask(
            self._family, _CGROUPSTATS_CMD_GET, _CGROUPSTATS_CMD_ATTR_FD, struct.pack("=I", directory)
        )
        offset = _HEADER.size + _ATTRIBUTE.size
        if len(reply) < offset + _STATS.size:
            raise OSError(errno.EPROTO, "cgroupstats: short reply")
        sleeping, running, stopped, uninterruptible, _io_wait = _STATS.unpack_from(reply, offset)
        return TaskStates(sleeping, running, stopped, uninterruptible)

    def _ask(self, family: int, command: int, attribute: int, value: bytes) -> bytes:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        padded = value + b"\0" * (-len(value) % 4)
        body = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), attribute) + padded
        header = _HEADER.pack(
            _HEADER.size + len(body), family, _NLM_F_REQUEST, self._sequence, 0, command, 1, 0
        )
        self._socket.send(header + body)
        # The kernel answers while the request is being sent. What is left of an earlier one is skipped.
        while True:
            reply = self._socket.recv(_MOST_BYTES, socket.MSG_DONTWAIT)
            if len(reply) < _HEADER.size:
                raise OSError(errno.EPROTO, "netlink: short reply")
            _length, kind, _flags, sequence, *_ = _HEADER.unpack_from(reply)
            if sequence != self._sequence:
                continue
            if kind == _NLMSG_ERROR:
                number = -_ERROR.unpack_from(reply, _NLMSG_HEADER_BYTES)[0]
                raise OSError(number, f"netlink: {os.strerror(number)}")
            return reply


def _family_id(reply: bytes) -> int:
    offset = _HEADER.size
    while offset + _ATTRIBUTE.size <= len(reply):
        length, attribute = _ATTRIBUTE.unpack_from(reply, offset)
        if attribute == _CTRL_ATTR_FAMILY_ID:
            return int(struct.unpack_from("=H", reply, offset + _ATTRIBUTE.size)[0])
        offset += max(_ATTRIBUTE.size, (length + 3) & ~3)
    raise OSError(errno.EPROTO, "netlink: a family without an id")
