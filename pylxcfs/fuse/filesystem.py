"""The answers to FUSE requests. The one place where exceptions become errnos.

What is not supported answers as the kernel's own /proc does: opening for writing is allowed to those whom
the mode allows it (root), writing is EIO, new names are ENOENT, removing is EPERM; and below sys/ as its
/sys does: opening for writing and creating are EACCES, everything else is EPERM. Permissions are checked by
the kernel (``default_permissions``).
"""

import errno
import logging
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from pylxcfs.content.service import ContentService
from pylxcfs.fuse import wire
from pylxcfs.fuse.handles import Handles, Listing, OpenFile, OpenHostFile, Readable
from pylxcfs.fuse.node import Node
from pylxcfs.fuse.partial_reads import Passes, first_serial, length_of
from pylxcfs.fuse.tree import Tree
from pylxcfs.fuse.triggers import NO_EVENTS, TriggerError, Triggers
from pylxcfs.fuse.wire import Handle, Inode, Opcode, Request
from pylxcfs.linux.hosttree import HostTreeError

_log = logging.getLogger(__name__)
#: fuse_dev_do_write() in fs/fuse/dev.c.
_ERRNO_END: Final = 512

_Handler = Callable[[Request], bytes]


class FuseError(Exception):
    """An errno for whoever asks."""

    def __init__(self, number: int) -> None:
        """Take the errno."""
        super().__init__(errno.errorcode[number])
        self.number = number


