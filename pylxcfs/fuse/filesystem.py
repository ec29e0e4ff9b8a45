"""The FUSE operations. The one place where exceptions become errnos.

What is not supported answers as the kernel's own /proc does: opening for writing is allowed to those whom
the mode allows it (root), writing is EIO, new names are ENOENT, removing is EPERM; and below sys/ as its
/sys does: opening for writing and creating are EACCES, everything else is EPERM. Permissions are checked by
the kernel (``default_permissions``). No handler suspends, see `pylxcfs.fuse.driver`.
"""

import errno
import functools
import logging
import os
import stat
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

import pyfuse3
from pyfuse3 import FileHandleT, FileInfo, FileNameT, FUSEError, InodeT, ModeT, RequestContext

from pylxcfs.content import ContentService
from pylxcfs.fuse.handles import Handles, Listing, OpenFile, OpenHostFile, Readable
from pylxcfs.fuse.node import Node
from pylxcfs.fuse.tree import Tree
from pylxcfs.hosttree import HostTreeError

_log = logging.getLogger(__name__)
_LOG_INTERVAL_SECONDS: Final = 10.0
_STATFS_BLOCK: Final = 4096
_NAME_MAX: Final = 255

P = ParamSpec("P")
T = TypeVar("T")


def _errno_boundary(handler: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Answer EIO for whatever a handler did not foresee: an escaped exception would end the mount."""
    last_logged = -_LOG_INTERVAL_SECONDS

    @functools.wraps(handler)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal last_logged
        try:
            return await handler(*args, **kwargs)
        except FUSEError:
            raise
        except HostTreeError as error:
            raise FUSEError(error.number) from error
        except Exception as error:
            now = time.monotonic()
            if now - last_logged >= _LOG_INTERVAL_SECONDS:
                last_logged = now
                _log.exception("%s failed; its reader gets EIO", handler.__name__)
            raise FUSEError(errno.EIO) from error

    return guarded


class FileSystem(pyfuse3.Operations):
    """Answers the kernel from the tree and the content service."""

    def __init__(self, tree: Tree, content: ContentService) -> None:
        """Serve `tree`, with the virtual files' content from `content`."""
        super().__init__()
        self._tree = tree
        self._content = content
        self._files: Handles[Readable] = Handles()
        self._listings: Handles[Listing] = Handles()

    @_errno_boundary
    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Find a name in a directory. The answer is the same for all: the kernel shares it between them."""
        node = self._tree.child(self._node(parent_inode), name)
        if node is None:
            raise FUSEError(errno.ENOENT)
        return node.attributes

    @_errno_boundary
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> pyfuse3.EntryAttributes:
        """Return a node's attributes; the kernel asks for a CPU's directory on every way through it."""
        node = self._node(inode)
        self._refuse_hidden(node, ctx)
        return node.attributes

    @_errno_boundary
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        """Return where a symbolic link points."""
        node = self._node(inode)
        if node.host_path is None:
            raise FUSEError(errno.EINVAL)
        return FileNameT(os.fsencode(self._tree.cpu_tree.read_link(node.host_path)))

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """Nothing to do: nodes are fixed."""

    @_errno_boundary
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """Render the file for who asks; a read has no asker, and the asker may be gone by then."""
        node = self._node(inode)
        opened: Readable
        if node.in_sysfs and flags & os.O_ACCMODE != os.O_RDONLY:
            raise FUSEError(errno.EACCES)
        if node.file is not None:
            container, content = self._content.open(node.file, ctx.pid)
            opened = OpenFile(self._content, node.file, container, content)
        elif node.host_path is None or node.is_directory:
            raise FUSEError(errno.EISDIR)
        else:
            opened = OpenHostFile(self._tree.cpu_tree, node.host_path)
        return FileInfo(fh=self._files.add(opened), direct_io=True)

    @_errno_boundary
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Return a part of the file."""
        opened = self._files.get(fh)
        if opened is None:
            raise FUSEError(errno.EBADF)
        return opened.read(off, size)

    async def flush(self, fh: FileHandleT) -> None:
        """Tell the kernel never to ask again."""
        raise FUSEError(errno.ENOSYS)

    @_errno_boundary
    async def release(self, fh: FileHandleT) -> None:
        """Close a file."""
        self._files.remove(fh)

    @_errno_boundary
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """List a directory for who asks: readdir has no asker."""
        node = self._node(inode)
        if not node.is_directory:
            raise FUSEError(errno.ENOTDIR)
        self._refuse_hidden(node, ctx)
        return self._listings.add(self._list(node, ctx))

    @_errno_boundary
    async def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Give a directory's entries from number `start_id` on."""
        listing = self._listings.get(fh)
        if listing is None:
            raise FUSEError(errno.EBADF)
        for number in range(start_id, len(listing)):
            if not pyfuse3.readdir_reply(token, *listing[number], number + 1):
                break

    @_errno_boundary
    async def releasedir(self, fh: FileHandleT) -> None:
        """Close a directory."""
        self._listings.remove(fh)

    @_errno_boundary
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        """Describe a file system without blocks, as procfs does."""
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = _STATFS_BLOCK
        data.f_namemax = _NAME_MAX
        return data

    @_errno_boundary
    async def setattr(
        self,
        inode: InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Truncating and touching change nothing, as in /proc; owner and mode cannot be changed."""
        if fields.update_mode or fields.update_uid or fields.update_gid:
            raise FUSEError(errno.EPERM)
        return self._node(inode).attributes

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        """Refuse: no write reaches the host."""
        raise FUSEError(errno.EIO)

    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        """Refuse as procfs does."""
        raise FUSEError(errno.EINVAL)

    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        """Refuse as procfs does."""
        raise FUSEError(errno.EINVAL)

    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[pyfuse3.XAttrNameT]:
        """There are none. Getting and setting stay ENOSYS, which the kernel tells as EOPNOTSUPP."""
        return []

    @_errno_boundary
    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: int, ctx: RequestContext
    ) -> NoReturn:
        """Refuse a new file."""
        raise self._no_new_name(parent_inode, errno.EACCES)

    @_errno_boundary
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> NoReturn:
        """Refuse a new node; a regular one is a new file."""
        raise self._no_new_name(parent_inode, errno.EACCES if stat.S_ISREG(mode) else errno.EPERM)

    @_errno_boundary
    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> NoReturn:
        """Refuse a new directory."""
        raise self._no_new_name(parent_inode)

    @_errno_boundary
    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> NoReturn:
        """Refuse a new symbolic link."""
        raise self._no_new_name(parent_inode)

    @_errno_boundary
    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> NoReturn:
        """Refuse a new name."""
        raise self._no_new_name(new_parent_inode)

    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """Refuse to remove a file."""
        raise FUSEError(errno.EPERM)

    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """Refuse to remove a directory."""
        raise FUSEError(errno.EPERM)

    @_errno_boundary
    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        """Refuse: the new name cannot be made, or what has it not be removed."""
        if name_new in self._node(parent_inode_new).children:
            raise FUSEError(errno.EPERM)
        raise self._no_new_name(parent_inode_new)

    def _node(self, inode: InodeT) -> Node:
        node = self._tree.node(inode)
        if node is None:
            raise FUSEError(errno.ESTALE)
        return node

    def _list(self, node: Node, ctx: RequestContext) -> Listing:
        """Return a directory's entries without the CPUs that the asker does not see."""
        children = list(self._tree.children(node))
        if any(child.cpu is not None for _, child in children):
            visible = self._content.visible_cpus(ctx.pid)
            children = [
                (name, child)
                for name, child in children
                if visible is None or child.cpu is None or child.cpu in visible
            ]
        return [(FileNameT(name), child.attributes) for name, child in children]

    def _refuse_hidden(self, node: Node, ctx: RequestContext) -> None:
        """Answer ENOENT for the directory of a CPU that the asker does not see."""
        if node.cpu is not None:
            visible = self._content.visible_cpus(ctx.pid)
            if visible is not None and node.cpu not in visible:
                raise FUSEError(errno.ENOENT)

    def _no_new_name(self, parent_inode: InodeT, in_sysfs: int = errno.EPERM) -> FUSEError:
        return FUSEError(in_sysfs if self._node(parent_inode).in_sysfs else errno.ENOENT)
