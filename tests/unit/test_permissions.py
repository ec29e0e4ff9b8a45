"""Who may open what."""

import os
import stat

import pytest

from pylxcfs.fuse.permissions import Owner, is_allowed, wanted_by

R, W, X = os.R_OK, os.W_OK, os.X_OK
_FILE, _DIRECTORY = stat.S_IFREG, stat.S_IFDIR


@pytest.mark.parametrize(
    "flags,wanted",
    [
        (os.O_RDONLY, R),
        (os.O_WRONLY, W),
        (os.O_RDWR, R | W),
        (os.O_ACCMODE, R | W),
        (os.O_RDONLY | os.O_TRUNC, R | W),
        (os.O_WRONLY | os.O_APPEND, W),
    ],
)
def test_what_an_open_needs(flags: int, wanted: int) -> None:
    """Truncating is writing; the fourth access mode is both."""
    assert wanted == wanted_by(flags)


@pytest.mark.parametrize(
    "mode,uid,gid,allowed",
    [
        (_FILE | 0o444, 0, 0, (R, W, R | W)),
        (_FILE | 0o444, 9, 9, (R,)),
        (_FILE | 0o400, 0, 0, (R, W, R | W)),
        (_FILE | 0o400, 9, 9, ()),
        (_FILE | 0o666, 9, 9, (R, W, R | W)),
        (_FILE | 0o200, 9, 9, ()),
        (_FILE | 0o555, 0, 0, (R, W, X, R | W, R | X, W | X, R | W | X)),
        (_DIRECTORY | 0o555, 9, 9, (R, X, R | X)),
        (_DIRECTORY | 0o000, 0, 0, (R, W, X, R | W, R | X, W | X, R | W | X)),
        (_FILE | 0o640, 5, 9, (R, W, R | W)),
        (_FILE | 0o640, 9, 6, (R,)),
        (_FILE | 0o640, 9, 9, ()),
        (_FILE | 0o604, 9, 6, ()),
        (_FILE | 0o047, 5, 6, ()),
    ],
)
def test_who_may(mode: int, uid: int, gid: int, allowed: tuple[int, ...]) -> None:
    """The first of owner, group and others that fits decides; root may all but execute what nobody may."""
    owner = Owner(
        mode, 5 if mode & 0o777 in {0o640, 0o604, 0o047} else 0, 6 if mode & 0o7 != mode >> 3 & 7 else 0
    )
    may = {wanted for wanted in range(1, 8) if is_allowed(owner, uid, gid, wanted)}
    assert set(allowed) == may


def test_other_groups_are_asked_where_they_matter() -> None:
    """Of most files group and others may the same."""

    def fail() -> set[int]:
        raise AssertionError

    assert is_allowed(Owner(_FILE | 0o444, 0, 0), 9, 9, R, fail)
    assert is_allowed(Owner(_FILE | 0o640, 0, 7), 9, 9, R, lambda: {7})
    assert not is_allowed(Owner(_FILE | 0o640, 0, 7), 9, 9, R, lambda: {8})