class FileSystem:
    """Answers the kernel from the tree and the content service."""

    def __init__(
        self, tree: Tree, content: ContentService, passes: Passes, triggers: Triggers | None = None
    ) -> None:
        """Serve `tree`, with the virtual files' content from `content`; go on with `passes`.

        Without `triggers` refuse to poll.
        """
        self._tree = tree
        self._content = content
        self._passes = passes
        self._triggers = triggers
        serial = first_serial(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        self._files: Handles[Readable] = Handles(serial)
        self._listings: Handles[Listing] = Handles(serial)
        self._handlers: Mapping[int, _Handler] = {
            Opcode.INIT: self._init,
            Opcode.LOOKUP: self._look_up,
            Opcode.GETATTR: self._get_attributes,
            Opcode.SETATTR: self._set_attributes,
            Opcode.READLINK: self._read_link,
            Opcode.OPEN: self._open,
            Opcode.READ: self._read,
            Opcode.RELEASE: self._release,
            Opcode.OPENDIR: self._open_directory,
            Opcode.READDIR: self._read_directory,
            Opcode.RELEASEDIR: self._release_directory,
            Opcode.STATFS: lambda _request: wire.pack_statfs(),
            Opcode.LISTXATTR: self._list_xattrs,
            Opcode.DESTROY: lambda _request: b"",
            Opcode.WRITE: _refuse(errno.EIO),
            Opcode.FSYNC: _refuse(errno.EINVAL),
            Opcode.FSYNCDIR: _refuse(errno.EINVAL),
            Opcode.UNLINK: _refuse(errno.EPERM),
            Opcode.RMDIR: _refuse(errno.EPERM),
            Opcode.MKDIR: self._refuse_name,
            Opcode.SYMLINK: self._refuse_name,
            Opcode.LINK: self._refuse_name,
            Opcode.CREATE: self._refuse_file,
            Opcode.MKNOD: self._refuse_node,
            Opcode.RENAME: lambda request: self._refuse_rename(request, wire.RENAME_IN.size),
            Opcode.RENAME2: lambda request: self._refuse_rename(request, wire.RENAME2_IN.size),
        }

        #: How often each opcode was asked for.
        self.requests = [0] * (max(self._handlers) + 1)
        #: How often an errno was the answer to what is known.
        self.refused: Counter[int] = Counter()
        #: How often it was EIO for a mistake of ours.
        self.failed = 0
        if triggers is not None:
            self._handlers = {**self._handlers, Opcode.WRITE: self._write, Opcode.POLL: self._poll}

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Return an errno, or 0 and the answer's body; raises nothing.

        ENOSYS for what is unknown: the kernel then never asks again (FLUSH, ACCESS, POLL), or tells
        EOPNOTSUPP (extended attributes).
        """
        handler = self._handlers.get(request.opcode)
        if handler is None:
            return errno.ENOSYS, b""
        self.requests[request.opcode] += 1
        try:
            return 0, handler(request)
        except (FuseError, HostTreeError, TriggerError) as error:
            # sysfs has a few of the kernel's own (ENOTSUPP), which FUSE takes from nobody.
            number = error.number if error.number < _ERRNO_END else errno.EIO
            self.refused[number] += 1
            return number, b""
        except wire.ProtocolError:
            self.refused[errno.EINVAL] += 1
            return errno.EINVAL, b""
        except Exception:  # noqa: BLE001 - the boundary: what escapes would end serving for all
            self.failed += 1
            _log.exception("FUSE request %d failed; its reader gets EIO", request.opcode)
            return errno.EIO, b""

    @property
    def open_files(self) -> int:
        """How many files are open that this server has opened or gone on with."""
        return len(self._files)

    def take_back(self, request: Request, body: bytes) -> None:
        """Undo an answer that nobody has waited for."""
        if request.opcode == Opcode.OPEN:
            self._files.remove(wire.parse_open(body))
        elif request.opcode == Opcode.OPENDIR:
            self._listings.remove(wire.parse_open(body))

    def _init(self, request: Request) -> bytes:
        """Agree on a version."""
        major, minor, max_readahead, _flags = request.unpack(wire.INIT_IN)
        if major != wire.MAJOR:
            raise FuseError(errno.EPROTO)
        return wire.pack_init(minor, max_readahead)

    def _look_up(self, request: Request) -> bytes:
        """Find a name in a directory. The answer is the same for all: the kernel shares it between them."""
        node = self._tree.child(self._node(request.inode), request.name)
        if node is None:
            raise FuseError(errno.ENOENT)
        return node.attributes.pack_entry()

    def _get_attributes(self, request: Request) -> bytes:
        """Return a node's attributes; the kernel asks for a CPU's directory on every way through it."""
        node = self._node(request.inode)
        self._refuse_hidden(node, request.pid)
        return node.attributes.pack_attributes()

    def _set_attributes(self, request: Request) -> bytes:
        """Truncating and touching change nothing, as in /proc; owner and mode cannot be changed."""
        what, _padding = request.unpack(wire.SETATTR_IN)
        if what & (wire.SETATTR_MODE | wire.SETATTR_UID | wire.SETATTR_GID):
            raise FuseError(errno.EPERM)
        return self._node(request.inode).attributes.pack_attributes()

    def _read_link(self, request: Request) -> bytes:
        """Return where a symbolic link points."""
        node = self._node(request.inode)
        if node.host_path is None:
            raise FuseError(errno.EINVAL)
        return os.fsencode(self._tree.cpu_tree.read_link(node.host_path))

    def _open(self, request: Request) -> bytes:
        """Render the file for who asks; whoever reads may be another process, and the asker gone."""
        node = self._node(request.inode)
        flags, _open_flags = request.unpack(wire.OPEN_IN)
        if node.in_sysfs and flags & os.O_ACCMODE != os.O_RDONLY:
            raise FuseError(errno.EACCES)
        opened = self._open_for(node, request.pid)
        return wire.pack_open(self._files.add(opened, opened.length), wire.OPEN_DIRECT_IO)

    def _read(self, request: Request) -> bytes:
        """Return a part of the file, but only to a process that reads (docs/adr/0009-no-page-cache.md)."""
        handle, offset, size, read_flags = request.unpack(wire.READ_IN)
        if not read_flags & wire.READ_LOCKOWNER:
            raise FuseError(errno.EINVAL)
        opened = self._files.get(Handle(handle)) or self._go_on(request, Handle(handle), offset)
        content = opened.read(offset, size)
        if opened.unkept is not None:
            self._passes.keep(Handle(handle), opened.unkept, getattr(opened, "container", None))
        return content

    def _write(self, request: Request) -> bytes:
        """Set a trigger, on a file that takes one."""
        handle, _offset, size, *_flags = request.unpack(wire.WRITE_IN)
        opened = self._files.get(Handle(handle))
        if self._triggers is None or not isinstance(opened, OpenFile) or opened.file.pressure is None:
            raise FuseError(errno.EIO)
        text = request.data_after(wire.WRITE_IN.size)[:size]
        self._triggers.set(Handle(handle), opened.file.pressure, opened.container, text)
        return wire.pack_write(size)

    def _poll(self, request: Request) -> bytes:
        """Tell whether a trigger has fired; any other file can always be read, as in /proc."""
        handle, kernel_handle, flags, _events = request.unpack(wire.POLL_IN)
        opened = self._files.get(Handle(handle))
        if self._triggers is None or not isinstance(opened, OpenFile) or opened.file.pressure is None:
            return wire.pack_poll(NO_EVENTS)
        waiting = bool(flags & wire.POLL_SCHEDULE_NOTIFY)
        return wire.pack_poll(self._triggers.poll(Handle(handle), kernel_handle if waiting else None))

    def _release(self, request: Request) -> bytes:
        """Close a file."""
        handle = Handle(request.unpack(wire.HANDLE_IN)[0])
        self._passes.drop(handle, foreign=not self._files.remove(handle))
        if self._triggers is not None:
            self._triggers.remove(handle)
        return b""

    def _open_directory(self, request: Request) -> bytes:
        """List a directory for who asks, once: a listing that goes on must not change in between."""
        node = self._node(request.inode)
        if not node.is_directory:
            raise FuseError(errno.ENOTDIR)
        self._refuse_hidden(node, request.pid)
        return wire.pack_open(self._listings.add(self._list(node, request.pid)), 0)

    def _read_directory(self, request: Request) -> bytes:
        """Give a directory's entries from a number on."""
        handle, start, size, _read_flags = request.unpack(wire.READ_IN)
        listing = self._listings.get(Handle(handle))
        if listing is None:
            # Opened at an earlier server. Numbers in a listing are places, and the places are the same.
            listing = self._list(self._node(request.inode), request.pid)
            self._listings.adopt(Handle(handle), listing)
        return wire.pack_directory(listing, start, size)

    def _release_directory(self, request: Request) -> bytes:
        """Close a directory."""
        self._listings.remove(Handle(request.unpack(wire.HANDLE_IN)[0]))
        return b""

    def _list_xattrs(self, request: Request) -> bytes:
        """There are none."""
        return wire.pack_no_xattrs(request.unpack(wire.OPEN_IN)[0])

    def _refuse_name(self, request: Request) -> bytes:
        """Refuse a new directory, symbolic link or hard link."""
        raise self._no_new_name(request.inode)

    def _refuse_file(self, request: Request) -> bytes:
        """Refuse a new file."""
        raise self._no_new_name(request.inode, errno.EACCES)

    def _refuse_node(self, request: Request) -> bytes:
        """Refuse a new node; a regular one is a new file."""
        mode = request.unpack(wire.MKNOD_IN)[0]
        raise self._no_new_name(request.inode, errno.EACCES if stat.S_ISREG(mode) else errno.EPERM)

    def _refuse_rename(self, request: Request, fixed_size: int) -> bytes:
        """Refuse: the new name cannot be made, or what has it not be removed."""
        directory = Inode(request.unpack(wire.RENAME_IN)[0])
        old_name = request.name_after(fixed_size)
        new_name = request.name_after(fixed_size + len(old_name) + 1)
        if new_name in self._node(directory).children:
            raise FuseError(errno.EPERM)
        raise self._no_new_name(directory)

    def _open_for(self, node: Node, pid: int) -> Readable:
        """Open a file as `pid` is to see it."""
        if node.file is not None:
            file = self._content.row_for(node.file, pid)
            container, content = self._content.open(file, pid)
            return OpenFile(self._content, file, container, content)
        if node.host_path is None or node.is_directory:
            raise FuseError(errno.EISDIR)
        return OpenHostFile(self._tree.cpu_tree, node.host_path)

    def _go_on(self, request: Request, handle: Handle, offset: int) -> Readable:
        """Return the file that was opened at an earlier server, in the state in which its reader left it."""
        node = self._node(request.inode)
        opened = self._open_for(node, request.pid)
        if isinstance(opened, OpenFile):
            begun = self._passes.take(handle) if offset else None
            if begun is None and offset >= length_of(handle) > 0:
                # Not kept, so its reader has had everything and asks whether there is more.
                begun = b""
            opened.go_on(length_of(handle), begun)
        self._files.adopt(handle, opened)
        return opened

    def _node(self, inode: Inode) -> Node:
        node = self._tree.node(inode)
        if node is None:
            raise FuseError(errno.ESTALE)
        return node

    def _list(self, node: Node, pid: int) -> Listing:
        """Return a directory's entries without the CPUs that the asker does not see."""
        children = list(self._tree.children(node))
        if any(child.cpu is not None for _, child in children):
            visible = self._content.visible_cpus(pid)
            if visible is not None:
                seen = {None, *visible}
                children = [(name, child) for name, child in children if child.cpu in seen]
        return [(name, child.attributes) for name, child in children]

    def _refuse_hidden(self, node: Node, pid: int) -> None:
        """Answer ENOENT for the directory of a CPU that the asker does not see."""
        if node.cpu is not None:
            visible = self._content.visible_cpus(pid)
            if visible is not None and node.cpu not in visible:
                raise FuseError(errno.ENOENT)

    def _no_new_name(self, directory: Inode, in_sysfs: int = errno.EPERM) -> FuseError:
        return FuseError(in_sysfs if self._node(directory).in_sysfs else errno.ENOENT)


def _refuse(number: int) -> _Handler:
    """Return a handler that always answers the same errno."""

    def refuse(_request: Request) -> bytes:
        raise FuseError(number)

    return refuse
