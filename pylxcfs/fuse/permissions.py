"""Who may open what, by owner and mode, as generic_permission() in fs/namei.c of the kernel decides. Pure.

The kernel would do it itself, with the mount option ``default_permissions``: and ask for a file's attributes
at every open, since attributes that differ from reader to reader must not be remembered.
"""

import os
import stat
from collections.abc import Callable, Collection
from typing import NamedTuple


class Owner(NamedTuple):
    """What a file says of itself."""

    mode: int
    uid: int
    gid: int


def wanted_by(flags: int) -> int:
    """Return what open(2) with these flags needs: R_OK, W_OK or both."""
    if flags & os.O_ACCMODE == os.O_RDONLY:
        wanted = os.R_OK
    else:
        wanted = os.W_OK if flags & os.O_ACCMODE == os.O_WRONLY else os.R_OK | os.W_OK
    return wanted | os.W_OK if flags & os.O_TRUNC else wanted


def is_allowed(
    owner: Owner, uid: int, gid: int, wanted: int, groups: Callable[[], Collection[int]] = tuple
) -> bool:
    """Tell whether a process may do what is `wanted` (R_OK, W_OK, X_OK together).

    `uid` and `gid` are the ones that count for the call: access(2) asks with the real ones. `groups` returns
    the process's other groups, and is asked only where they matter. Root may all but execute what nobody may.
    """
    if uid == 0:
        return not wanted & os.X_OK or bool(owner.mode & 0o111) or stat.S_ISDIR(owner.mode)
    for_group, for_others = owner.mode >> 3 & 7, owner.mode & 7
    if uid == owner.uid:
        granted = owner.mode >> 6 & 7
    elif for_group == for_others:
        granted = for_others
    else:
        granted = for_group if gid == owner.gid or owner.gid in groups() else for_others
    return not wanted & ~granted & 7
