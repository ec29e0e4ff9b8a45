"""The answers to FUSE requests, as pyfuse3's handlers. The one place where exceptions become errnos.

What is not supported answers as the kernel's own /proc does: opening for writing is allowed to those whom
the mode allows it (root), writing is EIO, new names are ENOENT, removing is EPERM; and below sys/ as its
/sys does: opening for writing and creating are EACCES, everything else is EPERM. Permissions are checked here
(docs/adr/0033-sizes.md).
"""

import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from copy import copy
from functools import wraps
from typing import Concatenate, Final, NoReturn, ParamSpec, TypeVar

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileInfo,
    FUSEError,
    PollHandle,
    ReaddirToken,
    RequestContext,
    SetattrFields,
)

from pylxcfs.cgroup.types import CpuSet
from pylxcfs.content.service import ContentService
from pylxcfs.fuse.asker import Asker
from pylxcfs.fuse.frames import Opcode
from pylxcfs.fuse.handles import Handles, Listing, OpenFile, OpenHostFile, Readable
from pylxcfs.fuse.node import Inode, Node
from pylxcfs.fuse.partial_reads import Handle, Passes
from pylxcfs.fuse.permissions import Owner, is_allowed, wanted_by
from pylxcfs.fuse.tree import Tree
from pylxcfs.fuse.triggers import NO_EVENTS, TriggerError, Triggers
from pylxcfs.fuse.virtual_files import VirtualFiles
from pylxcfs.linux.hosttree import HostTreeError
from pylxcfs.rundir.kept_reads import LostReadError

_log = logging.getLogger(__name__)
#: fuse_dev_do_write() in fs/fuse/dev.c.
_ERRNO_END: Final = 512
_BLOCK: Final = 4096
_NAME_MAX: Final = 255
_ALL_READ: Final = 0o444
_OTHER_THAN_READING: Final = os.O_ACCMODE | os.O_TRUNC
#: stat(2) counts blocks of this size.
_SECTOR: Final = 512

#: What has a handler; POLL besides, where triggers may be set.
ANSWERED: Final = frozenset(
    {
        *(
            Opcode.ACCESS,
            Opcode.LOOKUP,
            Opcode.GETATTR,
            Opcode.SETATTR,
            Opcode.READLINK,
            Opcode.STATFS,
            Opcode.LISTXATTR,
        ),
        *(Opcode.OPEN, Opcode.READ, Opcode.WRITE, Opcode.RELEASE, Opcode.FSYNC),
        *(Opcode.OPENDIR, Opcode.READDIRPLUS, Opcode.RELEASEDIR, Opcode.FSYNCDIR),
        *(Opcode.UNLINK, Opcode.RMDIR, Opcode.RENAME, Opcode.RENAME2),
        *(Opcode.MKDIR, Opcode.SYMLINK, Opcode.LINK, Opcode.CREATE, Opcode.MKNOD),
    }
)

_NumberOf = Callable[[Node], int | None]
_VisibleTo = Callable[[ContentService, int], CpuSet | None]
#: What a directory may be about that not everybody sees, and how it is found out who sees which of it.
_HIDEABLE: Final[tuple[tuple[_NumberOf, _VisibleTo], ...]] = (
    (lambda node: node.cpu, lambda content, pid: content.visible_cpus(pid)),
    (lambda node: node.numa, lambda content, pid: content.visible_nodes(pid)),
)

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


