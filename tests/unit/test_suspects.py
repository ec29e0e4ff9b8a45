"""Requests that servers have died of."""

from pylxcfs.supervision.suspects import Suspects

_RESENT = 1 << 63


def _ended(*uniques: int) -> frozenset[int]:
    suspects = Suspects()
    for unique in uniques:
        suspects.ended(unique)
    return suspects.convicted


def test_nobody_is_suspected_at_first() -> None:
    """Nor is a request when servers die that have answered none."""
    assert frozenset() == _ended(0, 0, _RESENT, 0)


def test_once_is_no_proof() -> None:
    """Somebody may have killed the server from outside; the second time is none too many."""
    assert frozenset() == _ended(7, 8)
    assert {7} == _ended(7, 8, 7)
    assert {7} == _ended(7, 7, 7)


def test_the_kernels_mark_does_not_count() -> None:
    """It is the same request when it is sent again."""
    assert {7} == _ended(7, 7 | _RESENT)


def test_bounded() -> None:
    """The ones that were met last are remembered."""
    many = [unique for unique in range(1, 33) for _ in range(2)]
    assert set(range(1, 33)) == _ended(*many)
    assert {1, *range(3, 33)} == _ended(*many, 1, 99)
