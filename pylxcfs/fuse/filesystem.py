"""The FUSE operations. The one place where exceptions become errnos.

What is not supported answers as the kernel's own /proc does: opening for writing is allowed to those whom
the mode allows it (root), writing is EIO, new names are ENOENT, removing is EPERM. Permissions are checked
by the kernel (``default_permissions``). No handler suspends, see `pylxcfs.fuse.driver`.
"""

import errno
import functools
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

import pyfuse3
from pyfuse3 import FileHandleT, FileInfo, FileNameT, FUSEError, InodeT, ModeT, RequestContext

from pylxcfs.content import ContentService
from pylxcfs.fuse.handles import Handles, OpenFile
from pylxcfs.fuse.tree import Node

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
        except Exception as error:
            now = time.monotonic()
            if now - last_logged >= _LOG_INTERVAL_SECONDS:
                last_logged = now
                _log.exception("%s failed; its reader gets EIO", handler.__name__)
            raise FUSEError(errno.EIO) from error

    return guarded


class FileSystem(pyfuse3.Operations):
    """Answers the kernel from the tree and the content service."""

    def __init__(self, tree: Mapping[InodeT, Node], content: ContentService) -> None:
        """Serve `tree`, with the files' content from `content`."""
        super().__init__()
        self._tree = tree
        self._content = content
        self._handles = Handles()

    @_errno_boundary
    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Find a name in a directory."""
        inode = self._node(parent_inode).children.get(name)
        if inode is None:
            raise FUSEError(errno.ENOENT)
        return self._tree[inode].attributes

    @_errno_boundary
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> pyfuse3.EntryAttributes:
        """Return a node's attributes, which never change."""
        return self._node(inode).attributes

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """Nothing to do: nodes are fixed."""

    @_errno_boundary
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """Render the file for who asks; a read has no asker, and the asker may be gone by then."""
        file = self._node(inode).file
        if file is None:
            raise FUSEError(errno.EISDIR)
        container, content = self._content.open(file, ctx.pid)
        return FileInfo(fh=self._handles.add(OpenFile(file, container, content)), direct_io=True)

    @_errno_boundary
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Return a part of the file."""
        opened = self._handles.get(fh)
        if opened is None:
            raise FUSEError(errno.EBADF)
        return opened.read(self._content, off, size)

    async def flush(self, fh: FileHandleT) -> None:
        """Tell the kernel never to ask again."""
        raise FUSEError(errno.ENOSYS)

    @_errno_boundary
    async def release(self, fh: FileHandleT) -> None:
        """Close a file."""
        self._handles.remove(fh)

    @_errno_boundary
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """Open a directory; its handle is its inode."""
        if not self._node(inode).is_directory:
            raise FUSEError(errno.ENOTDIR)
        return FileHandleT(inode)

    @_errno_boundary
    async def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """List a directory from its entry number `start_id` on."""
        children = self._node(InodeT(fh)).children
        for number, (name, inode) in enumerate(children.items(), start=1):
            if number > start_id and not pyfuse3.readdir_reply(
                token, FileNameT(name), self._tree[inode].attributes, number
            ):
                break

    async def releasedir(self, fh: FileHandleT) -> None:
        """Nothing to do: directories are fixed."""

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

    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: int, ctx: RequestContext
    ) -> NoReturn:
        """Refuse a new file."""
        raise FUSEError(errno.ENOENT)

    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> NoReturn:
        """Refuse a new node."""
        raise FUSEError(errno.ENOENT)

    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> NoReturn:
        """Refuse a new directory."""
        raise FUSEError(errno.ENOENT)

    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> NoReturn:
        """Refuse a new symbolic link."""
        raise FUSEError(errno.ENOENT)

    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> NoReturn:
        """Refuse a new name."""
        raise FUSEError(errno.ENOENT)

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
        taken = name_new in self._node(parent_inode_new).children
        raise FUSEError(errno.EPERM if taken else errno.ENOENT)

    def _node(self, inode: InodeT) -> Node:
        node = self._tree.get(inode)
        if node is None:
            raise FUSEError(errno.ESTALE)
        return node