def _answering(
    handler: "Callable[Concatenate[Operations, _Arguments], _Answer]",
) -> "Callable[Concatenate[Operations, _Arguments], Coroutine[None, None, _Answer]]":
    """Make a handler of pyfuse3's of a plain method that may raise what it likes.

    What escaped would end serving for all.
    """

    @wraps(handler)
    async def answer(
        self: "Operations", /, *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Answer:
        self._open_way_out()
        try:
            return handler(self, *arguments, **named)
        except FUSEError as error:
            number = error.errno
        except (HostTreeError, TriggerError) as error:
            number = error.number
        except Exception:  # noqa: BLE001 - the boundary
            self._asker.counts.failed += 1
            _log.exception("FUSE request %d failed; its reader gets EIO", self._asker.header.opcode)
            raise FUSEError(errno.EIO) from None
        # sysfs has a few of the kernel's own (ENOTSUPP), which FUSE takes from nobody.
        number = number if number < _ERRNO_END else errno.EIO
        self._asker.counts.refused[number] += 1
        raise FUSEError(number)

    return answer


class Operations(pyfuse3.Operations):
    """Answers the kernel from the tree and the content service. Owned by the serving thread."""

    def __init__(
        self,
        tree: Tree,
        content: ContentService,
        passes: Passes,
        asker: Asker,
        triggers: Triggers | None = None,
    ) -> None:
        """Serve `tree`, with the virtual files' content from `content`, to `asker`; go on with `passes`.

        Without `triggers` pressure files can only be read.
        """
        super().__init__()
        self._tree = tree
        self._content = content
        self._passes = passes
        self._asker = asker
        self._open_way_out = asker.open_way_out
        self._triggers = triggers
        # A later server's numbers are higher: nobody opens files faster.
        first = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._files: Handles[Readable] = Handles(first)
        self._listings: Handles[Listing] = Handles(first)
        self._virtual = VirtualFiles(content, asker)
        self._last_opened = Handle(0)
        #: The answer to each OPEN, but for the handle: to make one takes longer.
        self._opened = FileInfo(direct_io=True, keep_cache=False)

    @property
    def open_files(self) -> int:
        """How many files are open that this server has opened or gone on with."""
        return len(self._files)

    def take_back(self) -> None:
        """Undo the last answer, which nobody has waited for."""
        opcode = self._asker.header.opcode
        if opcode == Opcode.OPEN:
            self._virtual.closed(self._files.remove(self._last_opened))
        elif opcode == Opcode.OPENDIR:
            self._listings.remove(self._last_opened)

    def init(self) -> None:
        """Let libfuse answer the INIT that the gate has given it."""
        self._asker.open_way_out()

    @_answering
    def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Find a name in a directory. The answer is the same for all: the kernel shares it between them."""
        del ctx
        node = self._tree.child(self._node(parent_inode), name)
        if node is None:
            raise FUSEError(errno.ENOENT)
        return node.attributes

    @_answering
    def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        """Return a node's attributes; its size is what the asker's open file reads, or a new one would."""
        node = self._node(inode)
        self._refuse_hidden(node, ctx.pid)
        if node.file is None:
            return node.attributes
        named = self._asker.asked_handle
        length = self._virtual.length(
            node, node.file, ctx.pid, None if named is None else self._files.get(Handle(named))
        )
        # Where the kernel remembers an empty file, it does not ask us for sendfile(2) any more, for anybody.
        if not length and named is not None:
            # lseek(2) goes by what it remembers.
            length = 1
        elif not length:
            # It passes on, and does not remember, what was asked before this (fuse_change_attributes(),
            # fs/fuse/inode.c, Linux 5.8).
            with suppress(OSError):
                pyfuse3.invalidate_inode(inode, attr_only=True)
        attributes = copy(node.attributes)
        attributes.st_size, attributes.st_blocks = length, -(-length // _SECTOR)
        return attributes

    @_answering
    def access(self, inode: int, mode: int, ctx: RequestContext) -> bool:
        """Tell a caller of faccessat(2), or of chdir(2), whether it may."""
        node = self._node(inode)
        self._refuse_hidden(node, ctx.pid)
        return self._allows(node, ctx, mode)

    @_answering
    def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        """Truncating and touching change nothing, as in /proc; owner and mode cannot be changed."""
        del attr
        node = self._node(inode)
        self._refuse_hidden(node, ctx.pid)
        if fields.update_mode or fields.update_uid or fields.update_gid:
            raise FUSEError(errno.EPERM)
        if fh is None and not self._allows(node, ctx, os.W_OK):
            raise FUSEError(errno.EACCES)
        return node.attributes

    @_answering
    def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        """Return where a symbolic link points."""
        node = self._node(inode)
        self._refuse_hidden(node, ctx.pid)
        if node.host_path is None:
            raise FUSEError(errno.EINVAL)
        return os.fsencode(self._tree.cpu_tree.read_link(node.host_path))

    @_answering
    def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        """Find out who asks; whoever reads may be another process, and the asker gone."""
        node = self._node(inode)
        self._refuse_hidden(node, ctx.pid)
        is_writing = flags & _OTHER_THAN_READING
        if is_writing and node.in_sysfs:
            raise FUSEError(errno.EACCES)
        if (is_writing or node.attributes.st_mode & _ALL_READ != _ALL_READ) and not self._allows(
            node, ctx, wanted_by(flags)
        ):
            raise FUSEError(errno.EACCES)
        opened = self._open_for(node, ctx.pid)
        self._last_opened = handle = self._files.add(opened)
        self._opened.fh = handle
        return self._opened

    @_answering
    def read(self, fh: int, off: int, size: int) -> bytes:
        """Return a part of the file."""
        handle = Handle(fh)
        opened = self._files.get(handle) or self._go_on(handle, off)
        content = opened.read(off, size, self._virtual.who_asks)
        if opened.unkept is not None:
            self._passes.keep(handle, opened.unkept, _owner_of(opened))
        return content

    @_answering
    def write(self, fh: int, off: int, buf: bytes) -> int:
        """Set a trigger, on a file that takes one."""
        del off
        handle = Handle(fh)
        opened = self._files.get(handle)
        if self._triggers is None or not isinstance(opened, OpenFile) or opened.file.pressure is None:
            raise FUSEError(errno.EIO)
        self._triggers.set(handle, opened.file.pressure, opened.container, buf)
        return len(buf)

    @_answering
    def poll(self, inode: int, fh: int, poll_handle: PollHandle | None, ctx: RequestContext) -> int:
        """Tell whether a trigger has fired; any other file can always be read, as in /proc."""
        del inode, ctx
        handle = Handle(fh)
        opened = self._files.get(handle)
        if self._triggers is None or not isinstance(opened, OpenFile) or opened.file.pressure is None:
            return NO_EVENTS
        return self._triggers.poll(handle, poll_handle)

    @_answering
    def release(self, fh: int) -> None:
        """Close a file."""
        handle = Handle(fh)
        self._virtual.closed(self._files.remove(handle))
        self._passes.drop(handle)
        if self._triggers is not None:
            self._triggers.remove(handle)

    @_answering
    def opendir(self, inode: int, ctx: RequestContext) -> int:
        """List a directory for who asks, once: a listing that goes on must not change in between."""
        node = self._node(inode)
        if not node.is_directory:
            raise FUSEError(errno.ENOTDIR)
        self._refuse_hidden(node, ctx.pid)
        if not self._allows(node, ctx, os.R_OK):
            raise FUSEError(errno.EACCES)
        self._last_opened = self._listings.add(self._list(node, ctx.pid))
        return self._last_opened

    @_answering
    def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        """Give a directory's entries from a number on."""
        handle = Handle(fh)
        listing = self._listings.get(handle)
        if listing is None:
            # Opened at an earlier server. Numbers in a listing are places, and the places are the same.
            header = self._asker.header
            listing = self._list(self._node(header.node), header.pid)
            self._listings.adopt(handle, listing)
        for number, (name, attributes) in enumerate(listing[start_id:], start=start_id + 1):
            if not pyfuse3.readdir_reply(token, name, attributes, number):
                break

    @_answering
    def releasedir(self, fh: int) -> None:
        """Close a directory."""
        self._listings.remove(Handle(fh))

    @_answering
    def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        """Describe a file system without blocks, as procfs is."""
        del ctx
        status = pyfuse3.StatvfsData()
        status.f_bsize = status.f_frsize = _BLOCK
        status.f_namemax = _NAME_MAX
        return status

    @_answering
    def listxattr(self, inode: int, ctx: RequestContext) -> list[bytes]:
        """There are none."""
        del inode, ctx
        return []

    @_answering
    def fsync(self, fh: int, datasync: bool) -> NoReturn:  # noqa: FBT001 - pyfuse3's
        """Nothing is stored."""
        del fh, datasync
        raise FUSEError(errno.EINVAL)

    @_answering
    def fsyncdir(self, fh: int, datasync: bool) -> NoReturn:  # noqa: FBT001 - pyfuse3's
        """Nothing is stored."""
        del fh, datasync
        raise FUSEError(errno.EINVAL)

    @_answering
    def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> NoReturn:
        """Nothing is removed."""
        del name
        raise self._no_removal(parent_inode, ctx)

    @_answering
    def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> NoReturn:
        """Nothing is removed."""
        del name
        raise self._no_removal(parent_inode, ctx)

    @_answering
    def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> NoReturn:
        """Refuse a new directory."""
        del name, mode
        raise self._no_new_name(parent_inode, ctx)

    @_answering
    def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> NoReturn:
        """Refuse a new symbolic link."""
        del name, target
        raise self._no_new_name(parent_inode, ctx)

    @_answering
    def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> NoReturn:
        """Refuse a new hard link."""
        del inode, new_name, ctx
        raise FUSEError(errno.EPERM if self._node(new_parent_inode).in_sysfs else errno.ENOENT)

    @_answering
    def create(self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext) -> NoReturn:
        """Refuse a new file."""
        del name, mode, flags
        raise self._no_new_name(parent_inode, ctx, errno.EACCES)

    @_answering
    def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> NoReturn:
        """Refuse a new node; a regular one is a new file."""
        del name, rdev
        raise self._no_new_name(parent_inode, ctx, errno.EACCES if stat.S_ISREG(mode) else errno.EPERM)

    @_answering
    def rename(  # noqa: PLR0913, PLR0917 - pyfuse3's
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> NoReturn:
        """Refuse: the new name cannot be made, or what has it not be removed."""
        del parent_inode_old, name_old, flags
        if name_new in self._node(parent_inode_new).children:
            raise self._no_removal(parent_inode_new, ctx)
        raise self._no_new_name(parent_inode_new, ctx)

    def _open_for(self, node: Node, pid: int) -> Readable:
        """Open a file as `pid` is to see it."""
        if node.file is not None:
            return self._virtual.open(node, node.file, pid)
        if node.host_path is None or node.is_directory:
            raise FUSEError(errno.EISDIR)
        return OpenHostFile(self._tree.cpu_tree, node.host_path)

    def _go_on(self, handle: Handle, offset: int) -> Readable:
        """Return the file that was opened at an earlier server, in the state in which its reader left it."""
        header = self._asker.header
        node = self._node(header.node)
        opened = self._open_for(node, header.pid)
        if isinstance(opened, OpenFile) and offset:
            # Of whom nothing is kept has had everything, and asks whether there is more.
            try:
                opened.go_on(self._passes.take(handle, _owner_of(opened)) or b"")
            except LostReadError:
                self._virtual.closed(opened)
                raise FUSEError(errno.EIO) from None
        self._files.adopt(handle, opened)
        return opened

    @staticmethod
    def _allows(node: Node, ctx: RequestContext, wanted: int) -> bool:
        """Tell whether an asker may do what is wanted."""
        attributes = node.attributes
        owner = Owner(attributes.st_mode, attributes.st_uid, attributes.st_gid)
        return is_allowed(owner, ctx.uid, ctx.gid, wanted, lambda: _groups(ctx.pid))

    def _node(self, inode: int) -> Node:
        node = self._tree.node(Inode(inode))
        if node is None:
            raise FUSEError(errno.ESTALE)
        return node

    def _list(self, node: Node, pid: int) -> Listing:
        """Return a directory's entries without the CPUs and NUMA nodes that the asker does not see."""
        children = list(self._tree.children(node))
        for number_of, visible_to in _HIDEABLE:
            if any(number_of(child) is not None for _, child in children):
                visible = visible_to(self._content, pid)
                if visible is not None:
                    seen = {None, *visible}
                    children = [(name, child) for name, child in children if number_of(child) in seen]
        return [(name, child.attributes) for name, child in children]

    def _refuse_hidden(self, node: Node, pid: int) -> None:
        """Answer ENOENT for what is in the directory of a CPU or NUMA node that the asker does not see."""
        if node.cpu is None is node.numa:
            return
        for number_of, visible_to in _HIDEABLE:
            number = number_of(node)
            if number is not None:
                visible = visible_to(self._content, pid)
                if visible is not None and number not in visible:
                    raise FUSEError(errno.ENOENT)

    def _no_new_name(self, directory: int, ctx: RequestContext, in_sysfs: int = errno.EPERM) -> FUSEError:
        node = self._node(directory)
        if not node.in_sysfs:
            return FUSEError(errno.ENOENT)
        return FUSEError(in_sysfs if self._allows(node, ctx, os.W_OK) else errno.EACCES)

    def _no_removal(self, directory: int, ctx: RequestContext) -> FUSEError:
        return FUSEError(errno.EPERM if self._allows(self._node(directory), ctx, os.W_OK) else errno.EACCES)


def _owner_of(opened: Readable) -> Hashable:
    """Return what shares the room for half-read files: a container; all others together."""
    return opened.container.key if isinstance(opened, OpenFile) and opened.container is not None else None


def _groups(pid: int) -> set[int]:
    """Return a process's supplementary groups; none if it has gone."""
    try:
        groups: set[int] = pyfuse3.get_sup_groups(pid)
    except (OSError, RuntimeError):
        return set()
    return groups
