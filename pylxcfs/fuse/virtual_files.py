"""Virtual files as they are opened, and how long they are for whoever asks (docs/adr/0033-sizes.md)."""

import time
from typing import Final

from pylxcfs.content.service import ContentService
from pylxcfs.fuse.asker import Asker
from pylxcfs.fuse.handles import FixedFile, OpenFile, Readable, Whose
from pylxcfs.fuse.node import Node
from pylxcfs.fuse.told_lengths import ToldLengths
from pylxcfs.procfiles.table import VirtualFile

#: Who asks for a length reads by then; later its number may be another thread's.
_DEADLY_SECONDS: Final = 60


class VirtualFiles:
    """Opens them for `asker`. Owned by the serving thread."""

    def __init__(self, content: ContentService, asker: Asker) -> None:
        """Serve `content`."""
        self._content = content
        self._asker = asker
        self._lengths = ToldLengths()
        #: Whose request for which length servers have died of (file, thread), and until when that counts.
        self._deadly: tuple[int, int, float] | None = None

    def open(self, node: Node, file: VirtualFile, pid: int) -> FixedFile | OpenFile:
        """Open `file` as thread `pid` is to see it."""
        if (self._asker.is_doubted or self._deadly) and self._is_given_up(node, pid):
            return FixedFile(self._content.give_up(file))
        whose = self._whose(node, pid)
        promised = self._lengths.promised(whose, pid)
        opened = OpenFile(self._content, self._content.file_for(file, pid), whose, pid, promised)
        self._lengths.opened(opened)
        return opened

    def closed(self, opened: Readable | None) -> None:
        """Forget what was opened here."""
        if isinstance(opened, OpenFile):
            self._lengths.closed(opened)
        elif isinstance(opened, FixedFile):
            self._deadly = None

    def length(self, node: Node, file: VirtualFile, pid: int, named: Readable | None) -> int:
        """Return how long `file` is for thread `pid`: what it has open (`named`, if known), or would."""
        if self._is_given_up(node, pid):
            # Its next request would be for the content, and the end of more servers.
            self._deadly = (node.attributes.st_ino, pid, time.monotonic() + _DEADLY_SECONDS)
            return len(self._content.give_up(file))
        whose = self._whose(node, pid)
        opened = named or self._lengths.opened_by(whose, pid)
        if isinstance(opened, OpenFile):
            # Not noted: that would hold for ever what is told again and again.
            return len(opened.promise(self.who_asks))
        if not self._content.is_made(whose[1]):
            return len(self._content.glance(self._content.file_for(file, pid), pid))
        _, content = self._content.open(self._content.file_for(file, pid), pid)
        other = self._lengths.latest(whose)
        if other is not None:
            other.promise_others(content)
        self._lengths.note(whose, pid, content, self._content.lifetime_seconds)
        return len(content)

    def who_asks(self) -> int:
        """Return the thread whose request is being answered."""
        return self._asker.header.pid

    def _is_given_up(self, node: Node, pid: int) -> bool:
        if self._asker.is_doubted:
            return True
        inode, thread, until = self._deadly or (0, 0, 0)
        return (inode, thread) == (node.attributes.st_ino, pid) and time.monotonic() < until

    def _whose(self, node: Node, pid: int) -> Whose:
        return node.attributes.st_ino, self._content.who(pid), self._content.shows_host
